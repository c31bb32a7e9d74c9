//! The event log and the change feed.

use std::time::Duration;

use super::error::{StoreError, StoreErrorKind};
use crate::{
    config::Environment,
    events::{EventContent, EventId},
    ids::CompanyId,
};

/// An event that changes no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// To which company; `None` if it concerns all.
    pub company: Option<CompanyId>,
    /// What happened.
    pub event: EventContent,
}

/// Which events to read.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// At which UPS.
    pub environment: Environment,
    /// Only those of this company; `None`: all.
    pub company: Option<CompanyId>,
    /// In which order.
    pub order: EventOrder,
    /// Where to read on, exclusively; `None`: from the first one in that order.
    pub after: Option<EventId>,
    /// How many at most.
    pub limit: usize,
}

impl EventQuery {
    /// A reader who goes on, forward, from below the latest event that was pruned has missed some.
    ///
    /// # Errors
    /// [`Pruned`](StoreErrorKind::Pruned), which names that event.
    pub fn refuse_gap(&self, up_to: EventId) -> Result<(), StoreError> {
        let is_gap = self.order == EventOrder::OldestFirst && self.after.is_some_and(|after| after < up_to);
        if is_gap { Err(StoreError::new(StoreErrorKind::Pruned { up_to })) } else { Ok(()) }
    }
}

/// In which order events are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventOrder {
    /// The oldest first: for a program that follows.
    #[default]
    OldestFirst,
    /// The newest first: for a person.
    NewestFirst,
}

/// Some of a list, and where it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Where to read on.
    pub next: Option<C>,
}

/// Which rows changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Which companies, each with the number of its latest change.
    pub changed: Vec<(CompanyId, EventId)>,
    /// Where to read on.
    pub cursor: EventId,
}

impl Changes {
    /// From where a call that asks for what comes `after` reads in a log that ends with `last`: from the beginning if `after` lies
    /// beyond that end.
    pub fn begin(after: EventId, last: EventId) -> EventId {
        if after > last { EventId::START } else { after }
    }
}

/// Which events to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// At which UPS.
    pub environment: Environment,
    /// Only those that are older.
    pub older_than: Duration,
    /// How many at most.
    pub limit: usize,
    /// Whether those are deleted, too, that a delivery has not passed yet.
    pub undelivered: bool,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// How many events. Fewer than the limit: that was all.
    pub events: u64,
    /// The latest event that was ever deleted.
    pub up_to: EventId,
}
