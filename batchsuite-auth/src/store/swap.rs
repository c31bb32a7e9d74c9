//! The one write of a row.

use std::time::Duration;

use super::{Document, RowKey, RowNumber, Tokens};
use crate::{
    clock::Timestamp,
    events::{EventContent, EventId},
    ids::Revision,
    machine::Wake,
    status::ListedAs,
};

/// A decision that depends on the time is saved within this, or not at all.
pub const MOST_AGE: Duration = Duration::from_secs(5);

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
    /// What to write down with it: at most three events.
    pub events: Vec<EventContent>,
    /// Whether caches must hear of it. If so, there is an event.
    pub announce: bool,
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
