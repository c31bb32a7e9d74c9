//! What is kept of a company, as plain data.

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

/// One company's record. A store keeps it as a JSON document, in which each time is in microseconds since 1970. Fields are only
/// ever added, and to the document itself: an older release hands back those that it does not know, and writes the parts anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// Which opt-in, and which rotation of it. It stands in columns, too, and these count.
    #[serde(skip)]
    pub revision: Revision,
    /// Where the company stands.
    pub standing: Standing,
    /// How far the present rotation is.
    #[serde(skip_serializing_if = "is_default")]
    pub phase: Phase,
    /// Some attempt since the last commit may have reached UPS without an answer that reached us. Only a commit, a connect or a
    /// removal ends that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<Unanswered>,
    /// A refusal may be the echo of a request whose answer was lost, or the sign of another system that uses the same token. The
    /// mark ends with the first clean rotation whose request was sent after this time.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub suspect_until: Option<Timestamp>,
    /// How often the authorization was removed. A consent that began before a removal is refused.
    #[serde(skip_serializing_if = "is_default")]
    pub removals: u64,
    /// The consent or the import that the present opt-in came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_in: Option<ConsentId>,
    /// The attempt that brought the present pair; `None`: the opt-in itself did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_by: Option<AttemptId>,
    /// The latest time at which UPS issued a first pair that was stored here since the last removal.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// The client that UPS issued the tokens to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Who opted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorId>,
    /// When.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub authenticated_at: Option<Timestamp>,
    /// When the stored tokens were obtained and when they end; `None`: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenTimes>,
    /// Failed tries, or unusable pairs, in a row.
    #[serde(skip_serializing_if = "is_default")]
    pub failures: u32,
    /// Before this, nothing is sent for the company.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When the recorded cause was recorded, and what UPS said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RecordedRefusal>,
    /// The refused refresh token, which is kept until UPS has been asked about it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
    /// What people were last told of the end of this refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notified: Option<Notified>,
    /// Fields of a newer release, which are handed back as they came.
    #[serde(skip)]
    pub unknown: Map<String, Value>,
}

/// Where a company stands. What is *derived on reading* (an expired refresh token, another client id) is not in here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// There is no opt-in: none yet, or it was removed.
    #[default]
    Unauthenticated,
    /// There is an opt-in, and nothing speaks against it.
    Authenticated,
    /// UPS ended the opt-in; only the administrator can repair that.
    ReauthRequired(RecordedCause),
}

/// Why an opt-in ended, as far as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedCause {
    /// UPS refused a refresh token that was certainly ours and unused: the UPS.com password was changed, or access was
    /// withdrawn.
    OptInInvalidated,
    /// An attempt stayed unanswered and its token is now refused: the new pair was lost on the way, or the password was
    /// changed at that very time.
    RotationLost,
}

/// When UPS refused a refresh token, and in which words.
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
    /// When UPS is asked again, or the tokens are erased.
    #[serde(with = "ts_microseconds")]
    pub until: Timestamp,
    /// UPS has been asked often enough: what is left is an access token that works until then.
    #[serde(skip_serializing_if = "is_default", default)]
    pub is_over: bool,
}

/// How far the present rotation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No attempt is under way.
    #[default]
    Idle,
    /// An attempt holds the lease: its request may be on its way. It has not said yet how it ended.
    Claimed {
        /// Which attempt.
        attempt: AttemptId,
        /// When it claimed. Its request was sent within a few seconds of this.
        #[serde(with = "ts_microseconds")]
        at: Timestamp,
        /// Until when nobody else may claim.
        #[serde(with = "ts_microseconds")]
        lease_until: Timestamp,
    },
    /// The attempt ended unanswered; its request may still be in transit until the lease ends.
    InDoubt {
        /// Until when nobody may send the same token again.
        #[serde(with = "ts_microseconds")]
        lease_until: Timestamp,
    },
}

/// A request with the present refresh token whose answer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unanswered {
    /// The one attempt that is in doubt; `None`: there may be several.
    pub attempt: Option<AttemptId>,
    /// Until when a late copy of such a request can reach UPS.
    #[serde(with = "ts_microseconds")]
    pub echo_until: Timestamp,
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
    At(#[serde(with = "ts_microseconds")] Timestamp),
}

/// When the stored tokens were obtained and when they end, by the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTimes {
    /// When the pair was obtained.
    #[serde(with = "ts_microseconds")]
    pub obtained_at: Timestamp,
    /// From when on the access token should be refreshed: the beginning of the early window.
    #[serde(with = "ts_microseconds")]
    pub refresh_at: Timestamp,
    /// When the access token ends; `None`: it cannot be used.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none", default)]
    pub access_token_end: Option<Timestamp>,
    /// When the refresh token ends.
    pub refresh_token_end: RefreshTokenEnd,
}

/// What people were told of a refresh token's end. It is dropped when that no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// The end of the refresh token that they were told of.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none", default)]
    pub refresh_end: Option<Timestamp>,
    /// What they were told.
    pub notice: Notice,
}

/// What people are told of the end of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// It ends soon, within this window.
    ExpiringSoon {
        /// The window, in seconds.
        within: u64,
    },
    /// A new opt-in is needed, for this reason, which is derived on reading.
    Ended(CauseKind),
}

impl Grant {
    /// Until when nobody may claim, if a lease is running.
    pub fn leased_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.phase.lease_until().filter(|until| within(*until, now, LONGEST_LEASE))
    }

    /// Until when nothing is sent for the company after a try that failed, if that is later than `now`.
    pub fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_at.filter(|until| within(*until, now, LONGEST_PAUSE))
    }

    /// Whether UPS is to be asked about a refused refresh token now.
    pub fn may_ask_again(&self, now: Timestamp) -> bool {
        self.quarantine.is_some_and(|quarantine| !quarantine.is_over)
            && self.quarantined_until(now).is_some_and(|until| until <= now)
    }

    /// Until when a refused refresh token is left alone; `None`: there is none.
    pub fn quarantined_until(&self, now: Timestamp) -> Option<Timestamp> {
        // A later time was set by a wrong clock.
        self.quarantine
            .map(|quarantine| if within(quarantine.until, now, LONGEST_QUARANTINE) { quarantine.until } else { now })
    }

    /// Whether a refusal of its refresh token may come from a lost answer, or from another system that uses the same token, so that
    /// it says nothing about the opt-in.
    pub fn explains_refusal(&self) -> bool {
        self.unanswered.is_some() || self.suspect_until.is_some()
    }

    /// The latest time at which it was written, as far as it shows.
    pub(crate) fn latest_time(&self) -> Option<Timestamp> {
        self.authenticated_at.max(self.tokens.map(|tokens| tokens.obtained_at))
    }
}

impl Phase {
    /// The attempt that has not said yet how it ended.
    pub fn claimed_by(self) -> Option<AttemptId> {
        match self {
            Self::Claimed { attempt, .. } => Some(attempt),
            Self::Idle | Self::InDoubt { .. } => None,
        }
    }

    /// Until when nobody else may claim.
    pub fn lease_until(self) -> Option<Timestamp> {
        match self {
            Self::Idle => None,
            Self::Claimed { lease_until, .. } | Self::InDoubt { lease_until } => Some(lease_until),
        }
    }
}

impl TokenTimes {
    /// When the refresh token ends, as far as UPS said.
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
