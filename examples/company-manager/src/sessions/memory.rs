//! Sessions in memory, for one process; lost when it ends.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use batchsuite_auth::{ActorId, CompanyId, clock::Timestamp, secret::SecretHash};

use super::{ABSOLUTE_TIMEOUT, Flash, IDLE_TIMEOUT, Message, Sessions};
use crate::directory::DirectoryError;

/// [`Sessions`] in memory, up to a bound; then the least recently used ones are dropped.
#[derive(Default)]
pub struct MemorySessions(Mutex<HashMap<SecretHash, Session>>);

/// The maximum number of sessions.
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
    /// Without any session.
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
    use std::time::Duration;

    use super::{super::SessionId, *};

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
}
