//! Rows of the database as what they mean.

use std::time::Duration;

use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    clock::{Timestamp, later},
    events::{Event, EventId},
    ids::{ConsentId, Revision},
    secret::SecretHash,
    store::{self, Document, EventQuery, Page, PendingConsent, RowKey, RowNumber, StoreError, StoredTokens},
};
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

use super::failure::{self, Result};
use crate::{keyring::Keyring, left_out::readable, seal::Sealed};

/// Reads the columns of a row from left to right: an order that the statement and its reader agree on costs no search by
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
            failure::corrupt(format!("the column {name} holds what it must not"))
        })
    }

    /// A number that is never negative.
    pub(super) fn number(&mut self) -> Result<u64> {
        unsigned(self.next()?)
    }

    /// A number that is counted up; where it is damaged, the number that counting goes on from.
    fn counted(&mut self) -> Result<u64> {
        self.next().map(|number| unsigned(number).unwrap_or(ANEW))
    }

    /// The number of an event; where it is damaged, before the first one: what was read already is read again.
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
        bytes.map(SecretHash::from_bytes).map_err(|_| failure::corrupt("the hash of a secret is none"))
    }
}

/// What a statement shows of a row's tokens, in the columns behind those of the row.
pub(super) enum Shown<'a> {
    /// Both ciphertexts, to be opened.
    With(&'a Keyring),
    /// Whether there are any, and whether they are under an older key.
    Sealed,
}

/// The columns of `sql/fragments/row.sql` and those of the tokens behind them. A column that is damaged spoils nothing but itself.
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
    // A time that no clock shows is none.
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

/// Those of the rows, each of whichever company, that can be read.
pub(super) fn rows<'a>(
    what: &'static str,
    answers: impl IntoIterator<Item = &'a Row>,
    environment: Environment,
    shown: &Shown<'_>,
) -> Vec<store::Row> {
    let of_company = |answer: &'a Row| {
        // There may be none.
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

/// A page of events. A reader who goes on from below what was pruned has missed some.
pub(super) fn events(rows: &[Row], query: &EventQuery) -> Result<Page<Event, EventId>> {
    let pruned = rows.first().and_then(|row| row.try_get::<_, Option<i64>>("pruned_up_to").ok().flatten());
    let up_to = EventId::new(pruned.unwrap_or_default().unsigned_abs());
    query.refuse_gap(up_to)?;
    // None where there is no event, but something to say of the log.
    let numbers = rows.iter().map(|row| Columns::of(row).next::<Option<i64>>()).collect::<Result<Vec<_>>>()?;
    let next = numbers.iter().flatten().next_back().map(|number| EventId::new(number.unsigned_abs()));
    let found =
        numbers.iter().zip(rows).filter_map(|(number, row)| Some((*number.as_ref()?, event(row, query.environment))));
    Ok(Page { items: readable("event", found), next: next.or(query.after) })
}

/// The columns of `sql/fragments/event.sql`.
fn event(row: &Row, environment: Environment) -> Result<Event> {
    let mut columns = Columns::of(row);
    let (id, at) = (EventId::new(columns.number()?), columns.next()?);
    let company = columns.next::<Option<&str>>()?.map(CompanyId::new).transpose().map_err(|_| no_id())?;
    let revision = columns.revision()?;
    let content = serde_json::from_str(columns.next()?);
    let unreadable = |_| failure::corrupt("the content of an event is none; was it written by a later release?");
    Ok(Event::new(id, at, environment, company, revision, content.map_err(unreadable)?))
}

fn no_id() -> StoreError {
    failure::corrupt("an id is none")
}

/// No number is counted up to this.
const MOST_COUNTED: i64 = 1 << 62;
/// Where counting goes on after a damaged number: above all earlier numbers, because none of them may come again.
const ANEW: u64 = 1 << 61;

fn unsigned(number: i64) -> Result<u64> {
    match u64::try_from(number) {
        Ok(counted) if number <= MOST_COUNTED => Ok(counted),
        _ => Err(failure::corrupt("a number is negative, or too large")),
    }
}

/// A number for a column. None of them gets near the end.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As many rows as were asked for.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The end of time, as far as the database's arithmetic goes: no lifetime from outside is longer.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 86_400);
/// Before any date that a database keeps.
const BEGINNING: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn seconds(duration: Duration) -> f64 {
    duration.min(LONGEST).as_secs_f64()
}

/// A time for a column.
pub(super) fn storable(at: Timestamp) -> Timestamp {
    at.clamp(BEGINNING, later(BEGINNING, 3 * LONGEST))
}

pub(super) fn uuid(consent: ConsentId) -> Uuid {
    Uuid::from_u128(consent.to_bits())
}
