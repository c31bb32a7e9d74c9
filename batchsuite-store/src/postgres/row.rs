//! Conversion of database rows.

use std::time::Duration;

use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    clock::{Timestamp, later},
    events::{Event, EventId},
    ids::{ConsentId, Revision},
    secret::SecretHash,
    store::{self, Document, EventPage, EventQuery, PendingConsent, RowKey, RowNumber, StoreError, StoredTokens},
};
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use super::failure::{self, Result};
use crate::{
    keyring::Keyring,
    left_out::{event_page, readable},
    seal::Sealed,
};

/// Reads a row's columns from left to right: statement and reader agree on the order, so no column is looked up by
/// name.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn next<T: FromSql<'a>>(&mut self) -> Result<T> {
        let column = self.next;
        self.next += 1;
        self.row.try_get(column).map_err(|_| {
            let name = self.row.columns().get(column).map_or("that is missing", |column| column.name());
            failure::corrupt(format!("the column {name} holds an invalid value"))
        })
    }

    /// A non-negative number.
    pub(super) fn number(&mut self) -> Result<u64> {
        unsigned(self.next()?)
    }

    /// A counter; if it is damaged, the number from which counting continues.
    fn counted(&mut self) -> Result<u64> {
        self.next().map(|number| unsigned(number).unwrap_or(ANEW))
    }

    /// An event number; if it is damaged, the one before the first event, so that events are read again rather than
    /// missed.
    pub(super) fn event(&mut self) -> EventId {
        EventId::new(self.number().unwrap_or_default())
    }

    fn revision(&mut self) -> Result<Revision> {
        Ok(Revision { epoch: self.counted()?, version: self.counted()? })
    }

    pub(super) fn company(&mut self) -> Result<CompanyId> {
        CompanyId::new(self.next::<&str>()?).map_err(|_| no_id())
    }

    pub(super) fn consent(&mut self) -> Result<ConsentId> {
        Ok(ConsentId::from_bits(self.next::<Uuid>()?.as_u128()))
    }

    pub(super) fn actor(&mut self) -> Result<ActorId> {
        ActorId::new(self.next::<&str>()?).map_err(|_| no_id())
    }

    pub(super) fn hash(&mut self) -> Result<SecretHash> {
        let bytes = self.next::<&[u8]>()?.try_into();
        bytes.map(SecretHash::from_bytes).map_err(|_| failure::corrupt("the hash of a secret is invalid"))
    }
}

/// How a statement shows a row's tokens, in the columns after those of the row.
pub(super) enum Shown<'a> {
    /// Both ciphertexts, to be decrypted.
    With(&'a Keyring),
    /// Whether there are tokens, and whether they are encrypted under an older key.
    Sealed,
}

/// The columns of `sql/fragments/row.sql` and the token columns after them. A damaged column affects only its own
/// value.
pub(super) fn row(row: &Row, key: RowKey, shown: &Shown<'_>) -> Result<store::Row> {
    let mut columns = Columns::of(row);
    let (company, as_of) = (columns.next::<Option<&str>>()?, columns.next()?);
    if company.is_none() {
        return Ok(store::Row::empty(key, as_of));
    }
    let number = RowNumber::new(columns.next::<i64>()?.cast_unsigned());
    let revision = columns.revision()?;
    let document = Document::new(columns.next::<&str>()?);
    let change = columns.event();
    // A time out of range counts as none.
    let (wake_at, used_at) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
    let consents = pending(&mut columns).unwrap_or_default();
    let tokens = match shown {
        Shown::With(keyring) => {
            Sealed::<&[u8]> { access: columns.next()?, refresh: columns.next()? }.open(keyring, &key, revision)
        }
        Shown::Sealed => match (columns.next()?, columns.next()?) {
            (false, _) => StoredTokens::None,
            (true, with_older_key) => StoredTokens::Sealed { with_older_key },
        },
    };
    Ok(store::Row { key, number, revision, document, tokens, change, wake_at, used_at, consents, as_of })
}

