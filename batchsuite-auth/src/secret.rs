//! Secret types.
//!
//! They have no `Serialize`, `Display` or `PartialEq`, and `Debug` shows `[REDACTED]`. The text is available only
//! through `expose_secret`, so a search for that name finds every place that could leak one: the wire, a store's codec,
//! and the cookie with the [`BrowserSecret`].

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{clock::Timestamp, ids::Revision, random::random};

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Takes the secret; its memory is wiped on drop.
            pub fn new(secret: impl Into<String>) -> Self {
                Self(SecretString::from(secret.into()))
            }

            /// The secret itself. It must not reach a log, an error or a URL.
            pub fn expose_secret(&self) -> &str {
                self.0.expose_secret()
            }

            /// Whether both are equal, in constant time.
            #[must_use]
            pub fn matches(&self, other: &Self) -> bool {
                self.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([REDACTED])"))
            }
        }
    };
}

secret! {
    /// The client secret that UPS issued to the application (RFC 6749 §2.3.1).
    ClientSecret
}

secret! {
    /// A refresh token (RFC 6749 §1.5). UPS's refresh tokens rotate and are single-use.
    RefreshToken
}

secret! {
    /// An access token as a store keeps it. Callers get an [`AccessToken`].
    AccessTokenSecret
}

secret! {
    /// An authorization code (RFC 6749 §4.1.2), single-use.
    AuthorizationCode
}

secret! {
    /// A PKCE code verifier (RFC 7636 §4.1).
    PkceVerifier
}

secret! {
    /// Binds a consent to the browser that started it (RFC 6749 §10.12).
    ///
    /// The host keeps it in a cookie, one per browser, and passes it to the callback; [`browser`](crate::browser) reads
    /// and writes that cookie. The library stores only its SHA-256.
    BrowserSecret
}

secret! {
    /// What the address of a connect link carries. Whoever has it may use the link, once.
    LinkToken
}

impl LinkToken {
    /// 256 random bits, as 43 characters that an address can carry.
    pub(crate) fn random() -> Self {
        Self::new(random_text())
    }

    /// The token in an address or a cookie, if it can be one that this library gave out.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        of_random_form(bytes).map(Self::new)
    }

    /// What a store keeps of it.
    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose_secret())
    }

    /// The state of the trip that begins with this link in the browser with this secret: always the same, so that a second press
    /// there finds the trip of the first. Without the secret it cannot be guessed.
    pub(crate) fn state_in(&self, browser: &BrowserSecret) -> String {
        let parts = ["state of a connect link", self.expose_secret(), browser.expose_secret()];
        URL_SAFE_NO_PAD.encode(Sha256::digest(parts.join("\n")))
    }
}

impl AccessTokenSecret {
    /// Whether it is a valid header value (RFC 9110 §5.5).
    pub(crate) fn is_sendable(&self) -> bool {
        self.expose_secret().bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    }
}

impl BrowserSecret {
    /// 256 random bits as 43 characters that are valid in a cookie.
    pub fn random() -> Self {
        Self::new(random_text())
    }

    /// The hash that a store keeps.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose_secret())
    }

    /// The secret from a cookie, if it has the form of one that this library issued.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        of_random_form(bytes).map(Self::new)
    }
}

/// The text, if it has the form of [`random_text`].
fn of_random_form(bytes: &[u8]) -> Option<&str> {
    let has_its_form = bytes.len() == RANDOM_TEXT_LENGTH
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    str::from_utf8(bytes).ok().filter(|_| has_its_form)
}

/// The length of 256 bits in base64url.
const RANDOM_TEXT_LENGTH: usize = 43;

/// 256 random bits in base64url, 43 characters.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random::<[u8; 32]>())
}

/// The SHA-256 of a secret with 256 random bits. It can be looked up and compared, and reveals nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes `secret`.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// The hash as a store kept it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes for a store to keep.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// An access token, ready to send. Cloning copies a pointer.
#[derive(Clone)]
pub struct AccessToken(Arc<Inner>);

struct Inner {
    header: HeaderValue,
    expires_at: Timestamp,
    revision: Revision,
}

const BEARER: &str = "Bearer ";

impl AccessToken {
    /// Prepares the header value; `None` if the text is not a valid one (RFC 9110 §5.5).
    pub(crate) fn new(secret: &AccessTokenSecret, expires_at: Timestamp, revision: Revision) -> Option<Self> {
        if !secret.is_sendable() {
            return None;
        }
        let token = secret.expose_secret();
        let mut header = String::with_capacity(BEARER.len() + token.len());
        header.push_str(BEARER);
        header.push_str(token);
        let mut header = HeaderValue::try_from(header).ok()?;
        header.set_sensitive(true);
        Some(Self(Arc::new(Inner { header, expires_at, revision })))
    }

    /// The `Authorization` header's value (RFC 6750 §2.1), marked sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.0.header
    }

    /// The token itself. It must not reach a log, an error or a URL.
    pub fn expose_secret(&self) -> &str {
        self.0.header.to_str().ok().and_then(|value| value.strip_prefix(BEARER)).unwrap_or_default()
    }

    /// When the token expires, as UPS said.
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }

    /// The opt-in and rotation that it belongs to.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_at", &self.0.expires_at)
            .field("revision", &self.0.revision)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = AccessTokenSecret::new("canary");
        let token = AccessToken::new(&secret, Timestamp::UNIX_EPOCH, Revision::default()).unwrap();

        for shown in [format!("{secret:?}"), format!("{token:?}"), format!("{:?}", token.header())] {
            assert!(!shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn an_access_token_is_a_ready_header() {
        let token =
            AccessToken::new(&AccessTokenSecret::new("abc"), Timestamp::UNIX_EPOCH, Revision::default()).unwrap();

        assert_eq!(token.header(), "Bearer abc");
        assert!(token.header().is_sensitive());
        assert_eq!(token.expose_secret(), "abc");
    }

    #[test]
    fn a_text_that_no_header_can_carry_is_no_access_token() {
        for text in ["a\nb", "a\0b", "a\u{7f}b", "sn\u{f6}"] {
            let secret = AccessTokenSecret::new(text);
            assert!(!secret.is_sendable(), "{text:?}");
            assert!(AccessToken::new(&secret, Timestamp::UNIX_EPOCH, Revision::default()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn random_secrets_have_256_bits_and_differ() {
        let (one, other) = (BrowserSecret::random(), BrowserSecret::random());

        assert_eq!(one.expose_secret().len(), 43);
        assert!(!one.matches(&other));
        assert_ne!(one.hash(), other.hash());
    }
}
