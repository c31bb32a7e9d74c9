//! The one write of a row.

use super::{Document, MOST_AGE, MOST_EVENTS, RowKey, RowNumber, StoreError, StoreErrorKind, Tokens};
use crate::{
    clock::{Timestamp, earlier, later},
    events::{EventContent, EventId},
    ids::Revision,
    machine::Wake,
    status::ListedAs,
};

/// A row and what it becomes.
#[derive(Clone, Debug)]
pub struct Swap {
    /// Which row.
    pub key: RowKey,
    /// The number that it must still have.
    pub expected: RowNumber,
    /// When this was decided, by the store's clock; `None`: at any time (the number alone fences it).
    pub decided_at: Option<Timestamp>,
    /// The name of the step, for logs and metrics. It decides nothing.
    pub step: &'static str,
    /// The new state.
    pub document: Document,
    /// The opt-in and rotation afterwards. Tokens are sealed for it.
    pub revision: Revision,
    /// The name of the company's status afterwards.
    pub listed_as: ListedAs,
    /// What becomes of the tokens.
    pub tokens: TokenChange,
    /// When it wakes; `None`: as before.
    pub wake: Option<Wake>,
    /// The last use that this was decided with.
    pub used_at: Option<Timestamp>,
    /// What to write down with it: at most [`MOST_EVENTS`].
    pub events: Vec<EventContent>,
    /// Whether caches must hear of it. If so, there is an event.
    pub announce: bool,
}

impl Swap {
    /// A save with more events than a store numbers at once.
    ///
    /// # Errors
    /// [`Rejected`](StoreErrorKind::Rejected)
    pub fn refuse_many_events(&self) -> Result<(), StoreError> {
        if self.events.len() > MOST_EVENTS { Err(StoreError::new(StoreErrorKind::Rejected)) } else { Ok(()) }
    }

    /// Whether the decision can still be saved at `now`: the store's time once it has the row's lock.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        self.decided_at.is_none_or(|at| (earlier(now, MOST_AGE)..=later(now, MOST_AGE)).contains(&at))
    }

    /// The new wake times over a row that was last used at `used_at`. A use that this was not decided with has brought them forward.
    pub fn wake_over(&self, used_at: Option<Timestamp>) -> Option<Wake> {
        let wake = self.wake?;
        let if_used = wake.if_used.filter(|_| used_at > self.used_at);
        Some(Wake { at: wake.at.into_iter().chain(if_used).min(), ..wake })
    }
}

/// What becomes of a row's tokens.
#[derive(Clone, Debug)]
pub enum TokenChange {
    /// They stay, as they are sealed. Epoch and version do not change then.
    Keep,
    /// Both are replaced; one that is missing is erased.
    Replace(Tokens),
    /// Both are erased.
    Erase,
}

/// What became of a [`save`](super::Store::save).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after a conflict nothing is stored"]
pub enum Saved {
    /// It is stored.
    Yes {
        /// The row's number now.
        number: RowNumber,
        /// The number of its latest announced change.
        change: EventId,
        /// The store's time of the save.
        at: Timestamp,
    },
    /// The row is another by now, or too much time has passed since the decision: read it again.
    Conflict,
}
