//! A grant's record as plain data.

use chrono::serde::{ts_microseconds, ts_microseconds_option};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    clock::{Timestamp, within},
    events::Evidence,
    ids::{ActorId, AttemptId, ConsentId, Revision},
    machine::{
        cause::CauseKind,
        limits::{LONGEST_LEASE, LONGEST_PAUSE, LONGEST_QUARANTINE},
    },
};

/// One company's record. A store keeps it as a JSON document whose times are in microseconds since 1970. Later releases
/// only add top-level fields: an older release hands back top-level fields that it does not know, but rewrites the
/// values of those it knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// The number of the opt-in and of its rotation. Stored in columns, not in the document.
    #[serde(skip)]
    pub revision: Revision,
    /// The company's standing.
    pub standing: Standing,
    /// The state of the current rotation.
    #[serde(skip_serializing_if = "is_default")]
    pub phase: Phase,
    /// Set while an attempt since the last commit may have reached UPS without its answer reaching us. Only a commit, a
    /// connect, an import or a removal clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<Unanswered>,
    /// Until this time a refusal may be the echo of a request whose answer was lost, or come from another system that
    /// uses the same token. Cleared by the first clean rotation whose request was sent later.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub suspect_until: Option<Timestamp>,
    /// How often the authorization was removed. A consent that began before a removal is refused.
    #[serde(skip_serializing_if = "is_default")]
    pub removals: u64,
    /// The consent or import that created the current opt-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_in: Option<ConsentId>,
    /// The last import since the last removal. Later opt-ins keep it, so that the same tokens are not stored again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<ConsentId>,
    /// The attempt that brought the current pair; `None`: the opt-in did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_by: Option<AttemptId>,
    /// The latest time at which UPS issued an opt-in's first pair that was stored here since the last removal.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// The client to which UPS issued the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Who opted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorId>,
    /// When the opt-in was stored.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub authenticated_at: Option<Timestamp>,
    /// When the stored tokens were obtained and when they end; `None`: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenTimes>,
    /// Consecutive failed attempts or unusable pairs.
    #[serde(skip_serializing_if = "is_default")]
    pub failures: u32,
    /// Nothing is sent for the company before this time.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When UPS's refusal was recorded, and what UPS said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RecordedRefusal>,
    /// The quarantine of a refused refresh token, until UPS has been asked about it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// The last notice to people about this refresh token's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notified: Option<Notified>,
    /// Fields written by a newer release, kept unchanged.
    #[serde(skip)]
    pub unknown: Map<String, Value>,
}

/// A company's recorded standing. Derived causes (an expired refresh token, another client id) are not recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// There is no opt-in: none yet, or it was removed.
    #[default]
    Unauthenticated,
    /// There is an opt-in.
    Authenticated,
    /// UPS ended the opt-in; only the administrator can repair this.
    ReauthRequired(RecordedCause),
}

/// A recorded cause for the end of an opt-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedCause {
    /// UPS refused a refresh token that was certainly ours and unused: the UPS.com password was changed, or access was
    /// withdrawn.
    OptInInvalidated,
    /// An attempt got no answer, and UPS now refuses its token: the new pair was lost on the way, or the password was
    /// changed at that very time. Or it was imported, and another system has used it.
    RotationLost,
}

/// UPS's refusal of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRefusal {
    /// When it was recorded.
    #[serde(with = "ts_microseconds")]
    pub at: Timestamp,
    /// What UPS said.
    pub evidence: Evidence,
}

/// A refused refresh token that is kept for a second opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// How often UPS refused it again.
    pub refusals: usize,
    /// When to ask UPS again, or to erase the tokens.
    #[serde(with = "ts_microseconds")]
    pub until: Timestamp,
    /// UPS has been asked often enough; only an access token is left, which works until then.
    #[serde(skip_serializing_if = "is_default", default)]
    pub is_over: bool,
}

/// The state of the current rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No attempt is under way.
    #[default]
    Idle,
    /// An attempt holds the lease and has no recorded outcome; its request may be in transit.
    Claimed {
        /// The attempt.
        attempt: AttemptId,
        /// When it claimed; its request was sent within a few seconds.
        #[serde(with = "ts_microseconds")]
        at: Timestamp,
        /// When the lease ends: nobody else may claim before.
        #[serde(with = "ts_microseconds")]
        lease_until: Timestamp,
    },
    /// The attempt ended unanswered; its request may still be in transit until the lease ends.
    InDoubt {
        /// When the lease ends: nobody may send the same token before.
        #[serde(with = "ts_microseconds")]
        lease_until: Timestamp,
    },
}

