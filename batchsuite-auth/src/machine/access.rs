//! What a token request gets from the stored grant, and whether a refresh has to come first.

use super::{
    cause::CauseKind,
    grant::{Grant, RefreshTokenEnd, Standing, TokenTimes},
    limits::CLOCK_TOLERANCE,
};
use crate::{
    clock::{Timestamp, later},
    events::Evidence,
    ids::Revision,
};

/// Who asks for a token, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A caller needs a token.
    Token,
    /// An API refused the token of this revision although it looks valid.
    Rejected(Revision),
    /// The keeper asks to replace this revision, even if its token is fresh.
    Renew(Revision),
}

/// What the request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The stored access token.
    Serve,
    /// The stored access token; a refresh should begin in the background.
    ServeAndRefresh,
    /// Nothing until a refresh is done; the refresh may begin.
    Refresh,
    /// A refresh is under way, or its request may still be in transit.
    Leased {
        /// When the lease ends.
        until: Timestamp,
    },
    /// The last attempt failed, and the next is not due yet.
    Paused {
        /// When the next attempt is due.
        until: Timestamp,
    },
    /// Nobody has opted in.
    NotAuthenticated,
    /// A new opt-in is needed.
    Reauthenticate(CauseKind),
}

/// Whether the stored access token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It can.
    Fresh,
    /// It can, but should be refreshed.
    Due,
    /// It must not be used.
    Ended,
}

impl TokenTimes {
    /// Whether the access token can be used at `now`.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        let set_back = self.obtained_at > later(now, CLOCK_TOLERANCE);
        match self.access_token_end {
            Some(end) if end > now && !set_back => {
                if self.refresh_at > now {
                    Freshness::Fresh
                } else {
                    Freshness::Due
                }
            }
            _ => Freshness::Ended,
        }
    }
}

impl Grant {
    /// Why a new opt-in is needed at `now` for the configured `client_id`; `None` if none is needed. Derived causes are
    /// never stored, so they disappear once the clock or the setting is corrected.
    pub fn cause(&self, client_id: &str, now: Timestamp) -> Option<CauseKind> {
        match self.standing {
            Standing::Unauthenticated => None,
            Standing::ReauthRequired(cause) => Some(cause.into()),
            Standing::Authenticated if self.client_id.as_deref() != Some(client_id) => Some(CauseKind::ClientChanged),
            Standing::Authenticated => {
                let tokens = self.tokens?;
                match tokens.refresh_token_end {
                    RefreshTokenEnd::At(end) if end <= now => Some(CauseKind::RefreshExpired),
                    RefreshTokenEnd::Absent if tokens.freshness(now) == Freshness::Ended => {
                        Some(CauseKind::NoRefreshToken)
                    }
                    _ => None,
                }
            }
        }
    }

    /// Since when a new opt-in is needed for `cause`, and what UPS said.
    pub fn cause_since(&self, cause: CauseKind) -> (Option<Timestamp>, Option<Evidence>) {
        match cause {
            CauseKind::OptInInvalidated | CauseKind::RotationLost => {
                self.refusal.clone().map(|refusal| (refusal.at, refusal.evidence)).unzip()
            }
            CauseKind::RefreshExpired => (self.tokens.and_then(|tokens| tokens.refresh_end()), None),
            CauseKind::NoRefreshToken => (self.tokens.and_then(|tokens| tokens.access_token_end), None),
            CauseKind::ClientChanged => (None, None),
        }
    }

    /// What `demand` gets at `now`, the store's time, for the configured `client_id`.
    pub fn access(&self, client_id: &str, demand: Demand, now: Timestamp) -> Access {
        let cause = self.cause(client_id, now);
        if self.is_second_opinion(client_id, demand, now) {
            return self.refresh(now);
        }
        let stored = self.tokens.map_or(Freshness::Ended, |tokens| tokens.freshness(now));
        let wanted = match demand {
            Demand::Token => stored,
            Demand::Rejected(revision) if revision == self.revision => Freshness::Ended,
            Demand::Renew(revision) if revision == self.revision && stored == Freshness::Fresh => Freshness::Due,
            Demand::Rejected(_) | Demand::Renew(_) => stored,
        };
        let refresh = match (self.standing, cause) {
            (Standing::Unauthenticated, _) => return Access::NotAuthenticated,
            // The token of a withdrawn opt-in, or of another client, is never served.
            (_, Some(cause @ (CauseKind::OptInInvalidated | CauseKind::ClientChanged))) => {
                return Access::Reauthenticate(cause);
            }
            (_, Some(cause)) => Access::Reauthenticate(cause),
            (_, None) => self.refresh(now),
        };
        match (wanted, refresh) {
            (Freshness::Fresh, _) => Access::Serve,
            (Freshness::Due, Access::Refresh) => Access::ServeAndRefresh,
            // No refresh can begin now, but the token still works: serve it until it ends.
            (Freshness::Due, _) => Access::Serve,
            (Freshness::Ended, refresh) => refresh,
        }
    }

    /// Whether the keeper may now ask UPS again about a refused refresh token.
    fn is_second_opinion(&self, client_id: &str, demand: Demand, now: Timestamp) -> bool {
        matches!(self.standing, Standing::ReauthRequired(_))
            && demand == Demand::Renew(self.revision)
            && self.client_id.as_deref() == Some(client_id)
            && self.may_ask_again(now)
    }

    /// Whether a refresh may begin at `now`, or what prevents it.
    fn refresh(&self, now: Timestamp) -> Access {
        if self.tokens.is_some_and(|tokens| tokens.refresh_token_end == RefreshTokenEnd::Absent) {
            return Access::Reauthenticate(CauseKind::NoRefreshToken);
        }
        if let Some(until) = self.leased_until(now) {
            return Access::Leased { until };
        }
        if let Some(until) = self.paused_until(now) {
            return Access::Paused { until };
        }
        Access::Refresh
    }
}
