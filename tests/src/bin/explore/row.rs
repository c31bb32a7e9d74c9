//! The stored row, packed so that millions of states fit into memory. The machine gets it as a [`Grant`].
//!
//! A field added to the machine's grant does not compile here until somebody decides whether the search needs it.

use std::{sync::LazyLock, time::Duration};

use batchsuite_auth::{
    ActorId,
    clock::{Timestamp, earlier, later},
    events::Evidence,
    ids::{AttemptId, ConsentId, Revision},
    test_util::machine::{self, Grant, RecordedCause, RecordedRefusal, RefreshTokenEnd, TokenTimes, Unanswered},
};

/// A time in steps of [`TICK`] relative to now: zero is now, past times are negative.
pub(crate) type Ticks = i8;

/// One step of time. It is longer than the five seconds after which a decision is too old, so each step makes every
/// decision too old.
pub(crate) const TICK: Duration = Duration::from_secs(150);
/// The duration of a lease.
pub(crate) const LEASE: Ticks = 2;
/// How long a late copy of a request can reach UPS: the machine's ten minutes.
pub(crate) const ECHO: Ticks = 4;
/// Older times decide nothing any more.
pub(crate) const LONG_AGO: Ticks = -9;
/// So far ahead that it never comes in a run: the machine's daily check.
pub(crate) const FAR: Ticks = 100;
/// The lifetime of an access token, and the start of its early window.
pub(crate) const ACCESS_LIFETIME: Ticks = 2;
pub(crate) const REFRESH_AFTER: Ticks = 1;
pub(crate) const CLIENT: &str = "our-client";

/// A company's standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Standing {
    #[default]
    Unauthenticated,
    Authenticated,
    Invalidated,
    Lost,
}

/// The phase of the current rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Idle,
    Claimed {
        attempt: u8,
        at: Ticks,
        lease_until: Ticks,
    },
    InDoubt {
        lease_until: Ticks,
    },
}

/// The stored tokens' times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Times {
    pub(crate) obtained_at: Ticks,
    pub(crate) has_access_token: bool,
}

/// A refused token kept in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Quarantine {
    pub(crate) refusals: u8,
    pub(crate) until: Ticks,
    pub(crate) is_over: bool,
}

/// The company's row. Zero means no attempt, no opt-in, no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) number: u8,
    pub(crate) epoch: u8,
    pub(crate) version: u8,
    pub(crate) standing: Standing,
    pub(crate) phase: Phase,
    /// The attempt in doubt, and until when its echo can come.
    pub(crate) unanswered: Option<(u8, Ticks)>,
    pub(crate) suspect_until: Option<Ticks>,
    pub(crate) removals: u8,
    pub(crate) opt_in: u8,
    pub(crate) imported: u8,
    pub(crate) rotated_by: u8,
    pub(crate) issued_at: Option<Ticks>,
    pub(crate) authenticated_at: Option<Ticks>,
    pub(crate) times: Option<Times>,
    pub(crate) has_failed: bool,
    pub(crate) retry_at: Option<Ticks>,
    pub(crate) refused_at: Option<Ticks>,
    pub(crate) quarantine: Option<Quarantine>,
    /// The stored refresh token, by UPS's number.
    pub(crate) token: u8,
    pub(crate) wake_at: Option<Ticks>,
}

/// The time this many steps from now. Now is always the same moment: only differences matter.
pub(crate) fn time(ticks: Ticks) -> Timestamp {
    static NOW: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_timestamp(1_767_225_600, 0).expect("a time"));
    if ticks < 0 { earlier(*NOW, steps(ticks)) } else { later(*NOW, steps(ticks)) }
}

/// How many steps from now `time` is; a time more than [`FAR`] ahead counts as [`FAR`].
pub(crate) fn ticks(at: Timestamp) -> Ticks {
    let seconds = (at - time(0)).num_seconds();
    let steps = seconds.div_euclid(TICK.as_secs().cast_signed()).clamp(i64::from(LONG_AGO), i64::from(FAR));
    Ticks::try_from(steps).unwrap_or(FAR)
}

/// This many steps as a duration.
pub(crate) fn steps(ticks: Ticks) -> Duration {
    TICK * u32::from(ticks.unsigned_abs())
}

/// The whole steps of a wait; a wait of less than one ends within the current step.
pub(crate) fn whole_steps(wait: Duration) -> Ticks {
    Ticks::try_from(wait.as_secs() / TICK.as_secs()).unwrap_or(FAR)
}

pub(crate) fn actor() -> ActorId {
    static ACTOR: LazyLock<ActorId> = LazyLock::new(|| ActorId::new("ada").expect("an id"));
    ACTOR.clone()
}

pub(crate) fn attempt_id(attempt: u8) -> AttemptId {
    AttemptId::from_bits(attempt.into())
}

pub(crate) fn consent_id(consent: u8) -> ConsentId {
    ConsentId::from_bits(consent.into())
}

fn small(bits: u128) -> u8 {
    u8::try_from(bits).expect("an id of the search")
}