/// Doubtful requests: sent with the current refresh token, answer unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unanswered {
    /// The doubtful attempt; `None`: there may be several.
    pub attempt: Option<AttemptId>,
    /// Until when a late copy of a doubtful request can reach UPS.
    #[serde(with = "ts_microseconds")]
    pub echo_until: Timestamp,
}

/// When the refresh token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshTokenEnd {
    /// There is no refresh token.
    Absent,
    /// UPS gave no plausible lifetime, so only UPS can tell.
    Unknown,
    /// The end that UPS gave.
    At(#[serde(with = "ts_microseconds")] Timestamp),
}

/// When the stored tokens were obtained and when they end, by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTimes {
    /// When the pair was obtained.
    #[serde(with = "ts_microseconds")]
    pub obtained_at: Timestamp,
    /// When to refresh the access token: the beginning of the early window.
    #[serde(with = "ts_microseconds")]
    pub refresh_at: Timestamp,
    /// When the access token ends; `None`: it cannot be used.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none", default)]
    pub access_token_end: Option<Timestamp>,
    /// When the refresh token ends.
    pub refresh_token_end: RefreshTokenEnd,
}

/// The last notice about a refresh token's end; dropped when it no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// The end that the notice was about.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none", default)]
    pub refresh_end: Option<Timestamp>,
    /// The notice.
    pub notice: Notice,
}

/// A notice to people about a refresh token's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The refresh token ends soon.
    ExpiringSoon {
        /// The warning window, in seconds.
        within: u64,
    },
    /// A new opt-in is needed, for this derived cause.
    Ended(CauseKind),
}

impl Grant {
    /// When the running lease ends; `None`: no lease is running.
    pub fn leased_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.phase.lease_until().filter(|until| within(*until, now, LONGEST_LEASE))
    }

    /// When the company's pause ends; `None`: no pause is running.
    pub fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_at.filter(|until| within(*until, now, LONGEST_PAUSE))
    }

    /// Whether UPS may be asked now about a refused refresh token.
    pub fn may_ask_again(&self, now: Timestamp) -> bool {
        self.quarantine.is_some_and(|quarantine| !quarantine.is_over)
            && self.quarantined_until(now).is_some_and(|until| until <= now)
    }

    /// When the quarantine ends; `None`: there is none.
    pub fn quarantined_until(&self, now: Timestamp) -> Option<Timestamp> {
        // A time beyond the bound was set by a wrong clock.
        self.quarantine
            .map(|quarantine| if within(quarantine.until, now, LONGEST_QUARANTINE) { quarantine.until } else { now })
    }

    /// Whether a lost answer, or another system that uses the same token, may explain a refusal of the refresh token,
    /// so that the refusal proves nothing about the opt-in.
    pub fn explains_refusal(&self) -> bool {
        self.unanswered.is_some() || self.suspect_until.is_some()
    }

    /// The latest time recorded in the row.
    pub(crate) fn latest_time(&self) -> Option<Timestamp> {
        self.authenticated_at.max(self.tokens.map(|tokens| tokens.obtained_at))
    }
}

impl Phase {
    /// The attempt without a recorded outcome.
    pub fn claimed_by(self) -> Option<AttemptId> {
        match self {
            Self::Claimed { attempt, .. } => Some(attempt),
            Self::Idle | Self::InDoubt { .. } => None,
        }
    }

    /// When the lease ends, if there is one.
    pub fn lease_until(self) -> Option<Timestamp> {
        match self {
            Self::Idle => None,
            Self::Claimed { lease_until, .. } | Self::InDoubt { lease_until } => Some(lease_until),
        }
    }
}

impl TokenTimes {
    /// When the refresh token ends, if UPS said so.
    pub fn refresh_end(&self) -> Option<Timestamp> {
        match self.refresh_token_end {
            RefreshTokenEnd::At(end) => Some(end),
            RefreshTokenEnd::Absent | RefreshTokenEnd::Unknown => None,
        }
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

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
