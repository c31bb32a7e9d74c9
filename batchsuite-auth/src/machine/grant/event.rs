//! What happens to a grant.

use std::time::Duration;

use super::record::{Notice, RefreshTokenEnd, TokenTimes};
use crate::{
    clock::{Timestamp, later},
    events::Evidence,
    ids::{ActorId, AttemptId, ConsentId, Revision},
    machine::limits::CLOCK_DISAGREEMENT,
};

/// What happens to a grant.
#[derive(Clone, Debug, PartialEq)]
pub enum GrantEvent {
    /// A consent completed: UPS issued a first pair.
    Connect(Box<Connect>),
    /// Tokens come from another system that kept them.
    Import(Box<Import>),
    /// Somebody is about to send the refresh token: the write-ahead intent.
    Claim {
        /// The new attempt.
        attempt: AttemptId,
        /// How long nobody else may send.
        lease: Duration,
    },
    /// The attempt sent nothing that UPS acted on: the same token can be used again.
    Release {
        /// The attempt.
        claim: Claim,
        /// Why.
        reason: Release,
        /// 0 to 1, for the pause.
        jitter: f64,
    },
    /// UPS answered with a new pair.
    Commit {
        /// The attempt that brought it.
        claim: Claim,
        /// Its times.
        pair: PairTimes,
        /// 0 to 1, for the pause after a pair that cannot be used.
        jitter: f64,
    },
    /// Whether the request arrived is unknown.
    Unanswered {
        /// The attempt.
        claim: Claim,
        /// What was seen.
        evidence: Evidence,
        /// 0 to 1, for the pause.
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
        /// Who does it.
        actor: ActorId,
    },
    /// The store was restored from a backup, or lost commits, at this time: any older refresh token in it may be spent.
    Restore {
        /// When.
        at: Timestamp,
    },
    /// People are told of the end of the refresh token.
    Notify(Notice),
    /// UPS has been asked about a refused refresh token often enough.
    Erase,
    /// The keeper looked at the grant and found nothing to do.
    Look,
    /// It is unknown whether a claim of this grant was saved, and it is not in the row that was read. To save the row unchanged makes
    /// sure that it never will be.
    Fence,
}

/// A first pair.
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
    /// The client that UPS issued it to.
    pub client_id: String,
    /// Its times.
    pub pair: PairTimes,
}

/// A pair that another system kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The import's own id, which stands for its opt-in.
    pub id: ConsentId,
    /// The epoch that was read when the import began.
    pub epoch: u64,
    /// Who imports.
    pub actor: ActorId,
    /// The client that UPS issued the pair to.
    pub client_id: String,
    /// When UPS issued the pair; `None`: unknown.
    pub issued_at: Option<Timestamp>,
    /// Its times.
    pub pair: PairTimes,
}

/// An attempt, as it was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The opt-in.
    pub opt_in: Option<ConsentId>,
    /// The rotation that the attempt replaces.
    pub revision: Revision,
    /// The attempt.
    pub attempt: AttemptId,
}

/// Why an attempt sent nothing that UPS acted on.
#[derive(Clone, Debug, PartialEq)]
pub enum Release {
    /// Nothing failed: too much time had passed to send it, or the claim was in doubt. The next try is due after this.
    Unsent(Duration),
    /// The request was not sent.
    NotSent(Evidence),
    /// UPS asks for a pause.
    RateLimited(Duration),
    /// UPS refuses the client's configuration, or blocks the client.
    Misconfigured(Evidence),
    /// A refusal that nobody has described.
    Unknown(Evidence),
}

/// What a pair says of its times, counted from when its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairTimes {
    /// When its request was sent, by the store's clock: UPS may have issued it then, however late the answer arrived.
    pub sent_at: Timestamp,
    /// How long the access token lives; `None`: there is none that can be used.
    pub access_lifetime: Option<Duration>,
    /// When to refresh it: the beginning of the early window.
    pub refresh_after: Duration,
    /// What it brings of a refresh token.
    pub refresh: PairRefresh,
}

/// What a pair brings of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairRefresh {
    /// A new one. How long it lives; `None`: unknown.
    New(Option<Duration>),
    /// None, so the one that was just used stays.
    Kept,
    /// One that cannot be sent back; the one before is spent.
    Lost,
}

/// What UPS says of a pair, as far as its times depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairFacts {
    /// When UPS issued it.
    pub issued_at: Option<Timestamp>,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// Whether there is one that can be used.
    pub has_access_token: bool,
    /// What it brings of a refresh token.
    pub refresh: PairRefresh,
}

impl PairTimes {
    /// The times of a pair whose request was sent at `sent_at`, by the store's clock. The early window begins at a random moment
    /// of its first tenth (`jitter`: 0 to 1), so that companies that opted in together are not refreshed together.
    ///
    /// UPS's date alone may be wrong. But if the row has seen a later time than `now`, our own clock's, as well (`latest`), our clock
    /// went back, and an end that is dated by it would come too soon: it is unknown then.
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
            refresh_after: pair.access_lifetime.saturating_sub(window) + window.mul_f64(0.1 * jitter),
            refresh: match pair.refresh {
                PairRefresh::New(_) if is_set_back => PairRefresh::New(None),
                refresh => refresh,
            },
        }
    }

    /// The times of its tokens. The refresh token that a pair keeps ends when `kept` says.
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
