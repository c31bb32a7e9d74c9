//! The error of every verb.

use std::{error::Error, fmt, sync::Arc};

/// A store could not do what it was asked.
///
/// `Display` says what and what to do; the source says more and is not printed with it.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or not now: try again.
    Unavailable,
    /// What is stored cannot be read: a damaged or foreign ciphertext, an unknown key. An operator must look; the opt-in is not
    /// lost by it.
    Corrupt,
    /// The store is not set up as it should be. An operator must look.
    Misconfigured,
    /// The database will never take this value as it is, e.g. a character that its encoding does not have.
    Rejected,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Keeps the cause. It must not show a secret or a parameter.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store cannot be reached; try again",
            StoreErrorKind::Corrupt => "what is stored cannot be read; an operator must check keys and data",
            StoreErrorKind::Misconfigured => "the store is not set up as it should be; an operator must look",
            StoreErrorKind::Rejected => "the store will never take this value as it is; an operator must look",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
