//! The whole machine, enumerated.

mod access;
mod breaker;
mod client;
mod consent;
mod diagnosis;
mod diagram;
mod lag;
mod obstacles;
mod pairs;
mod queue;
mod rate;
mod reachable;
mod rotation;
mod second_opinion;
mod steps;
mod transitions;
mod wake;

use std::time::Duration;

use super::{
    Backoff, Claim, Connect, Grant, GrantEvent, PairRefresh, PairTimes, Pauses, RefreshTokenEnd, Settings, Standing,
    TokenTimes,
    access::{Access, Freshness},
    grant::{Import, Notice, Notified, Phase, RecordedCause, RecordedRefusal, Unanswered},
};
use crate::{
    clock::{Timestamp, earlier, later},
    events::Evidence,
    ids::{ActorId, AttemptId, ConsentId, Revision},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const LEASE: Duration = MINUTE;
const CLIENT: &str = "our-client";

/// So many minutes after the start of 2026.
fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600 + 60 * minutes, 0).unwrap()
}

/// So many days after the start of 2026.
fn day(days: i64) -> Timestamp {
    minute(days * 24 * 60)
}

fn attempt(bits: u128) -> AttemptId {
    AttemptId::from_bits(bits)
}

fn consent(bits: u128) -> ConsentId {
    ConsentId::from_bits(bits)
}

fn actor() -> ActorId {
    ActorId::new("alice").unwrap()
}

fn pauses() -> Pauses {
    let pause = |first, most| Backoff { first, most };
    Pauses {
        refresh: pause(Duration::from_secs(2), 5 * MINUTE),
        probe: pause(Duration::from_secs(1), 10 * MINUTE),
        unusable: pause(MINUTE, HOUR),
        // Most tests end with the first refusal.
        second_opinions: Vec::new(),
    }
}

fn settings() -> Settings {
    Settings {
        client_id: CLIENT.to_owned(),
        fresh_if_used_within: DAY,
        keep_alive_before_end: 7 * DAY,
        warnings: vec![14 * DAY, 7 * DAY, 3 * DAY, DAY],
        pauses: pauses(),
    }
}

/// An access token of one hour and a refresh token of 60 days.
fn pair(sent_at: Timestamp) -> PairTimes {
    PairTimes {
        sent_at,
        access_lifetime: Some(HOUR),
        refresh_after: 45 * MINUTE,
        refresh: PairRefresh::New(Some(60 * DAY)),
    }
}

/// An opt-in in its third rotation, with a pair obtained at `obtained_at`.
fn opted_in(obtained_at: Timestamp) -> Grant {
    Grant {
        revision: Revision { epoch: 5, version: 3 },
        standing: Standing::Authenticated,
        removals: 2,
        opt_in: Some(consent(1)),
        imported: Some(consent(4)),
        rotated_by: Some(attempt(9)),
        issued_at: Some(minute(0)),
        client_id: Some(CLIENT.to_owned()),
        actor: Some(actor()),
        authenticated_at: Some(minute(1)),
        tokens: Some(TokenTimes {
            obtained_at,
            refresh_at: later(obtained_at, 45 * MINUTE),
            access_token_end: Some(later(obtained_at, HOUR)),
            refresh_token_end: RefreshTokenEnd::At(later(obtained_at, 60 * DAY)),
        }),
        ..Grant::default()
    }
}

/// A consent used at `used_at`, with a pair that UPS issued at `issued_at`.
fn connect(grant: &Grant, used_at: Timestamp, issued_at: Timestamp) -> Connect {
    Connect {
        consent: consent(2),
        removals: grant.removals,
        used_at,
        issued_at,
        is_retry: false,
        actor: ActorId::new("bob").unwrap(),
        client_id: CLIENT.to_owned(),
        pair: pair(issued_at),
    }
}

fn import(grant: &Grant, issued_at: Option<Timestamp>) -> Import {
    Import {
        id: consent(3),
        epoch: grant.revision.epoch,
        actor: ActorId::new("bob").unwrap(),
        client_id: CLIENT.to_owned(),
        issued_at,
        pair: pair(minute(70)),
    }
}

fn claim(attempt: AttemptId) -> GrantEvent {
    GrantEvent::Claim { attempt, lease: LEASE }
}

fn commit(claim: Claim, pair: PairTimes) -> GrantEvent {
    GrantEvent::Commit { claim, pair, jitter: 1.0 }
}

fn unanswered(claim: Claim) -> GrantEvent {
    GrantEvent::Unanswered { claim, evidence: Evidence::message("no answer"), is_outage: false, jitter: 1.0 }
}

fn refused(claim: Claim) -> GrantEvent {
    GrantEvent::Refused { claim, evidence: Evidence::message("Invalid Refresh Token") }
}

/// The state's name in the diagram. A new standing or phase does not compile until it has a name.
fn state_name(grant: &Grant) -> &'static str {
    match (grant.standing, grant.phase) {
        (Standing::Unauthenticated, _) => "unauthenticated",
        (Standing::Authenticated, Phase::Idle) => "idle",
        (Standing::Authenticated, Phase::Claimed { .. }) => "claimed",
        (Standing::Authenticated, Phase::InDoubt { .. }) => "in_doubt",
        (Standing::ReauthRequired(RecordedCause::OptInInvalidated), _) => "opt_in_invalidated",
        (Standing::ReauthRequired(RecordedCause::RotationLost), _) => "rotation_lost",
    }
}

/// The event's label in the diagram.
fn event_name(event: &GrantEvent) -> &'static str {
    match event {
        GrantEvent::Connect(_) => "connect",
        GrantEvent::Import(_) => "import",
        GrantEvent::Claim { .. } => "claim",
        GrantEvent::Release { .. } => "release",
        GrantEvent::Commit { .. } => "commit",
        GrantEvent::Unanswered { .. } => "unanswered",
        GrantEvent::Refused { .. } => "refused",
        GrantEvent::Remove { .. } => "remove",
        GrantEvent::Restore { .. } => "restore",
        GrantEvent::Notify(_) => "notify",
        GrantEvent::Erase => "erase",
        GrantEvent::Resume => "resume",
        GrantEvent::Look => "look",
        GrantEvent::Fence => "fence",
    }
}
