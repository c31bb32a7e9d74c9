//! Why a command could not do its work: one line that says what to do, then the cause.

use std::{error::Error, fmt};

use batchsuite_auth::{StoreError, StoreErrorKind, error::chain};
use batchsuite_store::SqliteStore;
use serde_json::{Value, json};

/// Why a command could not do its work. It shows no secret.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What happened and what to do.
    pub(crate) line: String,
    /// Why, in one line.
    pub(crate) cause: Option<String>,
    /// Whether the database could be asked, and what it holds or how it is set up is at fault.
    pub(crate) is_of_database: bool,
}

impl Failure {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), cause: None, is_of_database: false }
    }

    /// Adds the cause.
    pub(crate) fn because(self, cause: &(dyn Error + 'static)) -> Self {
        Self { cause: Some(chain(cause).to_string()), ..self }
    }

    /// What the database holds, or how it is set up, is at fault.
    pub(crate) fn of_database(self) -> Self {
        Self { is_of_database: true, ..self }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": self.line, "cause": self.cause })
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let line = match error.kind() {
            StoreErrorKind::Unavailable if SqliteStore::is_locked(&error) => {
                "another program holds the lock of the database file; end it or its transaction, and try again"
            }
            StoreErrorKind::Unavailable => {
                "the database cannot be reached; check that it runs and that DATABASE_URL names it, and try again"
            }
            StoreErrorKind::Misconfigured => "the database or its keys must be put in order first; the cause says how",
            StoreErrorKind::Corrupt => "stored data cannot be read; check keys and data",
            _ => return Self::new(chain(&error).to_string()).of_database(),
        };
        let failure = error.source().map_or_else(|| Self::new(line), |cause| Self::new(line).because(cause));
        Self { is_of_database: error.kind() != StoreErrorKind::Unavailable, ..failure }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.line)?;
        match &self.cause {
            Some(cause) => write!(f, "\n  cause: {cause}"),
            None => Ok(()),
        }
    }
}
