//! The state of a process and of what it depends on.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::limits::OVERDUE;
use crate::clock::Timestamp;

/// The state of an authenticator and of what it depends on, as this process sees it. Nothing is asked for it.
///
/// As JSON (`Serialize`), durations are in seconds and times in RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Since when the store fails; `None`: its last answer was no failure.
    pub store_fails_since: Option<Timestamp>,
    /// The store's last failure while it fails, with its causes. For operators: it names hosts, roles and tables, and no
    /// secret.
    pub store_error: Option<String>,
    /// The time since the change feed was last read.
    #[serde(serialize_with = "seconds")]
    pub feed_age: Duration,
    /// Whether that is longer than [`Policy::cache_max_age`](crate::Policy::cache_max_age): a change by another process
    /// may have gone unnoticed here.
    pub feed_is_stale: bool,
    /// The keeper.
    pub keeper: KeeperHealth,
    /// Why nothing, or less than usual, is sent to UPS for any company.
    pub ups: Vec<UpsTrouble>,
    /// How many refreshes a second this process may send at present: see
    /// [`Policy::refresh_rate`](crate::Policy::refresh_rate).
    pub refresh_rate: f64,
    /// How many refreshes wait for their turn.
    pub refreshes_waiting: usize,
    /// How many new pairs could not be stored yet. They exist only in this process: if it ends now, their companies
    /// need a new opt-in.
    pub pairs_not_stored: usize,
    /// Whether [`quiesce`](crate::BatchSuiteAuth::quiesce) or [`shutdown`](crate::BatchSuiteAuth::shutdown) was called.
    pub is_stopping: bool,
}

/// The state of the keeper of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeeperHealth {
    /// This process has none: it was built without a keeper, or is stopping.
    Off,
    /// It works.
    #[non_exhaustive]
    Works {
        /// How overdue the company was that it took last; zero if none was waiting.
        #[serde(serialize_with = "seconds")]
        lag: Duration,
        /// When no company will wait any more, if the lag shrinks as it did in the last minute or two; `None`: none
        /// waits, or the lag does not shrink.
        caught_up_at: Option<Timestamp>,
    },
    /// It has given no sign of life for three intervals.
    #[non_exhaustive]
    Silent {
        /// Since when.
        since: Timestamp,
    },
}

/// Why nothing, or less than usual, is sent to UPS for any company.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UpsTrouble {
    /// The trouble.
    pub kind: UpsTroubleKind,
    /// Since when, if known.
    pub since: Option<Timestamp>,
    /// When the next request may be sent; `None`: one may be sent now, as a trial.
    pub until: Option<Timestamp>,
}

/// The kind of trouble between this process and UPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpsTroubleKind {
    /// UPS refuses the client's configuration: id, secret, redirect URI, grant type or a header.
    ClientMisconfigured,
    /// UPS blocks the client.
    ClientBlocked,
    /// Several companies in a row got the same unknown error.
    UnknownAnswer,
    /// UPS refused the refresh tokens of several companies in a row.
    RefusalWave,
    /// UPS limits the rate.
    RateLimited,
    /// Several requests in a row did not reach UPS or got no answer.
    OutOfReach,
}

impl Health {
    /// Whether this process can serve: the store answers, changes of other processes are seen in time, and the process
    /// is not stopping. UPS's own troubles do not count: cached tokens work, and no other process would do better.
    pub fn is_ready(&self) -> bool {
        self.store_fails_since.is_none() && !self.feed_is_stale && !self.is_stopping
    }

    /// Whether nothing here needs attention: the process is [ready](Self::is_ready), its keeper keeps up or was switched
    /// off, requests reach UPS and are accepted, and each new pair is stored.
    pub fn is_healthy(&self) -> bool {
        self.is_ready() && self.keeper.keeps_up() && self.ups.is_empty() && self.pairs_not_stored == 0
    }
}

impl KeeperHealth {
    /// Whether it was switched off, or works and no company waits for it for more than five minutes.
    pub fn keeps_up(self) -> bool {
        match self {
            Self::Off => true,
            Self::Works { lag, .. } => lag <= OVERDUE,
            Self::Silent { .. } => false,
        }
    }
}

impl UpsTroubleKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::ClientMisconfigured,
        Self::ClientBlocked,
        Self::UnknownAnswer,
        Self::RefusalWave,
        Self::RateLimited,
        Self::OutOfReach,
    ];

    /// A stable name, such as `client_misconfigured`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientMisconfigured => "client_misconfigured",
            Self::ClientBlocked => "client_blocked",
            Self::UnknownAnswer => "unknown_answer",
            Self::RefusalWave => "refusal_wave",
            Self::RateLimited => "rate_limited",
            Self::OutOfReach => "out_of_reach",
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
