use batchsuite_auth::{
    clock::earlier,
    events::Event,
    store::{
        Changes, Delivery, DeliveryEnd, EventContent, EventOrder, EventPage, EventQuery, LONGEST_DELIVERY_LEASE, Prune,
        Pruned,
    },
};
use serde::de::IgnoredAny;
use std::time::Duration;

/// A stored event, keyed by its number.
#[derive(Deserialize, Serialize)]
struct StoredEvent {
    at: Timestamp,
    company: Option<CompanyId>,
    revision: Revision,
    content: EventContent,
}

/// A consumer's cursor, and the process that holds its lease until `ends_at`.
#[derive(Deserialize, Serialize)]
struct StoredDelivery {
    cursor: u64,
    holder: String,
    ends_at: Timestamp,
}

impl Verb<'_> {
    /// Events of one batch have consecutive numbers. A number is never reused: a new one is above the last, even if
    /// that was pruned.
    fn write_event(&mut self, company: Option<CompanyId>, event: EventContent, revision: Revision) -> Result<EventId> {
        let first = self.key("event", "");
        let written = self.batch.iter().filter(|(key, _)| key.starts_with(&first)).count();
        let id = EventId::new(self.last_event()?.number() + 1 + written as u64);
        let event = StoredEvent { at: self.now, company, revision, content: event };
        self.put("event", &format!("{:020}", id.number()), &event)?;
        Ok(id)
    }

    fn append(&mut self, NewEvent { company, event }: NewEvent) -> Result<EventId> {
        let row = self.row(&RowKey { environment: self.environment, company: company.clone() })?;
        self.write_event(company, event, row.revision)
    }

    fn last_event(&self) -> Result<EventId> {
        let last = self.all::<IgnoredAny>("event").next_back().and_then(|(number, _)| number.parse().ok());
        Ok(last.map(EventId::new).unwrap_or_default().max(self.pruned()?))
    }

    /// The latest event ever pruned.
    fn pruned(&self) -> Result<EventId> {
        Ok(EventId::new(self.find("pruned", "")?.unwrap_or_default()))
    }

    /// All events by number. `None` stands for one that cannot be read, such as one of a kind that is not known here.
    fn log(&self) -> impl DoubleEndedIterator<Item = (EventId, Option<Event>)> {
        self.all::<Value>("event").filter_map(|(number, stored)| {
            let id = EventId::new(number.parse().ok()?);
            let event = StoredEvent::deserialize(stored).ok().map(|StoredEvent { at, company, revision, content }| {
                Event::new(id, at, self.environment, company, revision, content)
            });
            Some((id, event))
        })
    }

    fn events(&self, query: &EventQuery) -> Result<EventPage> {
        query.refuse_gap(self.pruned()?)?;
        let is_of_company = |event: &Event| query.company.is_none() || event.company == query.company;
        let asked = self.log().filter(|(_, event)| event.as_ref().is_none_or(is_of_company));
        let found: Vec<_> = match query.order {
            EventOrder::OldestFirst => asked.skip_while(|(id, _)| Some(*id) <= query.after).take(query.limit).collect(),
            EventOrder::NewestFirst => {
                let is_later = |id: EventId| query.after.is_some_and(|after| id >= after);
                asked.rev().skip_while(|(id, _)| is_later(*id)).take(query.limit).collect()
            }
        };
        let next = found.last().map(|(id, _)| *id).or(query.after);
        let unreadable = found.iter().filter(|(_, event)| event.is_none()).map(|(id, _)| *id).collect();
        Ok(EventPage { items: found.into_iter().filter_map(|(_, event)| event).collect(), unreadable, next })
    }

    /// Deletes events up to the last one that is old, before the first one that is too recent or that a delivery has not
    /// passed. An event that is dated ahead or cannot be read does not tell its age.
    fn prune(&mut self, prune: Prune) -> Result<Pruned> {
        let before = earlier(self.now, prune.older_than);
        let deliveries = self.all("delivery").map(|(_, delivery): (_, StoredDelivery)| EventId::new(delivery.cursor));
        let slowest = deliveries.min().filter(|_| !prune.undelivered);
        let is_old = |event: &Event| event.at < before && slowest.is_none_or(|cursor| event.id <= cursor);
        let of_known_age = self.log().filter_map(|(_, event)| event).filter(|event| event.at <= self.now);
        let end = of_known_age.take_while(is_old).last().map(|event| event.id);
        let old: Vec<_> = self.log().map(|(id, _)| id).take_while(|id| Some(*id) <= end).take(prune.limit).collect();
        for id in &old {
            self.erase("event", &format!("{:020}", id.number()));
        }
        let up_to = old.last().copied().unwrap_or(self.pruned()?);
        if !old.is_empty() {
            self.put("pruned", "", &up_to.number())?;
        }
        Ok(Pruned { events: old.len() as u64, up_to })
    }

    fn changes(&self, after: Option<EventId>) -> Result<Changes> {
        let last = self.last_event()?;
        let after = after.map(|after| Changes::begin(after, last));
        let rows = self.companies().map(|(company, row)| (company, EventId::new(row.change)));
        let changed = rows.filter(|(_, change)| after.is_some_and(|after| *change > after)).collect();
        Ok(Changes { changed, cursor: last })
    }

    fn take_delivery(&mut self, delivery: &Delivery, lease: Duration) -> Result<Option<EventId>> {
        let holder = delivery.holder.to_string();
        let stored: Option<StoredDelivery> = self.find("delivery", &delivery.consumer)?;
        // A lease that ends further ahead was dated by a wrong clock.
        let furthest = later(self.now, LONGEST_DELIVERY_LEASE);
        let is_held = |stored: &StoredDelivery| stored.ends_at > self.now && stored.ends_at <= furthest;
        if stored.as_ref().is_some_and(|stored| stored.holder != holder && is_held(stored)) {
            return Ok(None);
        }
        let cursor = stored.map_or(self.last_event()?.number(), |stored| stored.cursor);
        let taken = StoredDelivery { cursor, holder, ends_at: later(self.now, lease).min(furthest) };
        self.put("delivery", &delivery.consumer, &taken)?;
        Ok(Some(EventId::new(cursor)))
    }

    fn advance_delivery(&mut self, delivery: &Delivery, to: EventId, then: DeliveryEnd) -> Result<bool> {
        let stored: Option<StoredDelivery> = self.find("delivery", &delivery.consumer)?;
        let is_held =
            |stored: &StoredDelivery| stored.holder == delivery.holder.to_string() && stored.ends_at > self.now;
        let Some(mut held) = stored.filter(is_held) else { return Ok(false) };
        held.cursor = held.cursor.max(to.number());
        held.ends_at = later(self.now, then.lease());
        self.put("delivery", &delivery.consumer, &held)?;
        Ok(true)
    }
}
