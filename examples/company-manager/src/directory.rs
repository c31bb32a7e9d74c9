//! The application's own data: people, companies and their settings. The library keeps the opt-ins.

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

/// Stores people and companies. Every method is atomic.
///
/// # Errors
/// Every method fails with [`DirectoryError`] if the data is unavailable; nothing has changed then.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The person with this id.
    async fn person(&self, id: &ActorId) -> Result<Option<Person>, DirectoryError>;

    /// The person with this sign-in name (case-insensitive), and their password hash in PHC format.
    async fn sign_in(&self, name: &str) -> Result<Option<(Person, String)>, DirectoryError>;

    /// The company with this id.
    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, DirectoryError>;

    /// The existing ones of these companies, by name.
    async fn companies(&self, ids: &[CompanyId]) -> Result<Vec<Company>, DirectoryError>;

    /// The companies that `admin` administers, by name, at most `limit`, after the company `after`.
    async fn companies_of(
        &self,
        admin: &ActorId,
        after: Option<&CompanyId>,
        limit: usize,
    ) -> Result<Page<Company, CompanyId>, DirectoryError>;

    /// Adds a company with default settings, administered by `admin`.
    async fn add_company(&self, name: CompanyName, admin: &ActorId) -> Result<CompanyId, DirectoryError>;

    /// Replaces a company's settings; ignores an unknown company.
    async fn save_settings(&self, id: &CompanyId, settings: Settings) -> Result<(), DirectoryError>;

    /// Replaces a company's access key; ignores an unknown company.
    async fn save_access_key(&self, id: &CompanyId, key: AccessKey) -> Result<(), DirectoryError>;
}

/// The data is unavailable.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the application's data cannot be reached; try again")]
pub struct DirectoryError;

/// A person who can sign in.
#[derive(Clone, Debug)]
pub struct Person {
    /// The person's id, also used with the library.
    pub id: ActorId,
    /// The name for signing in.
    pub sign_in_name: String,
    /// The person's permissions.
    pub role: Role,
}

/// The Batch Suite guide's two kinds of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sees their own companies in every state; authenticates them and removes their authorization.
    CompanyAdmin,
    /// Sees authenticated companies only, and uses them and their settings; cannot change an authorization or an access
    /// key.
    AdminUser,
}

/// A company.
#[derive(Clone, Debug)]
pub struct Company {
    /// The company's id, also used with the library.
    pub id: CompanyId,
    /// The company's display name.
    pub name: CompanyName,
    /// The people who administer it.
    pub admins: BTreeSet<ActorId>,
    /// The company's settings.
    pub settings: Settings,
    /// Whether the company has an access key.
    pub access_key: StoredAccessKey,
}

/// The state of an access key, which is all that people see. The key itself is never read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredAccessKey {
    /// Not entered yet.
    #[default]
    Absent,
    /// Stored.
    Configured,
    /// Stored but unreadable: its encryption key is missing, or it is damaged. The company needs a new access key.
    Unreadable,
}

impl Company {
    /// Whether `person` administers its authorization and access key.
    pub fn is_administered_by(&self, person: &Person) -> bool {
        person.role == Role::CompanyAdmin && self.admins.contains(&person.id)
    }
}

/// A company's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// SigView: retention of proofs of delivery, 0 to 10 years.
    pub pod_retention_years: u8,
    /// Whether Batch Track is enabled.
    pub batch_track: bool,
    /// Whether Custom Billing is enabled.
    pub custom_billing: bool,
    /// Whether Batch Rate is enabled.
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

/// A company's name: 1 to 80 visible characters on one line. Controls, bidirectional overrides and zero-width
/// characters could make one company's name look like another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompanyName(String);

impl CompanyName {
    /// The maximum length, in characters.
    pub const MOST_CHARACTERS: usize = 80;

    /// Parses typed text, without leading and trailing spaces.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let valid = (1..=Self::MOST_CHARACTERS).contains(&text.chars().count()) && !text.chars().any(is_invisible);
        valid.then(|| Self(text.to_owned()))
    }

    /// Reads a stored name: drops invisible characters, and replaces a name without visible ones.
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

/// A UPS access key: 8 to 64 letters and digits. A secret.
#[derive(Clone, Debug)]
pub struct AccessKey(SecretString);

impl AccessKey {
    /// Parses typed text, without leading and trailing spaces.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let valid = (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        valid.then(|| Self(text.to_owned().into()))
    }

    /// The key, for the store.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// A version 4 UUID, which makes a URL unguessable.
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