/// The readable rows, each of its own company.
pub(super) fn rows<'a>(
    what: &'static str,
    answers: impl IntoIterator<Item = &'a Row>,
    environment: Environment,
    shown: &Shown<'_>,
) -> Vec<store::Row> {
    let of_company = |answer: &'a Row| {
        // The column may be missing.
        let company = Columns::of(answer).next::<Option<&str>>().transpose()?;
        let company = company.and_then(|name| CompanyId::new(name).map_err(|_| no_id()));
        let read = company.and_then(|company| row(answer, RowKey::company(environment, company), shown));
        Some(("of a company", read))
    };
    readable(what, answers.into_iter().filter_map(of_company))
}

fn pending(columns: &mut Columns<'_>) -> Result<Vec<PendingConsent>> {
    let (ids, removals, ends) = (columns.next(), columns.next(), columns.next());
    let ids: Option<Vec<Uuid>> = ids?;
    let (removals, ends): (Option<Vec<i64>>, Option<Vec<Timestamp>>) = (removals?, ends?);
    let all = ids.into_iter().flatten().zip(removals.into_iter().flatten()).zip(ends.into_iter().flatten());
    let consent = |((id, removals), expires_at): ((Uuid, i64), _)| {
        Ok(PendingConsent { id: ConsentId::from_bits(id.as_u128()), removals: unsigned(removals)?, expires_at })
    };
    all.map(consent).collect()
}

/// A page of events. A reader whose cursor lies below the pruned events has missed some.
pub(super) fn events(rows: &[Row], query: &EventQuery) -> Result<EventPage> {
    let pruned = rows.first().and_then(|row| row.try_get::<_, Option<i64>>("pruned_up_to").ok().flatten());
    let up_to = EventId::new(pruned.unwrap_or_default().unsigned_abs());
    query.refuse_gap(up_to)?;
    // The number is null if the row reports only the state of the log.
    let found = rows.iter().filter_map(|row| {
        let number = Columns::of(row).next::<Option<i64>>().transpose()?;
        Some(number.map(|number| (EventId::new(number.unsigned_abs()), event(row, query.environment))))
    });
    Ok(event_page(found.collect::<Result<_>>()?, query))
}

/// The columns of `sql/fragments/event.sql`.
fn event(row: &Row, environment: Environment) -> Result<Event> {
    let mut columns = Columns::of(row);
    let (id, at) = (EventId::new(columns.number()?), columns.next()?);
    let company = columns.next::<Option<&str>>()?.map(CompanyId::new).transpose().map_err(|_| no_id())?;
    let revision = columns.revision()?;
    let content = serde_json::from_str(columns.next()?);
    let unreadable = |_| failure::corrupt("the content of an event is invalid; was it written by a later release?");
    Ok(Event::new(id, at, environment, company, revision, content.map_err(unreadable)?))
}

fn no_id() -> StoreError {
    failure::corrupt("an id is invalid")
}

/// No counter reaches this value by counting.
const MOST_COUNTED: i64 = 1 << 62;
/// Where counting continues after a damaged number: above all earlier numbers, because none may be repeated.
const ANEW: u64 = 1 << 61;

fn unsigned(number: i64) -> Result<u64> {
    match u64::try_from(number) {
        Ok(counted) if number <= MOST_COUNTED => Ok(counted),
        _ => Err(failure::corrupt("a number is negative or too large")),
    }
}

/// The longest interval passed to the database; a longer one is cut to it.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 86_400);
/// The earliest time that the store keeps.
const BEGINNING: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn seconds(duration: Duration) -> f64 {
    duration.min(LONGEST).as_secs_f64()
}

/// A time for a column, clamped to the storable range.
pub(super) fn storable(at: Timestamp) -> Timestamp {
    at.clamp(BEGINNING, later(BEGINNING, 3 * LONGEST))
}

pub(super) fn uuid(consent: ConsentId) -> Uuid {
    Uuid::from_u128(consent.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::signed;

    /// A repeated revision would be taken for one that a cache has.
    #[test]
    fn counting_goes_on_above_every_number_that_was_counted_and_is_readable_there() {
        // A thousand million a second, for thirty years.
        let counted = 10_u64.pow(9) * 86_400 * 365 * 30;
        assert!(ANEW > counted);
        assert_eq!(unsigned(signed(ANEW)).unwrap(), ANEW);
        for damaged in [-1, i64::MAX] {
            unsigned(damaged).unwrap_err();
        }
    }
}
