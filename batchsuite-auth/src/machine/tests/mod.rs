//! The whole machine, enumerated.

mod access;
mod breaker;
mod consent;
mod diagram;
mod reachable;
mod transitions;

use std::time::Duration;

use super::{Event, OptIn, Phase, RecordedCause, Standing, Verdict};
use crate::clock::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// Some minutes after the beginning of 2026.
fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600 + 60 * minutes, 0).unwrap()
}

/// The state as the diagram draws it. A new standing or phase does not compile before it has a name.
fn state_name(opt_in: &OptIn) -> &'static str {
    match (opt_in.standing, opt_in.phase) {
        (Standing::Unauthenticated, _) => "unauthenticated",
        (Standing::Authenticated, Phase::Idle) => "idle",
        (Standing::Authenticated, Phase::Sent { .. }) => "sent",
        (Standing::Authenticated, Phase::Travelling { .. }) => "travelling",
        (Standing::ReauthRequired(RecordedCause::OptInInvalidated), _) => "opt_in_invalidated",
        (Standing::ReauthRequired(RecordedCause::RotationLost), _) => "rotation_lost",
    }
}

/// The event as the diagram labels it.
fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Connect { .. } => "connect",
        Event::Claim { .. } => "claim",
        Event::GiveBack { .. } => "give_back",
        Event::Commit { .. } => "commit",
        Event::Settle { verdict: Verdict::Refused, .. } => "refused",
        Event::Settle { verdict: Verdict::Unanswered, .. } => "unanswered",
        Event::Remove => "remove",
        Event::Restore => "restore",
    }
}
