//! The error of every verb.

use std::{error::Error, fmt, sync::Arc};

use crate::events::EventId;

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
    /// The store will never take this value as it is, e.g. a character that its encoding does not have. To repeat the call is
    /// useless: the written value must change.
    Rejected,
    /// Events that the reader has not seen were pruned. To read on, use `up_to` as the cursor; what lies before it is gone.
    Pruned {
        /// The latest pruned event.
        up_to: EventId,
    },
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
        let words = match self.kind {
            StoreErrorKind::Unavailable => "the store cannot be reached; try again",
            StoreErrorKind::Corrupt => "what is stored cannot be read; an operator must check keys and data",
            StoreErrorKind::Misconfigured => "the store is not set up as it should be; an operator must look",
            StoreErrorKind::Rejected => "the store does not take this value; what is written must change",
            StoreErrorKind::Pruned { up_to } => {
                let number = up_to.number();
                return write!(f, "events up to number {number} were pruned; read on after that number");
            }
        };
        f.write_str(words)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
