//! The result of an event: a step, or a refusal.

use super::record::Grant;
use crate::{
    events::{EventContent, EventKind},
    ids::ActorId,
};

/// The effect of an allowed event.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The step's name.
    pub name: &'static str,
    /// The new grant.
    pub grant: Grant,
    /// What happens to the stored tokens.
    pub tokens: TokensEffect,
    /// The events to write.
    pub events: Vec<EventContent>,
    /// Whether caches must be told.
    pub announce: bool,
    /// Whether the step is valid only near the time of its decision.
    pub depends_on_time: bool,
    /// Whether the grant keeps its wake time.
    pub keeps_wake: bool,
}

/// What happens to the stored tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensEffect {
    /// They stay.
    Keep,
    /// The event's pair replaces them.
    Replace,
    /// The refresh token stays; the access token is erased.
    KeepRefresh,
    /// The access token stays; the refresh token is erased.
    KeepAccess,
    /// They are erased.
    Erase,
}

/// Why an event is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepRefusal {
    /// The row moved on: another opt-in or a later rotation is stored.
    Stale,
    /// The attempt does not hold the row.
    NotHolder,
    /// A lease is running.
    Leased,
    /// A pause is running.
    Paused,
    /// The company is not authenticated.
    NotAuthenticated,
    /// The authorization was removed after the consent started.
    RemovedSince,
    /// This pair is already stored.
    AlreadyStored,
    /// UPS issued the stored grant later than this one.
    Superseded,
    /// The event says that UPS issues the tokens in the future.
    IssuedAhead,
    /// The refresh token of the event has ended.
    Ended,
    /// The event would change nothing.
    Unchanged,
}

impl Step {
    pub(super) fn new(name: &'static str, grant: Grant) -> Self {
        Self {
            name,
            grant,
            tokens: TokensEffect::Keep,
            events: Vec::new(),
            announce: false,
            depends_on_time: false,
            keeps_wake: false,
        }
    }

    pub(super) fn authenticated(name: &'static str, grant: Grant, actor: &ActorId) -> Self {
        let event = EventContent::new(EventKind::Authenticated).with_actor(actor.clone());
        Self::new(name, grant).replacing_tokens().writing(vec![event]).announced()
    }

    pub(super) fn timed(self) -> Self {
        Self { depends_on_time: true, ..self }
    }

    pub(super) fn keeping_wake(self) -> Self {
        Self { keeps_wake: true, ..self }
    }

    pub(super) fn writing(self, events: Vec<EventContent>) -> Self {
        Self { events, ..self }
    }

    pub(super) fn announced(self) -> Self {
        Self { announce: true, ..self }
    }

    pub(super) fn replacing_tokens(self) -> Self {
        Self { tokens: TokensEffect::Replace, ..self }
    }

    pub(super) fn erasing_access_token(self) -> Self {
        Self { tokens: TokensEffect::KeepRefresh, ..self }
    }

    pub(super) fn erasing_refresh_token(self) -> Self {
        Self { tokens: TokensEffect::KeepAccess, ..self }
    }

    pub(super) fn erasing_tokens(self) -> Self {
        Self { tokens: TokensEffect::Erase, ..self }
    }
}
