//! A flight's next action. A flight gets one company's token, and refreshes it if necessary.
//!
//! The engine reads, claims, sends, saves and waits. It reports each result to [`Flight::next`], which returns the next
//! action. Nothing here reads a clock or a store.
//!
//! | what was read, or happened | next |
//! |---|---|
//! | the stored token works | serve |
//! | it is due and nobody waits, or it has ended | refresh |
//! | another attempt holds the lease | wait, then read again |
//! | a lease is over and its attempt has no recorded outcome | wait once, so that the holder can save a pair, then refresh |
//! | the company pauses, or an attempt of this flight failed | pause |
//! | there is no opt-in, a new one is needed, or the tokens cannot be read | fail |
//! | the row has an older rotation than this process has seen | mark the row as restored, then read again |
//! | the attempt was settled, or its pair is stored | read again |

use std::time::Duration;

use super::{
    access::{Access, Demand},
    backoff::Backoff,
    cause::CauseKind,
    grant::{Grant, Phase},
    limits::{FIRST_LOOK, LAST_LOOK, MOST_LATE},
};
use crate::{
    clock::{Timestamp, remaining},
    events::Evidence,
    ids::{AttemptId, Revision},
};

const LOOKS: Backoff = Backoff { first: FIRST_LOOK, most: LAST_LOOK };

/// Who waits for a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Callers wait for a token: one that works is served before a refresh.
    Foreground,
    /// Nobody waits: the flight is there to refresh.
    Background,
}

/// How long a flight and its callers wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long nobody else may send the same token.
    pub lease: Duration,
    /// How long a caller waits.
    pub max_wait: Duration,
    /// The time between two attempts to save a pair.
    pub commit_retry: Duration,
    /// The company's pause after too many attempts came too late to be sent.
    pub refresh_pause: Backoff,
}

/// Why there is no token at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// UPS cannot be reached; nothing was sent.
    #[error("UPS cannot be reached")]
    NotSent,
    /// UPS did not answer a refresh; it will be asked again.
    #[error("UPS did not answer")]
    Unanswered,
    /// UPS limits the rate.
    #[error("UPS limits the rate")]
    RateLimited,
    /// UPS gave an unknown error.
    #[error("UPS gave an unknown answer")]
    UnknownAnswer,
    /// A refresh is still under way, here or in another process.
    #[error("a refresh is under way")]
    UnderWay,
    /// The tokens that UPS issues cannot be used, or APIs reject them although they look valid.
    #[error("UPS's tokens cannot be used at present")]
    Unusable,
    /// Too many callers wait for a refresh of their companies.
    #[error("too many companies wait for a refresh")]
    Busy,
    /// The last attempt failed, and the next one is not due yet.
    #[error("the last try failed and the next one is not due yet")]
    Paused,
}

/// Why a flight pauses.
#[derive(Clone, Debug, PartialEq)]
pub enum Pause {
    /// A later attempt may succeed.
    Unavailable {
        /// Why there is no token now.
        reason: Unavailable,
        /// When to ask again.
        retry_after: Duration,
    },
    /// UPS refuses this application.
    Misconfigured {
        /// What UPS said.
        evidence: Box<Evidence>,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The store failed; the engine has its error.
    Store,
    /// The authenticator is shutting down.
    ShutDown,
}

/// Why a flight cannot get a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody has opted in.
    NotAuthenticated,
    /// A new opt-in is needed.
    Reauthenticate(CauseKind),
    /// The stored tokens cannot be read.
    Unreadable,
}

/// Whether the process is about to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stopping {
    /// No.
    #[default]
    No,
    /// Background work no longer begins; callers may still start a refresh.
    Quiet,
    /// No new work begins.
    Ended,
}

/// What a flight has read.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The grant.
    pub grant: &'a Grant,
    /// The client that is configured now.
    pub client_id: &'a str,
    /// The latest rotation that this process had seen before the read.
    pub seen: Revision,
    /// Whether its tokens can be read.
    pub is_readable: bool,
    /// Whether the row was taken by the keeper, so that caches must not be filled from it.
    pub is_reserved: bool,
    /// How long the flight has lasted.
    pub flown: Duration,
    /// Whether the process is about to stop.
    pub stopping: Stopping,
    /// Why nothing may be sent for any company, if that is so.
    pub client_fault: Option<&'a Pause>,
}