impl Row {
    /// The grant as the machine sees it.
    pub(crate) fn grant(&self) -> Grant {
        Grant {
            revision: self.revision(),
            standing: self.standing.of_machine(),
            phase: self.phase.of_machine(),
            unanswered: self.unanswered.map(|(attempt, until)| Unanswered {
                attempt: (attempt != 0).then(|| attempt_id(attempt)),
                echo_until: time(until),
            }),
            suspect_until: self.suspect_until.map(time),
            removals: self.removals.into(),
            opt_in: (self.opt_in != 0).then(|| consent_id(self.opt_in)),
            imported: (self.imported != 0).then(|| consent_id(self.imported)),
            rotated_by: (self.rotated_by != 0).then(|| attempt_id(self.rotated_by)),
            issued_at: self.issued_at.map(time),
            client_id: (self.standing != Standing::Unauthenticated).then(|| CLIENT.to_owned()),
            authenticated_at: self.authenticated_at.map(time),
            tokens: self.times.map(Times::of_machine),
            failures: self.has_failed.into(),
            retry_at: self.retry_at.map(time),
            refusal: self.refused_at.map(|at| RecordedRefusal { at: time(at), evidence: Evidence::default() }),
            quarantine: self.quarantine.map(|kept| machine::Quarantine {
                refusals: kept.refusals.into(),
                until: time(kept.until),
                is_over: kept.is_over,
            }),
            ..Grant::default()
        }
    }

    /// The row of a grant, without number, token and wake time.
    pub(crate) fn of(grant: &Grant) -> Self {
        // Notices of an end do not occur here, because tokens do not expire. Actor and client are always the same.
        let Grant {
            revision,
            standing,
            phase,
            unanswered,
            suspect_until,
            removals,
            opt_in,
            imported,
            rotated_by,
            issued_at,
            client_id: _,
            actor: _,
            authenticated_at,
            tokens,
            failures,
            retry_at,
            refusal,
            quarantine,
            notified: _,
            unknown: _,
        } = grant;
        Self {
            epoch: small(revision.epoch.into()),
            version: small(revision.version.into()),
            standing: Standing::of(*standing),
            phase: Phase::of(*phase),
            unanswered: unanswered
                .map(|known| (known.attempt.map_or(0, |id| small(id.to_bits())), ticks(known.echo_until))),
            suspect_until: suspect_until.map(ticks),
            removals: small((*removals).into()),
            opt_in: opt_in.map_or(0, |id| small(id.to_bits())),
            imported: imported.map_or(0, |id| small(id.to_bits())),
            rotated_by: rotated_by.map_or(0, |id| small(id.to_bits())),
            issued_at: issued_at.map(ticks),
            authenticated_at: authenticated_at.map(ticks),
            times: tokens.map(|tokens| Times {
                obtained_at: ticks(tokens.obtained_at),
                has_access_token: tokens.access_token_end.is_some(),
            }),
            has_failed: *failures > 0,
            retry_at: retry_at.map(ticks),
            refused_at: refusal.as_ref().map(|refusal| ticks(refusal.at)),
            quarantine: quarantine.map(|kept| Quarantine {
                refusals: u8::try_from(kept.refusals).unwrap_or(u8::MAX),
                until: ticks(kept.until),
                is_over: kept.is_over,
            }),
            ..Self::default()
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision { epoch: self.epoch.into(), version: self.version.into() }
    }
}

impl Standing {
    fn of_machine(self) -> machine::Standing {
        match self {
            Self::Unauthenticated => machine::Standing::Unauthenticated,
            Self::Authenticated => machine::Standing::Authenticated,
            Self::Invalidated => machine::Standing::ReauthRequired(RecordedCause::OptInInvalidated),
            Self::Lost => machine::Standing::ReauthRequired(RecordedCause::RotationLost),
        }
    }

    fn of(standing: machine::Standing) -> Self {
        match standing {
            machine::Standing::Unauthenticated => Self::Unauthenticated,
            machine::Standing::Authenticated => Self::Authenticated,
            machine::Standing::ReauthRequired(RecordedCause::OptInInvalidated) => Self::Invalidated,
            machine::Standing::ReauthRequired(RecordedCause::RotationLost) => Self::Lost,
        }
    }
}

impl Phase {
    fn of_machine(self) -> machine::Phase {
        match self {
            Self::Idle => machine::Phase::Idle,
            Self::Claimed { attempt, at, lease_until } => {
                machine::Phase::Claimed { attempt: attempt_id(attempt), at: time(at), lease_until: time(lease_until) }
            }
            Self::InDoubt { lease_until } => machine::Phase::InDoubt { lease_until: time(lease_until) },
        }
    }

    fn of(phase: machine::Phase) -> Self {
        match phase {
            machine::Phase::Idle => Self::Idle,
            machine::Phase::Claimed { attempt, at, lease_until } => {
                Self::Claimed { attempt: small(attempt.to_bits()), at: ticks(at), lease_until: ticks(lease_until) }
            }
            machine::Phase::InDoubt { lease_until } => Self::InDoubt { lease_until: ticks(lease_until) },
        }
    }

    /// The attempt whose outcome is not recorded; zero: none.
    pub(crate) fn claimed_by(self) -> u8 {
        match self {
            Self::Claimed { attempt, .. } => attempt,
            Self::Idle | Self::InDoubt { .. } => 0,
        }
    }
}

impl Times {
    fn of_machine(self) -> TokenTimes {
        TokenTimes {
            obtained_at: time(self.obtained_at),
            refresh_at: time(self.obtained_at + REFRESH_AFTER),
            access_token_end: self.has_access_token.then(|| time(self.obtained_at + ACCESS_LIFETIME)),
            refresh_token_end: RefreshTokenEnd::Unknown,
        }
    }
}
