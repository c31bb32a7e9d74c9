//! Why the application's data cannot be used.

use std::error::Error;

use batchsuite_auth::error::chain;

/// Why a statement, or what it found, is of no use. It shows no value of a row.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Unreachable(String),
    /// Another version, or a hand, has written that.
    #[error("a {0} is not what it must be")]
    Unreadable(&'static str),
}

impl Failure {
    pub(super) fn unreachable(error: impl Error + 'static) -> Self {
        Self::Unreachable(chain(&error).to_string())
    }
}
