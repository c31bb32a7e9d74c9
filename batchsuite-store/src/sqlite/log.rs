//! The verbs of the event log.

use std::time::Duration;

use batchsuite_auth::{
    CompanyId, Environment,
    clock::{earlier, later},
    events::{Event, EventContent, EventId},
    ids::Revision,
    store::{
        Changes, Delivery, DeliveryEnd, EventOrder, EventPage, EventQuery, LONGEST_DELIVERY_LEASE, NewEvent, Prune,
        Pruned, RowKey,
    },
};

use super::{
    Session,
    failure::{self, Result},
    micros, revision, time,
};
use crate::{
    columns::{limit, signed},
    left_out::{event_page, readable},
};

impl Session<'_> {
    /// Appends an event of a company or of all, at the given revision.
    pub(super) fn write_event(&mut self, key: &RowKey, revision: Revision, event: &EventContent) -> Result<EventId> {
        let append = "INSERT INTO events (id, environment, company, at, epoch, version, content)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let (id, at) = (self.last_event()?.number() + 1, micros(self.now()));
        let (environment, company) = (key.environment.name(), key.company.as_ref().map(CompanyId::as_str));
        let content = serde_json::to_string(event)?;
        self.run(append, (id, environment, company, at, signed(revision.epoch), signed(revision.version), content))?;
        Ok(EventId::new(id))
    }

    pub(super) fn append(&mut self, environment: Environment, event: NewEvent) -> Result<EventId> {
        let key = RowKey { environment, company: event.company };
        let stored = "SELECT epoch, version FROM grants WHERE environment = ?1 AND company = ?2";
        let revision = self.row(stored, (environment.name(), key.name()), revision)?.unwrap_or_default();
        self.write_event(&key, revision, &event.event)
    }

    /// The number of the latest event. Numbers are not reused after pruning.
    fn last_event(&mut self) -> Result<EventId> {
        let last =
            "SELECT max(ifnull((SELECT max(id) FROM events), 0), ifnull((SELECT max(up_to) FROM pruned), 0)) AS id";
        Ok(self.row(last, [], id)?.unwrap_or_default())
    }

    /// The last pruned event.
    fn pruned(&mut self, environment: Environment) -> Result<EventId> {
        let pruned = "SELECT up_to AS id FROM pruned WHERE environment = ?1";
        Ok(self.row(pruned, [environment.name()], id)?.unwrap_or_default())
    }

    pub(super) fn events(&mut self, query: &EventQuery) -> Result<EventPage> {
        let environment = query.environment;
        query.refuse_gap(self.pruned(environment)?)?;
        let (beyond, order, from) = match query.order {
            EventOrder::OldestFirst => (">", "ASC", 0),
            EventOrder::NewestFirst => ("<", "DESC", u64::MAX),
        };
        let of_company = if query.company.is_some() { "company = ?4" } else { "?4 IS NULL" };
        let events = format!(
            "SELECT id, company, at, epoch, version, content
                FROM events WHERE environment = ?1 AND {of_company} AND id {beyond} ?2 ORDER BY id {order} LIMIT ?3"
        );
        let company = query.company.as_ref().map(CompanyId::as_str);
        let from = signed(query.after.map_or(from, EventId::number));
        let page = (environment.name(), from, limit(query.limit), company);
        let found = self.rows(&events, page, |row| Ok((id(row)?, event(row, environment).map_err(failure::judge))))?;
        Ok(event_page(found, query))
    }

    pub(super) fn prune(&mut self, prune: Prune) -> Result<Pruned> {
        let (environment, now, limit) = (prune.environment.name(), self.now(), limit(prune.limit));
        // As many as are deleted, so that a log without old events is not scanned completely. An event dated ahead does
        // not tell its age.
        let of_known_age = "SELECT id, at < ?4 AS is_old FROM events WHERE environment = ?1 AND at <= ?5
              AND (?2 OR id <= (SELECT ifnull(min(cursor), id) FROM deliveries WHERE environment = ?1))
            ORDER BY id LIMIT ?3";
        let before = micros(earlier(now, prune.older_than));
        let oldest = (environment, prune.undelivered, limit, before, micros(now));
        let oldest = self.rows(of_known_age, oldest, |row| Ok((id(row)?, row.get("is_old")?)))?;
        let old = oldest.into_iter().take_while(|(_, is_old)| *is_old).last();
        let end = old.map_or(EventId::START, |(id, _)| id);
        let delete = "DELETE FROM events WHERE id IN (
                SELECT id FROM events WHERE environment = ?1 AND id <= ?2 ORDER BY id LIMIT ?3
            ) RETURNING id";
        let deleted = self.rows(delete, (environment, end.number(), limit), id)?;
        let up_to = deleted.iter().copied().max().unwrap_or_default().max(self.pruned(prune.environment)?);
        let remember = "INSERT INTO pruned (environment, up_to) VALUES (?1, ?2)
            ON CONFLICT (environment) DO UPDATE SET up_to = excluded.up_to";
        self.run(remember, (environment, up_to.number()))?;
        Ok(Pruned { events: deleted.len() as u64, up_to })
    }

    pub(super) fn changes(&mut self, environment: Environment, after: Option<EventId>) -> Result<Changes> {
        let last = self.last_event()?;
        let Some(after) = after else { return Ok(Changes { changed: Vec::new(), cursor: last }) };
        let changed = "SELECT company, change AS id FROM grants
            WHERE environment = ?1 AND change > ?2 AND company <> ''";
        let after = Changes::begin(after, last);
        let changed = self.rows(changed, (environment.name(), after.number()), |row| {
            let (name, change) = (row.get::<_, String>("company")?, id(row)?);
            let company = CompanyId::new(name.as_str()).map_err(failure::judge);
            Ok((name, company.map(|company| (company, change))))
        })?;
        Ok(Changes { changed: readable("change", changed), cursor: last })
    }

    pub(super) fn take_delivery(
        &mut self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>> {
        let (now, last) = (self.now(), self.last_event()?);
        let take = "INSERT INTO deliveries (environment, consumer, holder, cursor, lease_until)
            VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (environment, consumer) DO UPDATE
            SET holder = excluded.holder, lease_until = excluded.lease_until
            WHERE lease_until NOT BETWEEN ?6 + 1 AND ?7 OR holder = excluded.holder
            RETURNING cursor AS id";
        let (consumer, holder, furthest) =
            (&delivery.consumer, delivery.holder.as_bytes(), later(now, LONGEST_DELIVERY_LEASE));
        let (until, furthest) = (micros(later(now, lease).min(furthest)), micros(furthest));
        self.row(take, (environment.name(), consumer, holder, last.number(), until, micros(now), furthest), id)
    }

    pub(super) fn advance_delivery(
        &mut self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool> {
        let now = self.now();
        let until = micros(later(now, then.lease()));
        let advance = "UPDATE deliveries SET cursor = max(cursor, ?4), lease_until = ?5
            WHERE environment = ?1 AND consumer = ?2 AND holder = ?3 AND lease_until > ?6 RETURNING cursor AS id";
        let (consumer, holder) = (&delivery.consumer, delivery.holder.as_bytes());
        let moved = (environment.name(), consumer, holder, signed(cursor.number()), until, micros(now));
        Ok(self.row(advance, moved, id)?.is_some())
    }
}

fn id(row: &rusqlite::Row<'_>) -> Result<EventId> {
    Ok(EventId::new(row.get("id")?))
}

fn event(row: &rusqlite::Row<'_>, environment: Environment) -> Result<Event> {
    let content = serde_json::from_str(&row.get::<_, String>("content")?)?;
    let company = row.get::<_, Option<String>>("company")?.map(CompanyId::new).transpose()?;
    let at = time(row, "at")?.unwrap_or_default();
    Ok(Event::new(id(row)?, at, environment, company, revision(row)?, content))
}