impl Read<'_> {
    /// Whether the store has lost a rotation (a restored backup or a fail-over) that the grant is not yet marked for.
    fn is_set_back(&self, now: Timestamp) -> bool {
        self.grant.revision < self.seen && !self.grant.explains_refusal() && self.grant.restore(now, now).is_ok()
    }
}

/// What happened to a flight.
#[derive(Clone, Debug)]
pub enum FlightEvent<'a> {
    /// It read the row.
    Read(Read<'a>),
    /// Its attempt ended, and the row says what comes next.
    Settled,
    /// Another attempt holds the row, or the row moved on.
    Lost,
    /// Too much time had passed since the row was read, so nothing was sent.
    Late,
    /// Its attempt failed. This is the reason, unless the row gives a clearer one.
    Failed(Pause),
}

/// A flight's next action.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Hand out the stored token.
    Serve {
        /// Whether a background refresh should follow.
        refresh_next: bool,
    },
    /// Claim, send, save.
    Refresh {
        /// The earlier attempt that recorded no outcome.
        over: Option<AttemptId>,
        /// The company's pause if this attempt is too late to be sent.
        pause_if_late: Duration,
    },
    /// The row was set back, so its tokens may be spent: mark it as restored, then read it again.
    Mark,
    /// Wait, then read the row again.
    Wait(Wait),
    /// No token for now.
    Pause(Pause),
    /// No token until a person acts.
    Fail(Failure),
}

/// How long to wait before reading again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Do not wait.
    No,
    /// Wait the whole time.
    Whole(Duration),
    /// Wait this long, or until the company changes.
    OrChange(Duration),
}

/// One flight.
#[derive(Clone, Debug)]
pub struct Flight {
    demand: Demand,
    mode: Mode,
    patience: Patience,
    /// The attempt whose holder was given time to save a pair.
    given_time: Option<AttemptId>,
    /// How often this flight looked for another attempt's outcome.
    looks: u32,
    /// How many of its attempts came too late.
    late: u32,
    /// Why its last attempt failed.
    failed: Option<Pause>,
}

impl Flight {
    /// A new flight.
    pub fn new(demand: Demand, mode: Mode, patience: Patience) -> Self {
        Self { demand, mode, patience, given_time: None, looks: 0, late: 0, failed: None }
    }

    /// The next action after `event` at `now`, the store's time.
    pub fn next(&mut self, event: FlightEvent<'_>, now: Timestamp) -> Next {
        match event {
            FlightEvent::Read(read) => self.after_reading(&read, now),
            FlightEvent::Settled => Next::Wait(Wait::No),
            FlightEvent::Lost => Next::Wait(self.look(LAST_LOOK)),
            FlightEvent::Late => self.after_coming_late(),
            FlightEvent::Failed(pause) => {
                self.failed = Some(pause);
                Next::Wait(Wait::No)
            }
        }
    }

    fn after_reading(&mut self, read: &Read<'_>, now: Timestamp) -> Next {
        if read.is_set_back(now) {
            return if read.is_reserved { Next::Wait(Wait::No) } else { Next::Mark };
        }
        let access = read.grant.access(read.client_id, self.demand, now);
        match access {
            // The keeper read this row before the flight registered with the cache. It is good enough to start a
            // refresh, because the claim compares row numbers; for anything else, read the row again.
            Access::Refresh | Access::ServeAndRefresh => {}
            _ if read.is_reserved => return Next::Wait(Wait::No),
            _ => {}
        }
        match access {
            Access::NotAuthenticated => return Next::Fail(Failure::NotAuthenticated),
            Access::Reauthenticate(cause) => return Next::Fail(Failure::Reauthenticate(cause)),
            _ if !read.is_readable => return Next::Fail(Failure::Unreadable),
            Access::Serve => return Next::Serve { refresh_next: false },
            Access::ServeAndRefresh
                if !read.is_reserved && (self.mode == Mode::Foreground || self.failed.is_some()) =>
            {
                return Next::Serve { refresh_next: self.failed.is_none() };
            }
            Access::Paused { until } => return self.while_paused(read, remaining(until, now)),
            Access::Leased { until } => return self.while_leased(read, remaining(until, now)),
            Access::ServeAndRefresh | Access::Refresh => {}
        }
        self.before_a_refresh(read)
    }

