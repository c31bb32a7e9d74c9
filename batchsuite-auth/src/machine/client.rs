//! The client row: state that concerns every company of a client.

use chrono::serde::ts_microseconds_option;
use serde::{Deserialize, Serialize};
use serde_json::{Error, Map, Value};

use super::limits::{CLOCK_TOLERANCE, LOOK_AGAIN};
use crate::clock::{Timestamp, later};

/// The client row. Later releases only add fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientRecord {
    /// The client id announced last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When it was announced.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<Timestamp>,
    /// When the restored backup was reported; set while the grants are being marked.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<Timestamp>,
    /// Since when UPS is out of reach, as the first process noticed it.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub out_of_reach_since: Option<Timestamp>,
    /// Fields written by a newer release, kept unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What changes when a process announces its client id.
#[derive(Clone, Debug, PartialEq)]
pub enum Announcement {
    /// Nothing: this client id was announced last.
    Known,
    /// The first announcement, or one that replaces an announcement dated by a clock that has since been set back.
    First(Box<ClientRecord>),
    /// A different client id: either the former client's companies must opt in again, or the new id is a typing error.
    Changed(Box<ClientRecord>),
}

/// A restore from a backup, and its time.
#[derive(Clone, Debug, PartialEq)]
pub enum Restore {
    /// An earlier marking was interrupted, and continues with its own time.
    GoesOn {
        /// The time of the restore.
        at: Timestamp,
    },
    /// A new marking begins.
    Begins {
        /// The time of the restore.
        at: Timestamp,
        /// The record that stores this time.
        record: Box<ClientRecord>,
    },
}

impl ClientRecord {
    /// Parses a client row's document.
    ///
    /// # Errors
    /// The document is not that of a client row.
    pub fn of_document(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json)
    }

    /// The record as JSON.
    ///
    /// # Errors
    /// A time that JSON cannot represent; no clock yields one.
    pub fn document(&self) -> Result<String, Error> {
        serde_json::to_string(self)
    }

    /// Announces the configured `client_id` at `now`.
    pub fn announce(&self, client_id: &str, now: Timestamp) -> Announcement {
        let record = || {
            let (client_id, announced_at) = (Some(client_id.to_owned()), Some(now));
            Box::new(Self { client_id, announced_at, ..self.clone() })
        };
        match &self.client_id {
            Some(known) if known != client_id => Announcement::Changed(record()),
            Some(_) if self.announced_at.is_some_and(|at| at <= later(now, CLOCK_TOLERANCE)) => Announcement::Known,
            Some(_) | None => Announcement::First(record()),
        }
    }

    /// Begins, or continues, marking the grants after a restored backup.
    pub fn begin_restore(&self, now: Timestamp) -> Restore {
        // The operator does not mean a marking that was interrupted longer ago than this.
        let is_recent = |at: &Timestamp| later(*at, LOOK_AGAIN) > now && *at <= later(now, CLOCK_TOLERANCE);
        match self.restored_at.filter(is_recent) {
            Some(at) => Restore::GoesOn { at },
            None => Restore::Begins { at: now, record: Box::new(Self { restored_at: Some(now), ..self.clone() }) },
        }
    }

    /// Every grant has been marked for the restore at `at`. `None`: this is already recorded.
    pub fn end_restore(&self, at: Timestamp) -> Option<Self> {
        (self.restored_at == Some(at)).then(|| Self { restored_at: None, ..self.clone() })
    }

    /// UPS is out of reach since `since`. `None`: this is already recorded.
    pub fn out_of_reach(&self, since: Timestamp) -> Option<Self> {
        let out_of_reach_since = Some(since);
        self.out_of_reach_since.is_none().then(|| Self { out_of_reach_since, ..self.clone() })
    }

    /// UPS is in reach again. `None`: this is already recorded.
    pub fn in_reach(&self) -> Option<Self> {
        self.out_of_reach_since.map(|_| Self { out_of_reach_since: None, ..self.clone() })
    }

    /// Whether every listed status was computed with `client_id`: the id was announced so long ago that every grant has
    /// woken since.
    pub fn is_listed_for(&self, client_id: &str, now: Timestamp) -> bool {
        let has_passed = |at: Timestamp| later(at, 2 * LOOK_AGAIN) <= now;
        self.client_id.as_deref() == Some(client_id) && self.announced_at.is_some_and(has_passed)
    }
}
