//! The error of every verb.

use std::{error::Error, fmt, sync::Arc};

use crate::events::EventId;

/// A store call failed.
///
/// `Display` says what happened and what to do; the details are in the source, which it does not print.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached now: try again.
    Unavailable,
    /// Stored data cannot be read: a damaged or foreign ciphertext, or an unknown key. An operator must look; the
    /// opt-in is not lost.
    Corrupt,
    /// The store is misconfigured. An operator must look.
    Misconfigured,
    /// The store permanently rejects this value, for example a character that its encoding lacks. Repeating the call is
    /// useless: the value must change.
    Rejected,
    /// Events that the reader has not seen were pruned. To read on, use `up_to` as the cursor; earlier events are gone.
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

    /// Sets the source. It must not show a secret or a parameter.
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
            StoreErrorKind::Corrupt => "stored data cannot be read; an operator must check keys and data",
            StoreErrorKind::Misconfigured => "the store is misconfigured; an operator must look",
            StoreErrorKind::Rejected => "the store rejects this value; the value must change",
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
