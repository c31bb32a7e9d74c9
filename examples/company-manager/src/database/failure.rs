//! Why the application's data is not usable.

use std::error::Error;

use batchsuite_auth::error::chain;

/// Why a statement or its result is not usable. Its message shows no value of a row.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Unreachable(String),
    /// Written by another version or by hand.
    #[error("a {0} is not what it must be")]
    Unreadable(&'static str),
}

impl Failure {
    pub(super) fn unreachable(error: impl Error + 'static) -> Self {
        Self::Unreachable(chain(&error).to_string())
    }
}
