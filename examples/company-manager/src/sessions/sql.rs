//! Sessions in a database: shared by all instances, and kept when an instance ends.

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, CompanyId,
    clock::{Timestamp, earlier},
    secret::SecretHash,
};

use super::{ABSOLUTE_TIMEOUT, Flash, IDLE_TIMEOUT, Message, Sessions};
use crate::{
    database::{Database, Failure, parameters},
    directory::DirectoryError,
};

/// [`Sessions`] in a database. Beginning a session deletes ended ones.
#[derive(Clone, Debug)]
pub struct SqlSessions(Database);

impl SqlSessions {
    /// The sessions of a database whose tables exist ([`Database::migrate`]).
    pub fn new(database: Database) -> Self {
        Self(database)
    }
}

/// A session that has ended by its age is not used any more, so half an hour later it has ended by idleness too: one
/// index finds all ended sessions. Concurrent calls delete different rows, so they cannot block each other.
const DELETE_ENDED: &str = "DELETE FROM company_manager.sessions WHERE id_hash IN (
    SELECT id_hash FROM company_manager.sessions WHERE used_at <= $1 LIMIT 100 FOR UPDATE SKIP LOCKED)";
const BEGIN: &str = "INSERT INTO company_manager.sessions (id_hash, person, began_at, used_at) VALUES ($1, $2, $3, $3)";
/// The clocks of two instances may differ: the later reading is kept.
const RESUME: &str = "UPDATE company_manager.sessions SET used_at = greatest(used_at, $2)
    WHERE id_hash = $1 AND used_at > $3 AND began_at > $4 RETURNING person";
const END: &str = "DELETE FROM company_manager.sessions WHERE id_hash = $1";
const LEAVE_FLASH: &str = "INSERT INTO company_manager.flashes (session, company, message, refresh_expires_at)
    SELECT id_hash, $2, $3, $4 FROM company_manager.sessions WHERE id_hash = $1 FOR KEY SHARE
    ON CONFLICT (session) DO UPDATE SET company = excluded.company, message = excluded.message,
        refresh_expires_at = excluded.refresh_expires_at";
const TAKE_FLASH: &str = "DELETE FROM company_manager.flashes WHERE session = $1 AND company = $2
    RETURNING message, refresh_expires_at";

#[async_trait]
impl Sessions for SqlSessions {
    async fn begin(&self, id: SecretHash, person: ActorId, now: Timestamp) -> Result<(), DirectoryError> {
        self.0.run(DELETE_ENDED, parameters![earlier(now, IDLE_TIMEOUT)]).await?;
        Ok(self.0.run(BEGIN, parameters![&id.as_bytes()[..], person.as_str(), now]).await?)
    }

    async fn resume(&self, id: SecretHash, now: Timestamp) -> Result<Option<ActorId>, DirectoryError> {
        let (idle, old) = (earlier(now, IDLE_TIMEOUT), earlier(now, ABSOLUTE_TIMEOUT));
        let row = self.0.row(RESUME, parameters![&id.as_bytes()[..], now, idle, old]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(ActorId::new(row.get::<String>(0)?).map_err(|_| Failure::Unreadable("person"))?))
    }

    async fn end(&self, id: SecretHash) -> Result<(), DirectoryError> {
        Ok(self.0.run(END, parameters![&id.as_bytes()[..]]).await?)
    }

    async fn leave_flash(&self, id: SecretHash, flash: Flash) -> Result<(), DirectoryError> {
        let (name, refresh_expires_at) = columns(&flash.message);
        let columns = parameters![&id.as_bytes()[..], flash.company.as_str(), name, refresh_expires_at];
        Ok(self.0.run(LEAVE_FLASH, columns).await?)
    }

    async fn take_flash(&self, id: SecretHash, company: &CompanyId) -> Result<Option<Message>, DirectoryError> {
        let row = self.0.row(TAKE_FLASH, parameters![&id.as_bytes()[..], company.as_str()]).await?;
        let Some(row) = row else { return Ok(None) };
        let message = message(&row.get::<String>(0)?, row.time(1)?);
        Ok(Some(message.ok_or(Failure::Unreadable("message"))?))
    }
}

fn columns(message: &Message) -> (&'static str, Option<Timestamp>) {
    match message {
        Message::Authenticated { refresh_expires_at } => ("authenticated", *refresh_expires_at),
        Message::CameBackAgain => ("came_back_again", None),
        Message::AuthRemoved => ("auth_removed", None),
        Message::SettingsSaved => ("settings_saved", None),
        Message::AccessKeySaved => ("access_key_saved", None),
        Message::CompanyAdded => ("company_added", None),
        Message::ConnectionChecked { token_expires_at } => ("connection_checked", *token_expires_at),
    }
}

fn message(name: &str, at: Option<Timestamp>) -> Option<Message> {
    Some(match name {
        "authenticated" => Message::Authenticated { refresh_expires_at: at },
        "came_back_again" => Message::CameBackAgain,
        "auth_removed" => Message::AuthRemoved,
        "settings_saved" => Message::SettingsSaved,
        "access_key_saved" => Message::AccessKeySaved,
        "company_added" => Message::CompanyAdded,
        "connection_checked" => Message::ConnectionChecked { token_expires_at: at },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_back_as_it_was_written() {
        for told in [
            Message::Authenticated { refresh_expires_at: Some(Timestamp::UNIX_EPOCH) },
            Message::Authenticated { refresh_expires_at: None },
            Message::CameBackAgain,
            Message::AuthRemoved,
            Message::SettingsSaved,
            Message::AccessKeySaved,
            Message::CompanyAdded,
            Message::ConnectionChecked { token_expires_at: Some(Timestamp::UNIX_EPOCH) },
            Message::ConnectionChecked { token_expires_at: None },
        ] {
            let (name, refresh_expires_at) = columns(&told);
            assert_eq!(message(name, refresh_expires_at), Some(told));
        }
    }
}
