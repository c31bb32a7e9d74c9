//! A grant as it was at one moment, and what follows from it.

use std::time::Duration;

use super::{NewPair, StoreError};
use crate::{
    clock::{Timestamp, earlier, later},
    config::Environment,
    events::{EventId, Evidence},
    ids::{ActorId, CompanyId},
    machine::{CauseKind, Facts, OptIn, RefreshTokenEnd, TokenTimes},
    secret::{AccessTokenSecret, RefreshToken},
    status::{Cause, CompanyStatus, Status},
};

/// Which grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantKey {
    /// At which UPS. Tokens of one environment are refused by the other.
    pub environment: Environment,
    /// Of which company.
    pub company: CompanyId,
}

/// A grant as it was at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Of which company.
    pub key: GrantKey,
    /// The state of the opt-in.
    pub opt_in: OptIn,
    /// The tokens, if any are stored and can be read.
    pub tokens: Option<Tokens>,
    /// Stored tokens that cannot be read. There are either these, or [`tokens`](Self::tokens), or neither.
    pub unreadable: Option<UnreadableTokens>,
    /// The client that UPS issued them to.
    pub client_id: Option<String>,
    /// Who opted in.
    pub actor: Option<ActorId>,
    /// When.
    pub authenticated_at: Option<Timestamp>,
    /// When the recorded cause was recorded, and what UPS said.
    pub cause: Option<(Timestamp, Evidence)>,
    /// Failed tries, or unusable pairs, in a row.
    pub failures: u32,
    /// Before this, nothing is sent for the company.
    pub retry_at: Option<Timestamp>,
    /// Until when a consent of the company is pending.
    pub consent_pending_until: Option<Timestamp>,
    /// The number of its latest change.
    pub change: EventId,
    /// The store's time of the reading.
    pub as_of: Timestamp,
}

/// Stored tokens, with ends by the store's clock.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token, if it can be used.
    pub access_token: Option<AccessTokenSecret>,
    /// When the access token ends.
    pub access_expires_at: Timestamp,
    /// The beginning of the early window.
    pub refresh_at: Timestamp,
    /// The refresh token, if there is one.
    pub refresh_token: Option<RefreshToken>,
    /// When the refresh token ends; `None`: unknown.
    pub refresh_expires_at: Option<Timestamp>,
    /// When the pair was obtained.
    pub obtained_at: Timestamp,
}

/// Stored tokens that cannot be read: their key is missing, or they are damaged.
///
/// The opt-in is not lost by that. Its standing is known all the same, no token is handed out or sent, and an operator who
/// puts the key or the data back repairs it. So does a person who authenticates the company again.
#[derive(Clone, Debug)]
pub struct UnreadableTokens {
    /// Why they cannot be read.
    pub reason: StoreError,
    /// When they were obtained and when they end, which is stored beside them; `None`: the grant itself is damaged, and of
    /// the snapshot only the numbers count.
    pub times: Option<TokenTimes>,
}

impl Tokens {
    /// The tokens of a pair that is stored at `now`; a pair that [keeps the refresh token](NewPair::keeps_refresh_token) keeps that of
    /// `before`.
    pub fn of_pair(pair: NewPair, before: Option<&Tokens>, now: Timestamp) -> Self {
        let obtained_at = earlier(now, pair.age);
        let end = |lifetime| later(obtained_at, lifetime);
        let before = before.filter(|_| pair.keeps_refresh_token());
        let (refresh_token, refresh_expires_at) = match (pair.refresh_token, before) {
            (Some(token), _) => (Some(token), pair.refresh_lifetime.map(end)),
            (None, Some(before)) => (before.refresh_token.clone(), before.refresh_expires_at),
            (None, None) => (None, None),
        };
        Self {
            access_token: pair.access_token,
            access_expires_at: end(pair.access_lifetime),
            refresh_at: end(pair.refresh_after),
            refresh_token,
            refresh_expires_at,
            obtained_at,
        }
    }

    /// Whether `pair` is this very pair.
    pub fn is_pair(&self, pair: &NewPair) -> bool {
        let access = match (&self.access_token, &pair.access_token) {
            (Some(stored), Some(new)) => stored.matches(new),
            (None, None) => true,
            _ => false,
        };
        let refresh = match (&self.refresh_token, &pair.refresh_token) {
            (Some(stored), Some(new)) => stored.matches(new),
            (stored, None) => stored.is_none() || !pair.erases_refresh_token,
            (None, Some(_)) => false,
        };
        access && refresh
    }

