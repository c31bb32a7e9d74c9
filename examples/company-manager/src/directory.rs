//! The application's own data: people, companies, their settings. Opt-ins are not in here; those are the library's.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use batchsuite_auth::{ActorId, CompanyId, store::Page};
use secrecy::SecretString;
use uuid::{Builder, Uuid};

use crate::text::{is_invisible, shown};

mod memory;
mod sql;

pub use memory::MemoryDirectory;
pub use sql::{Newcomer, SqlDirectory};

/// Keeps people and companies. Every verb is atomic.
///
/// # Errors
/// Every verb fails with [`DirectoryError`] if the data cannot be reached; nothing has changed then.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The person with this id.
    async fn person(&self, id: &ActorId) -> Result<Option<Person>, DirectoryError>;

    /// The person with this sign-in name (in any case), and the hash of their password in PHC format.
    async fn sign_in(&self, name: &str) -> Result<Option<(Person, String)>, DirectoryError>;

    /// The company with this id.
    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, DirectoryError>;

    /// Those of these companies that exist, by name.
    async fn companies(&self, ids: &[CompanyId]) -> Result<Vec<Company>, DirectoryError>;

    /// The companies that `admin` administers, by name, `limit` at most, those after the company `after`.
    async fn companies_of(
        &self,
        admin: &ActorId,
        after: Option<&CompanyId>,
        limit: usize,
    ) -> Result<Page<Company, CompanyId>, DirectoryError>;

    /// Adds a company that `admin` administers, with default settings.
    async fn add_company(&self, name: CompanyName, admin: &ActorId) -> Result<CompanyId, DirectoryError>;

    /// Replaces a company's settings; a company that does not exist is left so.
    async fn save_settings(&self, id: &CompanyId, settings: Settings) -> Result<(), DirectoryError>;

    /// Replaces a company's access key; a company that does not exist is left so.
    async fn save_access_key(&self, id: &CompanyId, key: AccessKey) -> Result<(), DirectoryError>;
}

/// The data cannot be reached.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the application's data cannot be reached; try again")]
pub struct DirectoryError;

/// Somebody who can sign in.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who, also for the library.
    pub id: ActorId,
    /// What they type to sign in.
    pub sign_in_name: String,
    /// What they may see and do.
    pub role: Role,
}

/// The two kinds of people of the Batch Suite guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees the companies that are theirs in every state; authenticates them and removes their authorization.
    CompanyAdmin,
    /// Sees authenticated companies only, uses them and their settings; never touches an authorization or an access key.
    AdminUser,
}

/// A company as the application knows it.
#[derive(Clone, Debug)]
pub struct Company {
    /// Which company, also for the library.
    pub id: CompanyId,
    /// What people call it.
    pub name: CompanyName,
    /// Who administers it.
    pub admins: BTreeSet<ActorId>,
    /// What is set for it.
    pub settings: Settings,
    /// Whether there is an access key.
    pub access_key: StoredAccessKey,
}

/// An access key, as far as people may know of it. The key itself is never read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredAccessKey {
    /// None was entered yet.
    #[default]
    Absent,
    /// It is there.
    Configured,
    /// It is there and cannot be read: its encryption key is missing, or it is damaged. The company needs a new one.
    Unreadable,
}

impl Company {
    /// Whether `person` decides about its authorization and its access key.
    pub fn is_administered_by(&self, person: &Person) -> bool {
        person.role == Role::CompanyAdmin && self.admins.contains(&person.id)
    }
}

/// What a company has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// SigView: how many years a proof of delivery is kept, 0 to 10.
    pub pod_retention_years: u8,
    /// Whether Batch Track may be used.
    pub batch_track: bool,
    /// Whether Custom Billing may be used.
    pub custom_billing: bool,
    /// Whether Batch Rate may be used.
    pub batch_rate: bool,
    /// Address Validation: the score below which an address counts as doubtful, 0 to 100.
    pub minimum_quality_score: u8,
}

impl Settings {
    /// The longest retention, in years.
    pub const MOST_RETENTION_YEARS: u8 = 10;
    /// The highest score.
    pub const MOST_QUALITY_SCORE: u8 = 100;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pod_retention_years: 2,
            batch_track: true,
            custom_billing: false,
            batch_rate: false,
            minimum_quality_score: 80,
        }
    }
}

/// A company's name: 1 to 80 characters on one line, each of which shows: with controls, bidirectional overrides or zero-width
/// characters, one company's name could look like another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompanyName(String);

impl CompanyName {
    /// The longest name, in characters.
    pub const MOST_CHARACTERS: usize = 80;

    /// Takes what a person typed; outer spaces go.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let valid = (1..=Self::MOST_CHARACTERS).contains(&text.chars().count()) && !text.chars().any(is_invisible);
        valid.then(|| Self(text.to_owned()))
    }

    /// Takes a stored name: invisible characters are dropped, and a name of nothing else gets words that say so.
    pub(crate) fn stored(text: &str) -> Self {
        let name = Self::new(&shown(text, Self::MOST_CHARACTERS));
        name.unwrap_or_else(|| Self("(a company without a name)".to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CompanyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An access key of UPS's: 8 to 64 letters and digits. A secret.
#[derive(Clone, Debug)]
pub struct AccessKey(SecretString);

impl AccessKey {
    /// Takes what a person typed; outer spaces go.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let valid = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        valid.then(|| Self(text.to_owned().into()))
    }

    /// The key, for a store that keeps it.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// A version 4 UUID: an address that nobody guesses.
fn random_uuid() -> Uuid {
    Builder::from_random_bytes(rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_name_has_1_to_80_characters() {
        for valid in ["A", " Söhne & Co ", &"ü".repeat(80)] {
            assert_eq!(CompanyName::new(valid).unwrap().as_str(), valid.trim());
        }
        for invalid in ["", "   ", "a\nb", &"x".repeat(81), "a\u{202e}b", "a\u{200b}", "\u{feff}a", "\u{2066}a\u{2069}"]
        {
            assert!(CompanyName::new(invalid).is_none(), "{invalid:?}");
            assert!(CompanyName::new(CompanyName::stored(invalid).as_str()).is_some(), "{invalid:?}");
        }
    }

    #[test]
    fn an_access_key_has_8_to_64_letters_and_digits_and_is_not_shown() {
        assert!(!format!("{:?}", AccessKey::new(" CANARY01 ").unwrap()).contains("CANARY"));
        for invalid in ["", "SHORT", "with space1", &"A".repeat(65)] {
            assert!(AccessKey::new(invalid).is_none(), "{invalid:?}");
        }
    }
}
