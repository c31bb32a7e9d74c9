//! The events of a grant.

use std::time::Duration;

use super::record::{Notice, RefreshTokenEnd, TokenTimes};
use crate::{
    clock::{Timestamp, later},
    events::Evidence,
    ids::{ActorId, AttemptId, ConsentId, Revision},
    machine::limits::{CLOCK_DISAGREEMENT, JITTERED},
};

/// An event in the life of a grant.
#[derive(Clone, Debug, PartialEq)]
pub enum GrantEvent {
    /// A consent completed: UPS issued the first pair.
    Connect(Box<Connect>),
    /// A pair is imported from another system.
    Import(Box<Import>),
    /// An attempt is about to send the refresh token (write-ahead intent).
    Claim {
        /// The new attempt.
        attempt: AttemptId,
        /// How long nobody else may send the token.
        lease: Duration,
    },
    /// The attempt sent nothing that UPS acted on; the same token can be used again.
    Release {
        /// The attempt.
        claim: Claim,
        /// Why.
        reason: Release,
        /// 0 to 1; spreads the pause.
        jitter: f64,
    },
    /// UPS answered with a new pair.
    Commit {
        /// The attempt that brought the pair.
        claim: Claim,
        /// The pair's times.
        pair: PairTimes,
        /// 0 to 1; spreads the pause after a pair that cannot be used.
        jitter: f64,
    },
    /// The attempt got no answer, so it is unknown whether UPS acted on it.
    Unanswered {
        /// The attempt.
        claim: Claim,
        /// What was observed.
        evidence: Evidence,
        /// Whether UPS is out of reach for every company, which the client's own event reports.
        is_outage: bool,
        /// 0 to 1; spreads the pause.
        jitter: f64,
    },
    /// UPS refused the refresh token.
    Refused {
        /// The attempt.
        claim: Claim,
        /// What UPS said.
        evidence: Evidence,
    },
    /// The host removes the authorization.
    Remove {
        /// Who removes it.
        actor: ActorId,
    },
    /// The store was restored from a backup, or lost commits: any refresh token stored before `at` may be spent.
    Restore {
        /// The time of the restore.
        at: Timestamp,
    },
    /// People were told about the refresh token's end.
    Notify(Notice),
    /// UPS has been asked about a refused refresh token often enough.
    Erase,
    /// UPS is in reach again after a silence.
    Resume,
    /// The keeper looked at the grant and found nothing to do.
    Look,
    /// It is unknown whether a claim was saved, and the row that was read does not show it. Saving the row unchanged
    /// ensures that the claim's save conflicts.
    Fence,
}

/// An opt-in's first pair, from a consent.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The consent that brought it.
    pub consent: ConsentId,
    /// [`Grant::removals`](super::Grant::removals) when the consent began.
    pub removals: u64,
    /// When the consent was used.
    pub used_at: Timestamp,
    /// When UPS issued the pair.
    pub issued_at: Timestamp,
    /// Whether an earlier try may have stored it.
    pub is_retry: bool,
    /// Who opted in.
    pub actor: ActorId,
    /// The client to which UPS issued the pair.
    pub client_id: String,
    /// The pair's times.
    pub pair: PairTimes,
}

/// A pair from another system.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The import's own id, which identifies its opt-in.
    pub id: ConsentId,
    /// The epoch that was read when the import began.
    pub epoch: u64,
    /// Who imports it.
    pub actor: ActorId,
    /// The client to which UPS issued the pair.
    pub client_id: String,
    /// When UPS issued the pair; `None`: unknown.
    pub issued_at: Option<Timestamp>,
    /// The pair's times.
    pub pair: PairTimes,
}

/// An attempt's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The opt-in claimed.
    pub opt_in: Option<ConsentId>,
    /// The rotation that the attempt is to replace.
    pub revision: Revision,
    /// The attempt.
    pub attempt: AttemptId,
}

