//! The verbs of the event log, and of those who read it on.

use std::time::Duration;

use batchsuite_auth::{
    Environment,
    events::{Event, EventId},
    store::{
        Delivery, DeliveryEnd, EventContent, EventOrder, EventQuery, NewEvent, Page, Prune, Pruned, StoreError,
        StoreErrorKind,
    },
};
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::{
    PostgresStore,
    database::Parameter,
    failure,
    row::{self, Columns, limit, seconds, signed},
};
use crate::left_out::LeftOut;

/// How many events one statement deletes.
const PRUNED_AT_ONCE: u64 = 5000;
/// No process holds a delivery for longer: a lease that was dated by a wrong clock ends.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// Events as they reach the database, if there are any.
pub(super) fn array(events: &[EventContent]) -> Option<String> {
    (!events.is_empty()).then(|| Value::from_iter(events.iter().map(object)).to_string())
}

/// One of them.
pub(super) fn object(event: &EventContent) -> Value {
    json!({
        "kind": event.kind.name(),
        "actor": event.actor.as_ref().map(|actor| actor.as_str()),
        "cause": event.cause.map(|cause| cause.name()),
        "evidence": event.evidence.as_ref().map(row::object),
    })
}

impl PostgresStore {
    pub(super) async fn append_event(&self, environment: Environment, event: NewEvent) -> Result<EventId, StoreError> {
        let company = event.company.as_ref().map(|company| company.as_str());
        let parameters: &[Parameter<'_>] = &[&environment.name(), &company, &object(&event.event).to_string()];
        let row = self.0.database.one(&self.0.statements.append, parameters).await?;
        self.0.feed.announce();
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
            match row::event(row, query.environment) {
                Ok(event) => items.push(event),
                Err(error) => left_out.add(&number, &error),
            }
            next = Some(EventId::new(number.unsigned_abs()));
        }
        Ok(Page { items, next })
    }

    pub(super) async fn prune_events(&self, prune: Prune) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned { events: 0, up_to: EventId::START };
        let limit = prune.limit as u64;
        loop {
            let most = PRUNED_AT_ONCE.min(limit - pruned.events);
            let parameters: &[Parameter<'_>] =
                &[&prune.environment.name(), &seconds(prune.older_than), &signed(most), &prune.undelivered];
            let row = self.0.database.one(&self.0.statements.prune, parameters).await?;
            let mut columns = Columns::of(&row);
            let piece = columns.number()?;
            pruned = Pruned { events: pruned.events + piece, up_to: columns.event() };
            if piece < most || pruned.events == limit {
                return Ok(pruned);
            }
        }
    }

    pub(super) async fn take(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>, StoreError> {
        let end = self.horizon().await?.settled;
        let lease = seconds(lease.min(LONGEST_LEASE));
        let parameters: &[Parameter<'_>] =
            &[&environment.name(), &delivery.consumer, &delivery.holder, &lease, &signed(end.number())];
        let taken = self.0.database.row(&self.0.statements.take_delivery, parameters).await?;
        Ok(taken.map(|row| Columns::of(&row).event()))
    }

    pub(super) async fn advance(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool, StoreError> {
        let lease = match then {
            DeliveryEnd::Renew(lease) => seconds(lease.min(LONGEST_LEASE)),
            DeliveryEnd::End => 0.0,
        };
        let parameters: &[Parameter<'_>] =
            &[&environment.name(), &delivery.consumer, &delivery.holder, &signed(cursor.number()), &lease];
        Ok(self.0.database.row(&self.0.statements.advance_delivery, parameters).await?.is_some())
    }
}

/// A reader that goes on from a cursor below what was pruned has missed events.
fn refuse_gap(row: Option<&Row>, after: Option<EventId>) -> Result<(), StoreError> {
    let (Some(row), Some(after)) = (row, after) else { return Ok(()) };
    let pruned: Option<i64> = row.try_get("pruned_up_to").map_err(|error| failure::of_database(&error))?;
    let up_to = EventId::new(pruned.unwrap_or_default().unsigned_abs());
    if after < up_to { Err(StoreError::new(StoreErrorKind::Pruned { up_to })) } else { Ok(()) }
}
