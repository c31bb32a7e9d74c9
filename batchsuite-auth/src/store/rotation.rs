//! What the verbs of a rotation take and give: claim, give back, commit, settle.

use std::time::Duration;

use super::{GrantKey, Snapshot};
use crate::{
    events::{EventKind, Evidence},
    ids::{AttemptId, Revision},
    machine::Verdict,
    secret::{AccessTokenSecret, RefreshToken},
};

/// A pair as UPS sent it, with lifetimes that count from the moment when its request was sent: UPS may have issued it then, however
/// late the answer arrived.
#[derive(Clone, Debug)]
pub struct NewPair {
    /// The access token; `None`: there is none that can be used.
    pub access_token: Option<AccessTokenSecret>,
    /// How long the access token lives.
    pub access_lifetime: Duration,
    /// When to refresh it, counted from the same moment: the beginning of the early window.
    pub refresh_after: Duration,
    /// The refresh token; `None`: there is none that can be used.
    pub refresh_token: Option<RefreshToken>,
    /// Whether a pair without a refresh token erases the stored one: UPS did send one, so the stored one is spent, but
    /// it cannot be sent back. Otherwise the stored one stays.
    pub erases_refresh_token: bool,
    /// How long the refresh token lives; `None`: unknown.
    pub refresh_lifetime: Option<Duration>,
    /// How long ago its request was sent.
    pub age: Duration,
}

impl NewPair {
    /// Whether the stored refresh token stays.
    pub fn keeps_refresh_token(&self) -> bool {
        self.refresh_token.is_none() && !self.erases_refresh_token
    }
}

/// The intent to send a refresh token.
#[derive(Clone, Debug)]
pub struct ClaimRefresh {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that was read.
    pub revision: Revision,
    /// The new attempt.
    pub attempt: AttemptId,
    /// How long nobody else may send.
    pub lease: Duration,
}

/// What became of [`Store::claim_refresh`](super::Store::claim_refresh).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "whoever lost must not send"]
pub enum Claimed {
    /// The caller may send.
    Yes,
    /// Somebody else may, or the row moved on.
    Lost,
}

/// Whether a verdict or a give-back was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "whoever lost the row knows nothing and reads again"]
pub enum Written {
    /// It was.
    Yes,
    /// The row is no longer this attempt's: nothing changed.
    No,
}

/// The end of an attempt whose token is as unused as before.
#[derive(Clone, Debug)]
pub struct GiveBack {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that was claimed.
    pub revision: Revision,
    /// The attempt that claimed it.
    pub attempt: AttemptId,
    /// When the next try is due.
    pub retry_in: Duration,
    /// What to write down; `None`: nothing failed.
    pub event: Option<(EventKind, Evidence)>,
}

/// The new pair of a rotation.
#[derive(Clone, Debug)]
pub struct CommitRefresh {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that it replaces.
    pub revision: Revision,
    /// The attempt that brought it, for the record.
    pub attempt: AttemptId,
    /// The pair.
    pub pair: NewPair,
    /// Pairs in a row whose access token could not be used, this one included; 0 if it can.
    pub failures: u32,
    /// When the next try is due, if not with the early window.
    pub retry_in: Option<Duration>,
}

/// What became of [`Store::commit_refresh`](super::Store::commit_refresh).
#[derive(Clone, Debug)]
pub enum Committed {
    /// It is stored.
    Stored(Box<Snapshot>),
    /// This very pair had been stored already.
    AlreadyStored(Box<Snapshot>),
    /// The company is at another epoch or version; the pair is not stored.
    Moved,
}

/// The end of an attempt without a pair.
#[derive(Clone, Debug)]
pub struct SettleRefresh {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that was claimed.
    pub revision: Revision,
    /// The attempt that claimed it.
    pub attempt: AttemptId,
    /// How it ended.
    pub verdict: Verdict,
    /// What UPS said.
    pub evidence: Evidence,
    /// After an unanswered attempt: how long after its lease the next try is due.
    pub retry_in: Duration,
}
