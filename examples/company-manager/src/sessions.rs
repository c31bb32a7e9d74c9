//! Who is signed in. A store keeps the hash of a session's id only, so that its content opens no session.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use batchsuite_auth::{ActorId, CompanyId, clock::Timestamp, secret::SecretHash};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::directory::DirectoryError;

mod cookie;
mod memory;
mod sql;

pub(crate) use cookie::Cookies;
pub use memory::MemorySessions;
pub use sql::SqlSessions;

/// A session ends when nothing came from its browser for this long.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A session ends this long after the sign-in, whatever happens.
pub const ABSOLUTE_TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

/// The id of a browser's session: 256 random bits that only the browser's cookie keeps.
///
/// A browser that is not signed in has one too, so that the sign-in form has a CSRF token; no store knows it.
#[derive(Clone)]
pub struct SessionId(SecretString);

impl SessionId {
    /// A new one.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()).into())
    }

    /// The one in a cookie, if it can be one of ours.
    pub fn from_cookie(text: &str) -> Option<Self> {
        is_random_text(text).then(|| Self(text.to_owned().into()))
    }

    /// For the cookie.
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// What a store keeps of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose_secret())
    }

    /// The CSRF token of every form in this session. It follows from the id by a hash of its own, so nothing has to be kept,
    /// and a page that shows it shows neither the id nor what the store keeps.
    pub fn csrf_token(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"company-manager csrf token\0");
        hash.update(self.expose_secret().as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    /// Whether a form's token is this session's, in constant time.
    pub fn accepts(&self, csrf_token: &str) -> bool {
        self.csrf_token().as_bytes().ct_eq(csrf_token.as_bytes()).into()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId([REDACTED])")
    }
}

/// Whether `text` has the form of 256 random bits in base64url.
pub(crate) fn is_random_text(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What the next page tells, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    /// On which company's page.
    pub company: CompanyId,
    /// What.
    pub message: Message,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The company was authenticated just now.
    Authenticated {
        /// When the refresh token ends, as far as UPS said.
        refresh_expires_at: Option<Timestamp>,
    },
    /// The same return from UPS.com came before.
    CameBackAgain,
    /// The company's authorization was removed.
    AuthRemoved,
    /// The settings were saved.
    SettingsSaved,
    /// The access key was replaced.
    AccessKeySaved,
    /// The company was added.
    CompanyAdded,
}

/// Keeps sessions. Every verb is atomic and takes the application's time.
#[async_trait]
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Begins a session of `person`.
    async fn begin(&self, id: SecretHash, person: ActorId, now: Timestamp) -> Result<(), DirectoryError>;

    /// Whose session this is, if it has not ended; the idle time starts again.
    async fn resume(&self, id: SecretHash, now: Timestamp) -> Result<Option<ActorId>, DirectoryError>;

    /// Ends a session.
    async fn end(&self, id: SecretHash) -> Result<(), DirectoryError>;

    /// Leaves something to tell; what was left before and not told is dropped.
    async fn leave_flash(&self, id: SecretHash, flash: Flash) -> Result<(), DirectoryError>;

    /// Takes what there is to tell on this company's page.
    async fn take_flash(&self, id: SecretHash, company: &CompanyId) -> Result<Option<Message>, DirectoryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csrf_token_belongs_to_one_session_and_shows_nothing_of_it() {
        let (one, other) = (SessionId::random(), SessionId::random());

        assert!(one.accepts(&one.csrf_token()));
        assert!(!one.accepts(&other.csrf_token()));
        assert!(!one.accepts(""));
        assert_ne!(one.csrf_token(), one.expose_secret());
        assert!(!format!("{one:?}").contains(one.expose_secret()));
    }
}
