//! Sessions of signed-in people. A store keeps only the hash of a session's id, so its contents cannot open a session.

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

/// A session ends after this long without a request from its browser.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A session ends this long after the sign-in in any case.
pub const ABSOLUTE_TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

/// The id of a browser's session: 256 random bits, kept only in the browser's cookie.
///
/// A signed-out browser has an id as well, for the CSRF token of the sign-in form; no store knows that id.
#[derive(Clone)]
pub struct SessionId(SecretString);

impl SessionId {
    /// A new random id.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()).into())
    }

    /// The id in a cookie, if it has the right form.
    pub fn from_cookie(text: &str) -> Option<Self> {
        is_random_text(text).then(|| Self(text.to_owned().into()))
    }

    /// The value for the cookie.
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// The hash that a store keeps.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose_secret())
    }

    /// The CSRF token of every form in this session. It is derived from the id by a separate hash, so it needs no
    /// storage, and it reveals neither the id nor the stored hash.
    pub fn csrf_token(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"company-manager csrf token\0");
        hash.update(self.expose_secret().as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    /// Whether a form's token is this session's. Runs in constant time.
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

/// A message that the next page shows once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    /// The company whose page shows it.
    pub company: CompanyId,
    /// The message.
    pub message: Message,
}

/// A message for a company's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The company has just been authenticated.
    Authenticated {
        /// When the refresh token expires, if UPS said so.
        refresh_expires_at: Option<Timestamp>,
    },
    /// The return from UPS.com was a repetition.
    CameBackAgain,
    /// The company's authorization was removed.
    AuthRemoved,
    /// The settings were saved.
    SettingsSaved,
    /// The access key was replaced.
    AccessKeySaved,
    /// The company was added.
    CompanyAdded,
    /// The connection was checked.
    ConnectionChecked {
        /// When the access token ends that a caller would get; `None`: a caller would get none.
        token_expires_at: Option<Timestamp>,
    },
}

/// Stores sessions. Every method is atomic and takes the application's time.
#[async_trait]
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Begins a session of `person`.
    async fn begin(&self, id: SecretHash, person: ActorId, now: Timestamp) -> Result<(), DirectoryError>;

    /// The person of a session that has not ended; restarts the idle time.
    async fn resume(&self, id: SecretHash, now: Timestamp) -> Result<Option<ActorId>, DirectoryError>;

    /// Ends a session.
    async fn end(&self, id: SecretHash) -> Result<(), DirectoryError>;

    /// Leaves a message; drops an earlier one that was not shown.
    async fn leave_flash(&self, id: SecretHash, flash: Flash) -> Result<(), DirectoryError>;

    /// Takes the message for this company's page.
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
