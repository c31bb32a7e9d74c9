//! What somebody gets who asks for a token, and what has to happen for it.

use super::{
    cause::CauseKind,
    grant::{Grant, RefreshTokenEnd, Standing, TokenTimes},
    limits::CLOCK_TOLERANCE,
};
use crate::{
    clock::{Timestamp, later},
    ids::Revision,
};

/// Who asks, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A caller needs a token.
    Token,
    /// An API refused the token of this revision although it looks valid.
    Rejected(Revision),
    /// The keeper: this revision is to be replaced, even if its token is fresh.
    Renew(Revision),
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The stored access token.
    Serve,
    /// The stored access token; a refresh should begin in the background.
    ServeAndRefresh,
    /// A refresh must come first, and may begin.
    Refresh,
    /// A refresh is under way, or its request may still be in transit.
    Leased {
        /// When the lease ends.
        until: Timestamp,
    },
    /// The last try failed; the next one is not due yet.
    Paused {
        /// When it is.
        until: Timestamp,
    },
    /// Nobody has opted in.
    NotAuthenticated,
    /// A new opt-in is needed.
    Reauthenticate(CauseKind),
}

/// How good the stored access token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Good.
    Fresh,
    /// Good, but it should be refreshed.
    Due,
    /// Not to be used.
    Ended,
}

impl TokenTimes {
    /// How good the access token is at `now`.
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
    /// Why a new opt-in is needed at `now`, for the client that is configured now, if one is. What is derived repairs itself with
    /// the clock or the setting.
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

    /// What `demand` gets at `now`, the store's own time, from the client that is configured now.
    pub fn access(&self, client_id: &str, demand: Demand, now: Timestamp) -> Access {
        let cause = self.cause(client_id, now);
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
            // Due, but nothing can begin now: the token still works, so it is served until it ends.
            (Freshness::Due, _) => Access::Serve,
            (Freshness::Ended, refresh) => refresh,
        }
    }

    /// Whether a refresh may begin at `now`, or what stands in its way.
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
