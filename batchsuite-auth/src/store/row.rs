//! Rows, as a store returns them.

use std::fmt;

use super::StoreError;
use crate::{
    clock::Timestamp,
    config::Environment,
    events::EventId,
    ids::{CompanyId, ConsentId, Revision},
    secret::{AccessTokenSecret, RefreshToken},
    status::ListedAs,
};

/// A company in a UPS environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantKey {
    /// The UPS environment. Tokens of one environment are refused by the other.
    pub environment: Environment,
    /// The company.
    pub company: CompanyId,
}

/// The key of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// The UPS environment. Tokens of one environment are refused by the other.
    pub environment: Environment,
    /// The company; `None`: the environment's client row, which holds what concerns every company. It has no tokens and
    /// is never listed or woken.
    pub company: Option<CompanyId>,
}

impl RowKey {
    /// The row of a company.
    pub fn company(environment: Environment, company: CompanyId) -> Self {
        Self { environment, company: Some(company) }
    }

    /// The client row of an environment.
    pub fn client(environment: Environment) -> Self {
        Self { environment, company: None }
    }

    /// The company as text for a column. Empty for the client row; no company's id is empty.
    pub fn name(&self) -> &str {
        self.company.as_ref().map_or("", CompanyId::as_str)
    }
}

/// The number of a saved row, which compare-and-swap compares. It goes up with every save and never repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowNumber(u64);

impl RowNumber {
    /// The row was never saved.
    pub const NEVER_SAVED: Self = Self(0);

    /// The number as a store kept it.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, for a store to keep.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The next number, for a save at `now`, the store's time.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Self {
        let microseconds = u64::try_from(now.timestamp_micros()).unwrap_or_default();
        Self(self.0.saturating_add(1).max(microseconds))
    }
}

/// The state of a row: a JSON object that a store keeps and does not interpret.
///
/// It contains no secret. A store may return the same object in another notation (`jsonb` orders its keys).
#[derive(Clone, PartialEq, Eq)]
pub struct Document(Box<str>);

impl Document {
    /// A JSON object as text.
    pub fn new(json: impl Into<Box<str>>) -> Self {
        Self(json.into())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The empty object, for a row that was never saved.
impl Default for Document {
    fn default() -> Self {
        Self::new("{}")
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A row at one moment.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its key.
    pub key: RowKey,
    /// Its number.
    pub number: RowNumber,
    /// The opt-in and rotation to which its tokens are sealed.
    pub revision: Revision,
    /// Its state.
    pub document: Document,
    /// Its tokens.
    pub tokens: StoredTokens,
    /// The event id of its latest announced change.
    pub change: EventId,
    /// When it wakes.
    pub wake_at: Option<Timestamp>,
    /// When its tokens were last used, approximately.
    pub used_at: Option<Timestamp>,
    /// The company's pending consents (unused and not expired), oldest first.
    pub consents: Vec<PendingConsent>,
    /// The store's time of the read.
    pub as_of: Timestamp,
}

impl Row {
    /// A row that was never saved.
    pub fn empty(key: RowKey, as_of: Timestamp) -> Self {
        Self {
            key,
            number: RowNumber::NEVER_SAVED,
            revision: Revision::default(),
            document: Document::default(),
            tokens: StoredTokens::None,
            change: EventId::START,
            wake_at: None,
            used_at: None,
            consents: Vec::new(),
            as_of,
        }
    }
}

/// The two tokens of a pair. Either may be missing.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// The access token, if there is a usable one.
    pub access: Option<AccessTokenSecret>,
    /// The refresh token, if there is a usable one.
    pub refresh: Option<RefreshToken>,
}

/// The tokens of a row.
#[derive(Clone, Debug)]
pub enum StoredTokens {
    /// There are none.
    None,
    /// The tokens.
    Readable(Tokens),
    /// They cannot be read: their key is missing, or they are damaged.
    ///
    /// The opt-in is not lost: an operator can put the key or the data back, or a person can authenticate the company
    /// again.
    Unreadable(StoreError),
    /// There are some, but they were not opened.
    Sealed {
        /// Whether one of them was sealed with a key other than the newest.
        with_older_key: bool,
    },
}

/// A pending consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingConsent {
    /// Its id.
    pub id: ConsentId,
    /// How often the company's authorization had been removed when the consent started.
    pub removals: u64,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Which rows to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The UPS environment.
    pub environment: Environment,
    /// Only rows with one of these listed statuses, or whose wake time has passed; `None`: all rows.
    pub listed_as: Option<Vec<ListedAs>>,
    /// Only companies after this one.
    pub after: Option<CompanyId>,
    /// The most rows to return; at most 1,000 are read.
    pub limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::later;

    #[test]
    fn a_row_number_goes_up_and_is_never_below_the_clock() {
        let second = std::time::Duration::from_secs(1);
        let now = later(Timestamp::UNIX_EPOCH, second);
        assert_eq!(RowNumber::NEVER_SAVED.next(now).number(), 1_000_000);
        assert_eq!(RowNumber::new(1_000_000).next(now).number(), 1_000_001, "two saves in one microsecond");
        assert_eq!(RowNumber::new(7_000_000).next(now).number(), 7_000_001, "a clock that was set back");
        assert_eq!(RowNumber::new(u64::MAX).next(now).number(), u64::MAX);
    }
}
