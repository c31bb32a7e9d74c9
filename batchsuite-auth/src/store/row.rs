//! A row, as a store shows it.

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

/// Which company, at which UPS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantKey {
    /// At which UPS. Tokens of one environment are refused by the other.
    pub environment: Environment,
    /// Which company.
    pub company: CompanyId,
}

/// Which row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// At which UPS. Tokens of one environment are refused by the other.
    pub environment: Environment,
    /// Of which company; `None`: the environment's client row, for all that concerns every company. It has no tokens, is not
    /// listed and never woken.
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

    /// The company as text, for a column: empty for the client row, as no company's id is.
    pub fn name(&self) -> &str {
        self.company.as_ref().map_or("", CompanyId::as_str)
    }
}

/// The number of a saved row, for the compare of a compare-and-swap. It goes up with every save and never comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowNumber(u64);

impl RowNumber {
    /// The row was never saved.
    pub const NEVER_SAVED: Self = Self(0);

    /// The one with this number, as a store kept it.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, for a store to keep.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The number of the save that replaces this one at `now`, the store's time.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Self {
        let microseconds = u64::try_from(now.timestamp_micros()).unwrap_or_default();
        Self(self.0.saturating_add(1).max(microseconds))
    }
}

/// The state of a row: a JSON object. A store keeps it and does not look into it.
///
/// It holds no secret. A store may hand the same object back in another notation (`jsonb` orders its keys).
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

/// The empty object, of a row that was never saved.
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

/// A row as it was at one moment.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub key: RowKey,
    /// Its number.
    pub number: RowNumber,
    /// The opt-in and rotation that its tokens are sealed for.
    pub revision: Revision,
    /// Its state.
    pub document: Document,
    /// Its tokens.
    pub tokens: StoredTokens,
    /// The number of its latest announced change.
    pub change: EventId,
    /// When it wakes.
    pub wake_at: Option<Timestamp>,
    /// When its tokens were last used, about.
    pub used_at: Option<Timestamp>,
    /// The company's consents that were not used and have not expired, the oldest first.
    pub consents: Vec<PendingConsent>,
    /// The store's time of the reading.
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
    /// The access token, if there is one that can be used.
    pub access: Option<AccessTokenSecret>,
    /// The refresh token, if there is one that can be sent.
    pub refresh: Option<RefreshToken>,
}

/// What a row says of its tokens.
#[derive(Clone, Debug)]
pub enum StoredTokens {
    /// There are none.
    None,
    /// They could be read.
    Readable(Tokens),
    /// They cannot be read: their key is missing, or they are damaged.
    ///
    /// The opt-in is not lost by that: an operator who puts the key or the data back repairs it. So does a person who
    /// authenticates the company again.
    Unreadable(StoreError),
    /// There are some, and they were not opened.
    Sealed {
        /// Whether either was sealed with another key than the newest one.
        with_older_key: bool,
    },
}

/// A consent that waits for its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingConsent {
    /// Its id.
    pub id: ConsentId,
    /// How often the company's authorization had been removed when it began.
    pub removals: u64,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// Which rows to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// At which UPS.
    pub environment: Environment,
    /// Only those that are listed as one of these, or whose wake time has passed; `None`: all.
    pub listed_as: Option<Vec<ListedAs>>,
    /// Only those after this one.
    pub after: Option<CompanyId>,
    /// How many at most; no more than 1,000 are read.
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
