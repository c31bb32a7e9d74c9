//! The write of a row.

use super::{Document, MOST_AGE, MOST_EVENTS, RowKey, RowNumber, StoreError, StoreErrorKind, Tokens};
use crate::{
    clock::{Timestamp, earlier, later},
    events::{EventContent, EventId},
    ids::Revision,
    machine::Wake,
    status::ListedAs,
};

/// A row and its replacement.
#[derive(Clone, Debug)]
pub struct Swap {
    /// The row.
    pub key: RowKey,
    /// The number that the row must still have.
    pub expected: RowNumber,
    /// When the step was decided, by the store's clock; `None`: the step does not depend on the time, and only the
    /// number is compared.
    pub decided_at: Option<Timestamp>,
    /// The step's name, for logs and metrics. It has no other effect.
    pub step: &'static str,
    /// The new state.
    pub document: Document,
    /// The new opt-in and rotation, to which tokens are sealed.
    pub revision: Revision,
    /// The new listed status.
    pub listed_as: ListedAs,
    /// What happens to the tokens.
    pub tokens: TokenChange,
    /// The new wake times; `None`: unchanged.
    pub wake: Option<Wake>,
    /// The last use known when the step was decided.
    pub used_at: Option<Timestamp>,
    /// The events to write with it, at most [`MOST_EVENTS`].
    pub events: Vec<EventContent>,
    /// Whether caches must be told. If so, there is an event.
    pub announce: bool,
}

impl Swap {
    /// Checks the number of events.
    ///
    /// # Errors
    /// [`Rejected`](StoreErrorKind::Rejected): there are more than [`MOST_EVENTS`].
    pub fn refuse_many_events(&self) -> Result<(), StoreError> {
        if self.events.len() > MOST_EVENTS { Err(StoreError::new(StoreErrorKind::Rejected)) } else { Ok(()) }
    }

    /// Whether the decision is recent enough at `now`, the store's time once it holds the row's lock.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        self.decided_at.is_none_or(|at| (earlier(now, MOST_AGE)..=later(now, MOST_AGE)).contains(&at))
    }

    /// The new wake times for a row last used at `used_at`. A use unknown to this decision has brought them forward.
    pub fn wake_over(&self, used_at: Option<Timestamp>) -> Option<Wake> {
        let wake = self.wake?;
        let if_used = wake.if_used.filter(|_| used_at > self.used_at);
        Some(Wake { at: wake.at.into_iter().chain(if_used).min(), ..wake })
    }
}

/// What happens to a row's tokens.
#[derive(Clone, Debug)]
pub enum TokenChange {
    /// They stay as they are sealed; epoch and version do not change.
    Keep,
    /// Both are replaced; a missing one is erased.
    Replace(Tokens),
    /// Both are erased.
    Erase,
}

/// The outcome of a [`save`](super::Store::save).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after a conflict nothing is stored"]
pub enum Saved {
    /// The row is saved.
    Yes {
        /// The row's new number.
        number: RowNumber,
        /// The event id of its latest announced change.
        change: EventId,
        /// The store's time of the save.
        at: Timestamp,
    },
    /// The row has changed, or the decision is too old: read the row again.
    Conflict,
}
