//! What the other verbs take and give: record, due, warn, list, events, changes.

use std::time::Duration;

use crate::{
    config::Environment,
    events::{EventId, EventKind, Evidence},
    ids::{ActorId, CompanyId},
    status::Status,
};

/// An event that changes no grant.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// At which UPS.
    pub environment: Environment,
    /// To which company; `None` if it concerns all.
    pub company: Option<CompanyId>,
    /// Who did it.
    pub actor: Option<ActorId>,
    /// What.
    pub kind: EventKind,
    /// What UPS said.
    pub evidence: Option<Evidence>,
}

/// Which companies a keeper wants.
#[derive(Clone, Debug)]
pub struct DueQuery {
    /// At which UPS.
    pub environment: Environment,
    /// Of which client.
    pub client_id: String,
    /// A company that was used within this is kept fresh.
    pub used_within: Duration,
    /// Any company's refresh token is renewed this long before it ends.
    pub keep_alive: Duration,
    /// For how long they are reserved.
    pub reserve_for: Duration,
    /// How many at most. Each comes with its tokens.
    pub limit: usize,
}

/// Which warnings to raise.
#[derive(Clone, Debug)]
pub struct WarnExpiring {
    /// At which UPS.
    pub environment: Environment,
    /// Of which client.
    pub client_id: String,
    /// How long before the end to warn, each once.
    pub windows: Vec<Duration>,
    /// How many at most.
    pub limit: usize,
}

/// Which companies to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// At which UPS.
    pub environment: Environment,
    /// The client that is configured now.
    pub client_id: String,
    /// The warning window, for [`Status::Authenticated`]'s `expiring_soon`.
    pub warning_window: Duration,
    /// Only those that stand so; `None`: all.
    pub filter: Option<StatusFilter>,
    /// Only those after this one.
    pub after: Option<CompanyId>,
    /// How many at most.
    pub limit: usize,
}

/// Companies that stand so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusFilter {
    /// [`Status::Unauthenticated`]
    Unauthenticated,
    /// [`Status::Authenticated`]
    Authenticated,
    /// [`Status::ReauthRequired`]
    ReauthRequired,
}

impl StatusFilter {
    /// Whether `status` is one of them.
    pub fn accepts(self, status: &Status) -> bool {
        matches!(
            (self, status),
            (Self::Unauthenticated, Status::Unauthenticated)
                | (Self::Authenticated, Status::Authenticated { .. })
                | (Self::ReauthRequired, Status::ReauthRequired(_))
        )
    }
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

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Which companies, each with the number of its latest change.
    pub changed: Vec<(CompanyId, EventId)>,
    /// Where to read on.
    pub cursor: EventId,
}
