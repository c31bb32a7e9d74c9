//! The verbs of the event log.

use batchsuite_auth::{
    events::{Event, EventId, Evidence},
    store::{EventOrder, EventQuery, NewEvent, Page, StoreError, StoreErrorKind},
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    PostgresStore, failure,
    row::{self, Columns, LeftOut, limit, signed},
};

/// Evidence as it reaches the database.
pub(super) struct Told<'a> {
    pub(super) status: Option<i32>,
    pub(super) code: Option<&'a str>,
    pub(super) message: Option<&'a str>,
    pub(super) attempt: Option<Uuid>,
}

impl<'a> Told<'a> {
    pub(super) fn of(evidence: Option<&'a Evidence>) -> Self {
        Self {
            status: evidence.and_then(|evidence| evidence.status).map(i32::from),
            code: evidence.and_then(|evidence| evidence.code.as_deref()),
            message: evidence.and_then(|evidence| evidence.message.as_deref()),
            attempt: evidence.and_then(|evidence| evidence.attempt).map(row::uuid_of_attempt),
        }
    }
}

/// A reader that goes on from a cursor below what was pruned has missed events.
fn refuse_gap(row: Option<&Row>, after: Option<EventId>) -> Result<(), StoreError> {
    let (Some(row), Some(after)) = (row, after) else { return Ok(()) };
    let pruned: i64 = row.try_get("pruned_up_to").map_err(|error| failure::of_database(&error))?;
    let up_to = EventId::new(row::unsigned(pruned).unwrap_or_default());
    if after < up_to { Err(StoreError::new(StoreErrorKind::Pruned { up_to })) } else { Ok(()) }
}

impl PostgresStore {
    pub(super) async fn write_event(&self, event: NewEvent) -> Result<EventId, StoreError> {
        let told = Told::of(event.evidence.as_ref());
        let row = self
            .0
            .database
            .one(
                &self.0.statements.record,
                &[
                    &event.environment.name(),
                    &event.company.as_ref().map(|company| company.as_str()),
                    &event.actor.as_ref().map(|actor| actor.as_str()),
                    &event.kind.name(),
                    &told.status,
                    &told.code,
                    &told.message,
                    &told.attempt,
                ],
            )
            .await?;
        Columns::of(&row).number().map(EventId::new)
    }

    pub(super) async fn read_events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        let (database, statements) = (&self.0.database, &self.0.statements);
        let environment = query.environment.name();
        let company = query.company.as_ref().map(|company| company.as_str());
        let most = limit(query.limit);
        let rows = match query.order {
            EventOrder::OldestFirst => {
                // No further than the log is settled: a program that follows must not step over a number that is still
                // being written.
                let settled = self.horizon().await?.settled;
                let after = signed(query.after.unwrap_or_default().number());
                let statement = match company {
                    Some(_) => &statements.company_events_oldest_first,
                    None => &statements.events_oldest_first,
                };
                database.rows(statement, &[&environment, &company, &after, &signed(settled.number()), &most]).await?
            }
            EventOrder::NewestFirst => {
                let before = query.after.map_or(i64::MAX, |after| signed(after.number()));
                let statement = match company {
                    Some(_) => &statements.company_events_newest_first,
                    None => &statements.events_newest_first,
                };
                database.rows(statement, &[&environment, &company, &before, &most]).await?
            }
        };
        if query.order == EventOrder::OldestFirst {
            refuse_gap(rows.first(), query.after)?;
        }
        let (mut items, mut next) = (Vec::with_capacity(rows.len()), query.after);
        let mut left_out = LeftOut::of("event");
        for row in &rows {
            // None where there is no event, but something to say of the log.
            let Some(number) = Columns::of(row).next::<Option<i64>>()? else { continue };
            let id = EventId::new(number.unsigned_abs());
            match row::event(row, query.environment) {
                Ok(event) => items.push(event),
                Err(error) => left_out.add(&number, &error),
            }
            next = Some(id);
        }
        Ok(Page { items, next })
    }
}
