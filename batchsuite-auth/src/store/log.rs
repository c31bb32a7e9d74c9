//! The event log and the change feed.

use std::time::Duration;

use super::error::{StoreError, StoreErrorKind};
use crate::{
    config::Environment,
    events::{Event, EventContent, EventId},
    ids::CompanyId,
};

/// An event to write without changing a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The company; `None`: it concerns all companies.
    pub company: Option<CompanyId>,
    /// What happened.
    pub event: EventContent,
}

/// Which events to read.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// The UPS environment.
    pub environment: Environment,
    /// The company; `None`: all companies.
    pub company: Option<CompanyId>,
    /// The order.
    pub order: EventOrder,
    /// The cursor to read on from, exclusive; `None`: from the first event in this order.
    pub after: Option<EventId>,
    /// The most events to return.
    pub limit: usize,
}

impl EventQuery {
    /// Checks that a forward read misses no pruned event; `up_to` is the latest event that was pruned.
    ///
    /// # Errors
    /// [`Pruned`](StoreErrorKind::Pruned) with `up_to`.
    pub fn refuse_gap(&self, up_to: EventId) -> Result<(), StoreError> {
        let is_gap = self.order == EventOrder::OldestFirst && self.after.is_some_and(|after| after < up_to);
        if is_gap { Err(StoreError::new(StoreErrorKind::Pruned { up_to })) } else { Ok(()) }
    }
}

/// The order in which events are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventOrder {
    /// Oldest first, for a program that follows the log.
    #[default]
    OldestFirst,
    /// Newest first, for a person.
    NewestFirst,
}

/// A page of the event log, and the cursor of the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events that can be read.
    pub items: Vec<Event>,
    /// The events among them that cannot be read: they are damaged, or of a kind that this release does not know.
    pub unreadable: Vec<EventId>,
    /// The cursor to read on from. It passes unreadable events, too.
    pub next: Option<EventId>,
}

/// A page of a list, and the cursor of the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor to read on from.
    pub next: Option<C>,
}

/// Which rows changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The companies that changed, each with the id of its latest change.
    pub changed: Vec<(CompanyId, EventId)>,
    /// The cursor to read on from.
    pub cursor: EventId,
}

impl Changes {
    /// Where a read after `after` starts in a log that ends at `last`: at the beginning if `after` is beyond the end.
    pub fn begin(after: EventId, last: EventId) -> EventId {
        if after > last { EventId::START } else { after }
    }
}

/// Which events to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// The UPS environment.
    pub environment: Environment,
    /// The least age of the events to delete. An event dated ahead is as old as the next one that is not.
    pub older_than: Duration,
    /// The most events to delete.
    pub limit: usize,
    /// Whether to delete events that a delivery has not passed yet as well.
    pub undelivered: bool,
}

/// The result of a [`prune`](super::Store::prune).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// How many events were deleted. Fewer than the limit: none are left to delete.
    pub events: u64,
    /// The latest event ever deleted.
    pub up_to: EventId,
}