    fn while_paused(&self, read: &Read<'_>, rest: Duration) -> Next {
        let reason = if read.grant.unanswered.is_some() { Unavailable::Unanswered } else { Unavailable::Paused };
        match (&self.failed, read.client_fault) {
            (None, Some(fault)) => Next::Pause(fault.clone()),
            _ => self.pause(reason, rest),
        }
    }

    fn while_leased(&mut self, read: &Read<'_>, rest: Duration) -> Next {
        if self.failed == Some(Pause::Store) {
            // The store did not confirm our claim, and the claim in the row may be ours.
            return Next::Pause(Pause::Store);
        }
        // An answer to a request under way may come at any moment; after an unanswered one, nothing happens before the
        // lease ends.
        let is_silent = matches!(read.grant.phase, Phase::InDoubt { .. });
        let has_waited = read.flown >= self.patience.lease * 2 || read.stopping == Stopping::Ended;
        if has_waited || (is_silent && rest > self.patience.max_wait) {
            let reason = if is_silent { Unavailable::Unanswered } else { Unavailable::UnderWay };
            return self.pause(reason, rest);
        }
        Next::Wait(self.look(rest))
    }

    fn before_a_refresh(&mut self, read: &Read<'_>) -> Next {
        // This attempt recorded no outcome, perhaps only because the store was down until now. Give its holder time to
        // save its pair before the same token is sent again.
        let over = read.grant.phase.claimed_by();
        if over.is_some() && self.given_time != over {
            self.given_time = over;
            return Next::Wait(Wait::Whole(self.patience.commit_retry * 2));
        }
        if read.stopping == Stopping::Ended {
            return Next::Pause(self.failed.clone().unwrap_or(Pause::ShutDown));
        }
        if self.mode == Mode::Background && read.stopping == Stopping::Quiet {
            // A caller that needs the token may start a flight of its own.
            return self.pause(Unavailable::Paused, FIRST_LOOK);
        }
        if let Some(failed) = self.failed.clone() {
            return Next::Pause(failed);
        }
        if read.flown >= self.patience.lease * 2 {
            return self.pause(Unavailable::UnderWay, LAST_LOOK);
        }
        Next::Refresh { over, pause_if_late: self.pause_if_late() }
    }

    /// The pause after an attempt that was too late: a short one for the busy store, and one for the company after too
    /// many.
    fn after_coming_late(&mut self) -> Next {
        let pause = self.pause_if_late();
        self.late += 1;
        if pause.is_zero() {
            return Next::Wait(Wait::Whole(LOOKS.after(self.late, 1.0)));
        }
        self.failed = Some(Pause::Unavailable { reason: Unavailable::NotSent, retry_after: pause });
        Next::Wait(Wait::No)
    }

    fn pause_if_late(&self) -> Duration {
        if self.late + 1 < MOST_LATE { Duration::ZERO } else { self.patience.refresh_pause.after(1, 1.0) }
    }

    /// The wait before looking again for another attempt's outcome.
    fn look(&mut self, most: Duration) -> Wait {
        self.looks = self.looks.saturating_add(1);
        Wait::OrChange(LOOKS.after(self.looks, 1.0).min(most.max(FIRST_LOOK)))
    }

    /// A pause: this flight's failed attempt gives the reason, the row gives the time.
    fn pause(&self, reason: Unavailable, retry_after: Duration) -> Next {
        Next::Pause(match &self.failed {
            Some(Pause::Unavailable { reason, .. }) => Pause::Unavailable { reason: *reason, retry_after },
            Some(other) => other.clone(),
            None => Pause::Unavailable { reason, retry_after },
        })
    }
}
