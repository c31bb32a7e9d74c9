//! What somebody gets who asks for a token, and what has to happen for it.

use serde::{Deserialize, Serialize};

use super::{
    Grant, Phase, RecordedCause, Standing,
    limits::{CLOCK_TOLERANCE, LONGEST_PAUSE},
};
use crate::{
    clock::{Timestamp, later, within},
    ids::{AttemptId, Revision},
};

/// Why a new opt-in is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CauseKind {
    /// Recorded: UPS refused a refresh token that was certainly ours and unused. The UPS.com password was changed, or
    /// access was withdrawn at UPS.com.
    OptInInvalidated,
    /// Recorded: an attempt stayed unanswered and its token is now refused. The new tokens were lost on the way, or the
    /// password was changed at that very time.
    RotationLost,
    /// Derived: the refresh token's end has passed.
    RefreshExpired,
    /// Derived: the grant belongs to another client id than the one configured now.
    ClientChanged,
    /// Derived: UPS sent no refresh token that can be sent back, and the access token has ended.
    NoRefreshToken,
}

impl CauseKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::OptInInvalidated, Self::RotationLost, Self::RefreshExpired, Self::ClientChanged, Self::NoRefreshToken];

    /// A stable name, e.g. for a column or a metric: `rotation_lost`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OptInInvalidated => "opt_in_invalidated",
            Self::RotationLost => "rotation_lost",
            Self::RefreshExpired => "refresh_expired",
            Self::ClientChanged => "client_changed",
            Self::NoRefreshToken => "no_refresh_token",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl From<RecordedCause> for CauseKind {
    fn from(cause: RecordedCause) -> Self {
        match cause {
            RecordedCause::OptInInvalidated => Self::OptInInvalidated,
            RecordedCause::RotationLost => Self::RotationLost,
        }
    }
}

/// Until when the refresh token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshTokenEnd {
    /// There is none.
    Absent,
    /// UPS said nothing plausible, so UPS is asked.
    Unknown,
    /// UPS said when.
    At(Timestamp),
}

/// When the stored tokens were obtained and when they end, by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTimes {
    /// When the pair was obtained.
    pub obtained_at: Timestamp,
    /// From when on the access token should be refreshed: the beginning of the early window.
    pub refresh_at: Timestamp,
    /// When the access token ends; `None`: it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub access_token_end: Option<Timestamp>,
    /// When the refresh token ends.
    pub refresh_token_end: RefreshTokenEnd,
}

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
    Refresh {
        /// An attempt that never said how it ended, and whose lease is over.
        over: Option<AttemptId>,
    },
    /// A refresh is under way, or its request may still be travelling.
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
    /// Until when nothing is sent for the company after a try that failed, if that is later than `now`.
    pub fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_at.filter(|until| within(*until, now, LONGEST_PAUSE))
    }

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
            (_, None) => self.may_refresh(now),
        };
        match (wanted, refresh) {
            (Freshness::Fresh, _) => Access::Serve,
            (Freshness::Due, Access::Refresh { .. }) => Access::ServeAndRefresh,
            // Due, but nothing can begin now: the token still works, so it is served until it ends.
            (Freshness::Due, _) => Access::Serve,
            (Freshness::Ended, refresh) => refresh,
        }
    }

    fn may_refresh(&self, now: Timestamp) -> Access {
        if self.tokens.is_some_and(|tokens| tokens.refresh_token_end == RefreshTokenEnd::Absent) {
            return Access::Reauthenticate(CauseKind::NoRefreshToken);
        }
        if let Some(until) = self.leased_until(now) {
            return Access::Leased { until };
        }
        if let Some(until) = self.paused_until(now) {
            return Access::Paused { until };
        }
        let over = match self.phase {
            Phase::Claimed { attempt, .. } => Some(attempt),
            Phase::Idle | Phase::InDoubt { .. } => None,
        };
        Access::Refresh { over }
    }
}
