//! Who is signed in. A store keeps the hash of a session's id only, so that its content opens no session.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use batchsuite_auth::{ActorId, CompanyId, clock::Timestamp, secret::SecretHash};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::directory::DirectoryError;

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

/// [`Sessions`] in memory, bounded: at the bound, those that were used longest ago go.
#[derive(Default)]
pub struct MemorySessions(Mutex<HashMap<SecretHash, Session>>);

/// The most sessions that are kept.
const MOST_SESSIONS: usize = 10_000;

struct Session {
    person: ActorId,
    began_at: Timestamp,
    used_at: Timestamp,
    flash: Option<Flash>,
}

impl Session {
    fn has_ended(&self, now: Timestamp) -> bool {
        let longer = |since: Timestamp, timeout| (now - since).to_std().is_ok_and(|passed| passed >= timeout);
        longer(self.used_at, IDLE_TIMEOUT) || longer(self.began_at, ABSOLUTE_TIMEOUT)
    }
}

impl MemorySessions {
    /// One without any session.
    pub fn new() -> Self {
        Self::default()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SecretHash, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemorySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessions").finish_non_exhaustive()
    }
}

#[async_trait]
impl Sessions for MemorySessions {
    async fn begin(&self, id: SecretHash, person: ActorId, now: Timestamp) -> Result<(), DirectoryError> {
        let mut sessions = self.sessions();
        if sessions.len() >= MOST_SESSIONS {
            sessions.retain(|_, session| !session.has_ended(now));
        }
        if sessions.len() >= MOST_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used_at).map(|(id, _)| *id);
            oldest.map(|id| sessions.remove(&id));
        }
        sessions.insert(id, Session { person, began_at: now, used_at: now, flash: None });
        Ok(())
    }

    async fn resume(&self, id: SecretHash, now: Timestamp) -> Result<Option<ActorId>, DirectoryError> {
        let mut sessions = self.sessions();
        let Some(session) = sessions.get_mut(&id) else { return Ok(None) };
        if session.has_ended(now) {
            sessions.remove(&id);
            return Ok(None);
        }
        session.used_at = now;
        Ok(Some(session.person.clone()))
    }

    async fn end(&self, id: SecretHash) -> Result<(), DirectoryError> {
        self.sessions().remove(&id);
        Ok(())
    }

    async fn leave_flash(&self, id: SecretHash, flash: Flash) -> Result<(), DirectoryError> {
        if let Some(session) = self.sessions().get_mut(&id) {
            session.flash = Some(flash);
        }
        Ok(())
    }

    async fn take_flash(&self, id: SecretHash, company: &CompanyId) -> Result<Option<Message>, DirectoryError> {
        let mut sessions = self.sessions();
        let flash = sessions.get_mut(&id).and_then(|session| session.flash.take_if(|flash| flash.company == *company));
        Ok(flash.map(|flash| flash.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn actor() -> ActorId {
        ActorId::new("a").unwrap()
    }

    #[tokio::test]
    async fn a_session_ends_when_idle_and_at_the_latest_after_12_hours() {
        let start = Timestamp::UNIX_EPOCH;
        let id = SessionId::random().hash();
        let sessions = MemorySessions::new();

        sessions.begin(id, actor(), start).await.unwrap();
        assert!(sessions.resume(id, start + IDLE_TIMEOUT - SECOND).await.unwrap().is_some());
        assert!(sessions.resume(id, start + 2 * IDLE_TIMEOUT - SECOND).await.unwrap().is_none(), "idle");

        sessions.begin(id, actor(), start).await.unwrap();
        let mut now = start;
        while now + SECOND * 600 < start + ABSOLUTE_TIMEOUT {
            now += SECOND * 600;
            assert!(sessions.resume(id, now).await.unwrap().is_some());
        }
        assert!(sessions.resume(id, start + ABSOLUTE_TIMEOUT).await.unwrap().is_none(), "absolute");
    }

    #[tokio::test]
    async fn sessions_are_bounded() {
        let sessions = MemorySessions::new();
        let first = SessionId::random().hash();
        sessions.begin(first, actor(), Timestamp::UNIX_EPOCH).await.unwrap();

        for _ in 0..MOST_SESSIONS {
            let now = Timestamp::UNIX_EPOCH + SECOND;
            sessions.begin(SessionId::random().hash(), actor(), now).await.unwrap();
        }

        assert_eq!(sessions.sessions().len(), MOST_SESSIONS);
        assert!(sessions.resume(first, Timestamp::UNIX_EPOCH).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_flash_is_told_once_and_on_its_company_s_page_only() {
        let sessions = MemorySessions::new();
        let id = SessionId::random().hash();
        let [company, other] = ["c", "d"].map(|id| CompanyId::new(id).unwrap());
        sessions.begin(id, actor(), Timestamp::UNIX_EPOCH).await.unwrap();
        let flash = Flash { company: company.clone(), message: Message::SettingsSaved };

        sessions.leave_flash(id, flash).await.unwrap();

        assert_eq!(sessions.take_flash(id, &other).await.unwrap(), None);
        assert_eq!(sessions.take_flash(id, &company).await.unwrap(), Some(Message::SettingsSaved));
        assert_eq!(sessions.take_flash(id, &company).await.unwrap(), None);
    }

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