    fn times(&self) -> TokenTimes {
        TokenTimes {
            obtained_at: self.obtained_at,
            refresh_at: self.refresh_at,
            access_token_end: self.access_token.as_ref().map(|_| self.access_expires_at),
            refresh_token_end: match (&self.refresh_token, self.refresh_expires_at) {
                (None, _) => RefreshTokenEnd::Absent,
                (Some(_), None) => RefreshTokenEnd::Unknown,
                (Some(_), Some(end)) => RefreshTokenEnd::At(end),
            },
        }
    }
}

impl Snapshot {
    /// The grant of a company that was never seen.
    pub fn empty(key: GrantKey, as_of: Timestamp) -> Self {
        Self {
            key,
            opt_in: OptIn::default(),
            tokens: None,
            unreadable: None,
            client_id: None,
            actor: None,
            authenticated_at: None,
            cause: None,
            failures: 0,
            retry_at: None,
            consent_pending_until: None,
            change: EventId::START,
            as_of,
        }
    }

    /// The latest time at which it was written, as far as it shows.
    pub(crate) fn latest_time(&self) -> Option<Timestamp> {
        self.authenticated_at.max(self.tokens.as_ref().map(|tokens| tokens.obtained_at))
    }

    /// What the machine asks of it, for the client that is configured now.
    pub fn facts(&self, client_id: &str) -> Facts<'_> {
        Facts {
            opt_in: &self.opt_in,
            tokens: self.times(),
            retry_at: self.retry_at,
            // Of a grant that is damaged, nothing is derived.
            same_client: self.client_id.as_deref() == Some(client_id) || self.is_damaged(),
        }
    }

    fn is_damaged(&self) -> bool {
        self.unreadable.as_ref().is_some_and(|unreadable| unreadable.times.is_none())
    }

    fn times(&self) -> Option<TokenTimes> {
        let unreadable = || self.unreadable.as_ref().and_then(|unreadable| unreadable.times);
        self.tokens.as_ref().map(Tokens::times).or_else(unreadable)
    }

    /// Why a new opt-in is needed, if one is.
    pub fn reauthentication_cause(&self, client_id: &str) -> Option<Cause> {
        self.facts(client_id).cause(self.as_of).map(|kind| self.cause_of(kind))
    }

    /// The cause `kind` with what is known of it.
    pub(crate) fn cause_of(&self, kind: CauseKind) -> Cause {
        let (at, evidence) = match kind {
            CauseKind::OptInInvalidated | CauseKind::RotationLost => self.cause.clone().unzip(),
            CauseKind::RefreshExpired => (self.times().and_then(|times| end_of(&times)), None),
            CauseKind::NoRefreshToken => {
                let end = self.tokens.as_ref().map(|tokens| tokens.access_expires_at);
                (end.or_else(|| self.times().and_then(|times| times.access_token_end)), None)
            }
            CauseKind::ClientChanged => (None, None),
        };
        Cause { at, evidence, ..Cause::new(kind) }
    }

    /// Where the company stands for the client that is configured now; it expires soon within `warning_window`.
    pub fn status(&self, client_id: &str, warning_window: Duration) -> CompanyStatus {
        let times = self.times();
        let status = match self.reauthentication_cause(client_id) {
            Some(cause) => Status::ReauthRequired(cause),
            None if times.is_none() && self.unreadable.is_none() => Status::Unauthenticated,
            None => {
                let refresh_expires_at = times.as_ref().and_then(end_of);
                Status::Authenticated {
                    refresh_expires_at,
                    expiring_soon: refresh_expires_at.is_some_and(|end| earlier(end, warning_window) <= self.as_of),
                    refreshable: times.is_none_or(|times| times.refresh_token_end != RefreshTokenEnd::Absent),
                }
            }
        };
        CompanyStatus {
            company: self.key.company.clone(),
            status,
            actor: self.actor.clone(),
            authenticated_at: self.authenticated_at,
            consent_pending_until: self.consent_pending_until,
            revision: self.opt_in.revision,
            tokens_unreadable: self.unreadable.is_some(),
        }
    }
}

/// When the refresh token ends, as far as UPS said.
fn end_of(times: &TokenTimes) -> Option<Timestamp> {
    match times.refresh_token_end {
        RefreshTokenEnd::At(end) => Some(end),
        RefreshTokenEnd::Absent | RefreshTokenEnd::Unknown => None,
    }
}
