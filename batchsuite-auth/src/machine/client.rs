//! What concerns every company of a client, in one row of its own.

use chrono::serde::ts_microseconds_option;
use serde::{Deserialize, Serialize};
use serde_json::{Error, Map, Value};

use super::limits::{CLOCK_TOLERANCE, LOOK_AGAIN};
use crate::clock::{Timestamp, later};

/// The client row. Fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientRecord {
    /// The client id that was announced last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<Timestamp>,
    /// The time of the restored backup, while the grants are being marked.
    #[serde(with = "ts_microseconds_option", skip_serializing_if = "Option::is_none")]
    pub restored_at: Option<Timestamp>,
    /// Fields of a newer release, which are handed back as they came.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What an announcement of the client id changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Announcement {
    /// Nothing: it is the one that was announced last.
    Known,
    /// It is the first one, or a clock that has been set back since dated the last announcement.
    First(Box<ClientRecord>),
    /// It is another one: the grants of the former client need a new opt-in, or a typing error is to be corrected.
    Changed(Box<ClientRecord>),
}

/// When the backup was restored.
#[derive(Clone, Debug, PartialEq)]
pub enum Restore {
    /// The marking was interrupted, and goes on with the same time.
    GoesOn {
        /// When.
        at: Timestamp,
    },
    /// The marking begins.
    Begins {
        /// When.
        at: Timestamp,
        /// The record that says so.
        record: Box<ClientRecord>,
    },
}

impl ClientRecord {
    /// The record of a document.
    ///
    /// # Errors
    /// The document is not one of a client row.
    pub fn of_document(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json)
    }

    /// The document of the record.
    ///
    /// # Errors
    /// A time that JSON cannot show; none that a clock can tell.
    pub fn document(&self) -> Result<String, Error> {
        serde_json::to_string(self)
    }

    /// `client_id` is configured at `now`.
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

    /// The grants are to be marked after a restored backup.
    pub fn begin_restore(&self, now: Timestamp) -> Restore {
        // One that was interrupted longer ago than this is not the one that the operator means.
        let is_recent = |at: &Timestamp| later(*at, LOOK_AGAIN) > now && *at <= later(now, CLOCK_TOLERANCE);
        match self.restored_at.filter(is_recent) {
            Some(at) => Restore::GoesOn { at },
            None => Restore::Begins { at: now, record: Box::new(Self { restored_at: Some(now), ..self.clone() }) },
        }
    }

    /// The grants are marked that were to be marked after the restore at `at`. `None`: that is recorded already.
    pub fn end_restore(&self, at: Timestamp) -> Option<Self> {
        (self.restored_at == Some(at)).then(|| Self { restored_at: None, ..self.clone() })
    }

    /// Whether each grant's listed status goes by `client_id`: it was announced so long ago that every grant has woken since.
    pub fn is_listed_for(&self, client_id: &str, now: Timestamp) -> bool {
        let has_passed = |at: Timestamp| later(at, 2 * LOOK_AGAIN) <= now;
        self.client_id.as_deref() == Some(client_id) && self.announced_at.is_some_and(has_passed)
    }
}
