//! What an allowed event does to a grant, and why another is refused.

use super::record::Grant;
use crate::{
    events::{EventContent, EventKind},
    ids::ActorId,
};

/// What an allowed event does.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The name of the step.
    pub name: &'static str,
    /// The grant afterwards.
    pub grant: Grant,
    /// What becomes of the stored tokens.
    pub tokens: TokensEffect,
    /// What to write down.
    pub events: Vec<EventContent>,
    /// Whether caches must hear of it.
    pub announce: bool,
    /// Whether it was right only at the time of the decision.
    pub depends_on_time: bool,
    /// Whether the grant wakes when it did before.
    pub keeps_wake: bool,
}

/// What becomes of the stored tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensEffect {
    /// They stay.
    Keep,
    /// The pair that came with the event replaces them.
    Replace,
    /// The refresh token stays, and the access token is erased.
    KeepRefresh,
    /// The access token stays, and the refresh token is erased.
    KeepAccess,
    /// They are erased.
    Erase,
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepRefusal {
    /// The row moved on: another opt-in or a later rotation is stored.
    Stale,
    /// Another attempt holds the row, or none does.
    NotHolder,
    /// A lease is running.
    Leased,
    /// A pause is running.
    Paused,
    /// There is nothing to do it with: the company is not authenticated.
    NotAuthenticated,
    /// The authorization was removed after the consent had begun.
    RemovedSince,
    /// It is stored already.
    AlreadyStored,
    /// UPS issued the stored grant later than this one.
    Superseded,
    /// It would change nothing.
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