/// Why an attempt sent nothing that UPS acted on.
#[derive(Clone, Debug, PartialEq)]
pub enum Release {
    /// Nothing failed: too much time had passed, or the outcome of the claim was unknown. The pause before the next
    /// attempt.
    Unsent(Duration),
    /// The request was not sent.
    NotSent(Evidence),
    /// The same while UPS is out of reach for every company. The client's own event reports that, and the breaker paces
    /// the trials, so the company's pause stays short.
    OutOfReach,
    /// UPS asked for this pause.
    RateLimited(Duration),
    /// UPS refuses the client's configuration, or blocks the client.
    Misconfigured(Evidence),
    /// UPS gave an unknown error.
    Unknown(Evidence),
}

/// A pair's times; durations count from the send of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairTimes {
    /// When its request was sent, by the store's clock. UPS may have issued the pair then, however late the answer
    /// arrived.
    pub sent_at: Timestamp,
    /// The access token's lifetime; `None`: it cannot be used.
    pub access_lifetime: Option<Duration>,
    /// When to refresh the access token: the beginning of the early window.
    pub refresh_after: Duration,
    /// The pair's refresh token.
    pub refresh: PairRefresh,
}

/// What happened to the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairRefresh {
    /// UPS sent a new one, with this lifetime; `None`: unknown.
    New(Option<Duration>),
    /// UPS sent none, so the one just used stays.
    Kept,
    /// UPS sent one that cannot be used, and the former one is spent.
    Lost,
}

/// What UPS said about a pair, as far as its times depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairFacts {
    /// When UPS issued it.
    pub issued_at: Option<Timestamp>,
    /// The access token's lifetime.
    pub access_lifetime: Duration,
    /// Whether the access token can be used.
    pub has_access_token: bool,
    /// The pair's refresh token.
    pub refresh: PairRefresh,
}

impl PairTimes {
    /// The times of a pair whose request was sent at `sent_at`, by the store's clock. `jitter` (0 to 1) places the
    /// refresh in the first half of the early window, so that companies that opted in together are not refreshed
    /// together.
    ///
    /// UPS's date alone may be wrong. But if `latest`, the latest time in the row, is ahead of our clock's `now` as
    /// well, then our clock went back. An end dated by it would come too soon, so the end is unknown.
    pub fn of(
        pair: &PairFacts,
        sent_at: Timestamp,
        latest: Option<Timestamp>,
        early_window: Duration,
        jitter: f64,
        now: Timestamp,
    ) -> Self {
        let window = (pair.access_lifetime / 4).min(early_window);
        let is_ahead = |time: Option<Timestamp>| time.is_some_and(|time| time > later(now, CLOCK_DISAGREEMENT));
        let is_set_back = is_ahead(pair.issued_at) && is_ahead(latest);
        Self {
            sent_at,
            access_lifetime: pair.has_access_token.then_some(pair.access_lifetime),
            refresh_after: pair.access_lifetime.saturating_sub(window) + window.mul_f64(JITTERED * jitter),
            refresh: match pair.refresh {
                PairRefresh::New(_) if is_set_back => PairRefresh::New(None),
                refresh => refresh,
            },
        }
    }

    /// The times of the tokens. `kept` is the end of a refresh token that the pair keeps.
    pub(super) fn token_times(&self, kept: RefreshTokenEnd) -> TokenTimes {
        let end = |lifetime| later(self.sent_at, lifetime);
        TokenTimes {
            obtained_at: self.sent_at,
            refresh_at: end(self.refresh_after),
            access_token_end: self.access_lifetime.map(end),
            refresh_token_end: match self.refresh {
                PairRefresh::New(lifetime) => {
                    lifetime.map_or(RefreshTokenEnd::Unknown, |lifetime| RefreshTokenEnd::At(end(lifetime)))
                }
                PairRefresh::Kept => kept,
                PairRefresh::Lost => RefreshTokenEnd::Absent,
            },
        }
    }
}
