//! What somebody gets who asks for a token, and what has to happen for it.

use std::time::Duration;

use super::{OptIn, Phase, RecordedCause, Standing};
use crate::{
    clock::{Timestamp, later, within},
    ids::{AttemptId, Revision},
};

/// A pause between tries is never longer than this; a longer one was set by a wrong clock.
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 3600);

/// Clocks of one installation agree better than this. What was obtained later than "now" by more was dated by a clock
/// that has been set back since, so its expiry says nothing.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// Why a new opt-in is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshTokenEnd {
    /// There is none.
    Absent,
    /// UPS said nothing plausible, so UPS is asked.
    Unknown,
    /// UPS said when.
    At(Timestamp),
}

/// When the stored tokens were obtained and when they end, by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTimes {
    /// When the pair was obtained.
    pub obtained_at: Timestamp,
    /// From when on the access token should be refreshed: the beginning of the early window.
    pub refresh_at: Timestamp,
    /// When the access token ends; `None`: it cannot be used.
    pub access_token_end: Option<Timestamp>,
    /// When the refresh token ends.
    pub refresh_token_end: RefreshTokenEnd,
}

/// What is known of a company when somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The opt-in.
    pub opt_in: &'a OptIn,
    /// Its tokens, if any are stored.
    pub tokens: Option<TokenTimes>,
    /// Before this, nothing is sent for the company.
    pub retry_at: Option<Timestamp>,
    /// Whether the grant belongs to the client id that is configured now.
    pub same_client: bool,
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
    Refresh,
    /// A refresh must come first, over an attempt that never said how it ended and whose lease is over.
    TakeOver(AttemptId),
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

impl Facts<'_> {
    /// Until when nothing is sent for the company after a try that failed, if that is later than `now`. The pause is no part of
    /// the [`OptIn`], so a store compares it besides when it claims.
    pub fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_at.filter(|until| within(*until, now, LONGEST_PAUSE))
    }

    /// Why a new opt-in is needed at `now`, if one is. What is derived repairs itself with the clock or the setting.
    pub fn cause(&self, now: Timestamp) -> Option<CauseKind> {
        match self.opt_in.standing {
            Standing::Unauthenticated => None,
            Standing::ReauthRequired(cause) => Some(cause.into()),
            Standing::Authenticated if !self.same_client => Some(CauseKind::ClientChanged),
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
}

/// What `demand` gets at `now`, the store's own time.
pub fn decide(facts: &Facts<'_>, demand: Demand, now: Timestamp) -> Access {
    let cause = facts.cause(now);
    let stored = facts.tokens.map_or(Freshness::Ended, |tokens| tokens.freshness(now));
    let wanted = match demand {
        Demand::Token => stored,
        Demand::Rejected(revision) if revision == facts.opt_in.revision => Freshness::Ended,
        Demand::Renew(revision) if revision == facts.opt_in.revision && stored == Freshness::Fresh => Freshness::Due,
        Demand::Rejected(_) | Demand::Renew(_) => stored,
    };
    let refresh = match (facts.opt_in.standing, cause) {
        (Standing::Unauthenticated, _) => return Access::NotAuthenticated,
        // The token of a withdrawn opt-in, or of another client, is never served.
        (_, Some(cause @ (CauseKind::OptInInvalidated | CauseKind::ClientChanged))) => {
            return Access::Reauthenticate(cause);
        }
        (_, Some(cause)) => Access::Reauthenticate(cause),
        (_, None) => may_refresh(facts, now),
    };
    match (wanted, refresh) {
        (Freshness::Fresh, _) => Access::Serve,
        (Freshness::Due, Access::Refresh) => Access::ServeAndRefresh,
        // Due, but nothing can begin now: the token still works, so it is served until it ends.
        (Freshness::Due, Access::TakeOver(_)) => Access::ServeAndRefresh,
        (Freshness::Due, _) => Access::Serve,
        (Freshness::Ended, refresh) => refresh,
    }
}

fn may_refresh(facts: &Facts<'_>, now: Timestamp) -> Access {
    if facts.tokens.is_some_and(|tokens| tokens.refresh_token_end == RefreshTokenEnd::Absent) {
        return Access::Reauthenticate(CauseKind::NoRefreshToken);
    }
    if let Some(until) = facts.opt_in.phase.lease_until().filter(|until| within(*until, now, LONGEST_PAUSE)) {
        return Access::Leased { until };
    }
    if let Some(until) = facts.paused_until(now) {
        return Access::Paused { until };
    }
    match facts.opt_in.phase {
        Phase::Sent { attempt, .. } => Access::TakeOver(attempt),
        Phase::Idle | Phase::Travelling { .. } => Access::Refresh,
    }
}
