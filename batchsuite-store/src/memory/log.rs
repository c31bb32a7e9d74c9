//! The event log of one environment, and its consumers' deliveries.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included},
    sync::Arc,
    time::Duration,
};

use batchsuite_auth::{
    CompanyId,
    clock::{Timestamp, earlier, later},
    events::{Event, EventId},
    store::{
        Delivery, DeliveryEnd, EventOrder, EventPage, EventQuery, LONGEST_DELIVERY_LEASE, Prune, Pruned, StoreError,
    },
};
use uuid::Uuid;

/// The maximum number of events kept, about 20 MB. The oldest events are deleted beyond it.
pub(super) const EVENTS_KEPT: u64 = 100_000;

/// The latest events.
#[derive(Clone, Default)]
pub(super) struct Log {
    /// Every event is under `None`, so that the first entry is the oldest event; an event of a company is also under
    /// that company.
    by_company: BTreeMap<(Option<CompanyId>, EventId), Arc<Event>>,
    /// The latest event ever written.
    pub(super) last: EventId,
    /// The latest event ever deleted.
    pruned: EventId,
    by_consumer: BTreeMap<String, Lease>,
}

/// A consumer's cursor, and the process that holds its lease.
#[derive(Clone)]
struct Lease {
    cursor: EventId,
    holder: Uuid,
    ends_at: Timestamp,
}

impl Log {
    /// Appends the event that `event` builds from its number.
    pub(super) fn append(&mut self, event: impl FnOnce(EventId) -> Event) -> EventId {
        self.last = EventId::new(self.last.number() + 1);
        let event = Arc::new(event(self.last));
        self.by_company.insert((event.company.clone(), event.id), event.clone());
        self.by_company.insert((None, event.id), event);
        if self.last.number() - self.pruned.number() > EVENTS_KEPT {
            self.prune_oldest(|_| true);
        }
        self.last
    }

    pub(super) fn read(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        query.refuse_gap(self.pruned)?;
        let place = |id: EventId| (query.company.clone(), id);
        let (first, end) = (place(EventId::START), place(EventId::new(u64::MAX)));
        let after = query.after.map(place);
        let events: Box<dyn Iterator<Item = _>> = match query.order {
            EventOrder::OldestFirst => {
                Box::new(self.by_company.range((Excluded(after.unwrap_or(first)), Included(end))))
            }
            EventOrder::NewestFirst => {
                Box::new(self.by_company.range((Included(first), Excluded(after.unwrap_or(end)))).rev())
            }
        };
        let items: Vec<_> = events.take(query.limit).map(|(_, event)| Event::clone(event)).collect();
        let next = items.last().map(|event| event.id).or(query.after);
        Ok(EventPage { items, unreadable: Vec::new(), next })
    }

    /// Deletes events up to the last one that is old, before the first one that is too recent or that a delivery has not
    /// passed. An event dated ahead does not tell its age.
    pub(super) fn prune(&mut self, prune: Prune, now: Timestamp) -> Pruned {
        let before = earlier(now, prune.older_than);
        let cursors = self.by_consumer.values().map(|lease| lease.cursor);
        let passed = cursors.min().filter(|_| !prune.undelivered).unwrap_or(self.last);
        let of_known_age =
            self.by_company.range(..=(None, passed)).map(|(_, event)| event).filter(|event| event.at <= now);
        let old = of_known_age.take(prune.limit).take_while(|event| event.at < before).last();
        let end = old.map_or(EventId::START, |event| event.id);
        let mut events = 0;
        while events < prune.limit && self.prune_oldest(|event| event.id <= end) {
            events += 1;
        }
        Pruned { events: events as u64, up_to: self.pruned }
    }

    pub(super) fn take(&mut self, delivery: &Delivery, lease: Duration, now: Timestamp) -> Option<EventId> {
        let new = Lease { cursor: self.last, holder: delivery.holder, ends_at: now };
        let held = self.by_consumer.entry(delivery.consumer.clone()).or_insert(new);
        let furthest = later(now, LONGEST_DELIVERY_LEASE);
        if held.holder != delivery.holder && held.ends_at > now && held.ends_at <= furthest {
            return None;
        }
        let ends_at = later(now, lease).min(furthest);
        *held = Lease { cursor: held.cursor, holder: delivery.holder, ends_at };
        Some(held.cursor)
    }

    pub(super) fn advance(&mut self, delivery: &Delivery, to: EventId, then: DeliveryEnd, now: Timestamp) -> bool {
        let is_held = |lease: &&mut Lease| lease.holder == delivery.holder && lease.ends_at > now;
        let Some(held) = self.by_consumer.get_mut(&delivery.consumer).filter(is_held) else { return false };
        held.cursor = held.cursor.max(to);
        held.ends_at = later(now, then.lease());
        true
    }

    /// Deletes the oldest event if `is_pruned` accepts it; returns whether it did.
    fn prune_oldest(&mut self, is_pruned: impl FnOnce(&Event) -> bool) -> bool {
        let Some(oldest) = self.by_company.first_entry().filter(|oldest| is_pruned(oldest.get())) else { return false };
        let event = oldest.remove();
        self.pruned = event.id;
        self.by_company.remove(&(event.company.clone(), event.id));
        true
    }
}

#[cfg(test)]
mod tests {
    use batchsuite_auth::{
        Environment,
        events::{EventContent, EventKind},
        ids::Revision,
        store::StoreErrorKind,
    };

    use super::*;

    fn written(log: &mut Log, number: u64, at: Timestamp) {
        for number in 0..number {
            let company = CompanyId::new(format!("company-{}", number % 2)).ok();
            let content = EventContent::new(EventKind::Failed);
            log.append(|id| Event::new(id, at, Environment::Cie, company, Revision::default(), content));
        }
    }

    fn query(after: Option<EventId>) -> EventQuery {
        EventQuery { environment: Environment::Cie, company: None, order: EventOrder::OldestFirst, after, limit: 2 }
    }

    fn ids(log: &Log, query: &EventQuery) -> Vec<u64> {
        log.read(query).unwrap().items.iter().map(|event| event.id.number()).collect()
    }

    #[test]
    fn a_log_does_not_grow_without_bound_and_tells_of_its_gap() {
        let mut log = Log::default();
        written(&mut log, EVENTS_KEPT + 3, Timestamp::UNIX_EPOCH);

        let up_to = EventId::new(3);
        assert_eq!(log.read(&query(Some(EventId::new(2)))).unwrap_err().kind(), StoreErrorKind::Pruned { up_to });
        assert_eq!(ids(&log, &query(Some(up_to))), [4, 5]);
        assert_eq!(ids(&log, &query(None)), [4, 5]);
        let company = CompanyId::new("company-0").ok();
        assert_eq!(ids(&log, &EventQuery { company, ..query(None) }), [5, 7]);
        assert_eq!(log.last.number(), EVENTS_KEPT + 3);
    }

    #[test]
    fn a_full_log_does_not_wait_for_a_delivery() {
        let mut log = Log::default();
        let delivery = Delivery { consumer: "mails".to_owned(), holder: Uuid::nil() };
        let cursor = log.take(&delivery, Duration::from_secs(60), Timestamp::UNIX_EPOCH);
        written(&mut log, EVENTS_KEPT + 1, Timestamp::UNIX_EPOCH);

        assert_eq!(cursor, Some(EventId::START));
        let up_to = EventId::new(1);
        assert_eq!(log.read(&query(cursor)).unwrap_err().kind(), StoreErrorKind::Pruned { up_to });
    }

    #[test]
    fn a_log_that_was_pruned_keeps_as_many_new_events() {
        let mut log = Log::default();
        written(&mut log, EVENTS_KEPT, Timestamp::UNIX_EPOCH);
        let now = later(Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        let limit = 10;
        let prune = Prune { environment: Environment::Cie, older_than: Duration::ZERO, limit, undelivered: false };
        assert_eq!(log.prune(prune, now), Pruned { events: 10, up_to: EventId::new(10) });

        written(&mut log, 10, now);
        assert_eq!(log.pruned, EventId::new(10));
        written(&mut log, 1, now);
        assert_eq!(log.pruned, EventId::new(11));
    }

    #[test]
    fn an_event_is_pruned_once_it_is_older_than_asked_for() {
        let mut log = Log::default();
        written(&mut log, 1, Timestamp::UNIX_EPOCH);
        let older_than = Duration::from_secs(60);
        let prune = Prune { environment: Environment::Cie, older_than, limit: 10, undelivered: false };
        let at = later(Timestamp::UNIX_EPOCH, older_than);

        assert_eq!(log.prune(prune, at).events, 0);
        assert_eq!(log.prune(prune, later(at, Duration::from_micros(1))).events, 1);
    }

    #[test]
    fn numbers_go_on_when_all_events_were_pruned() {
        let mut log = Log::default();
        written(&mut log, 4, Timestamp::UNIX_EPOCH);
        let now = later(Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        let prune =
            Prune { environment: Environment::Cie, older_than: Duration::ZERO, limit: usize::MAX, undelivered: false };

        let pruned = log.prune(prune, now);
        written(&mut log, 1, now);

        let up_to = EventId::new(4);
        assert_eq!(pruned, Pruned { events: 4, up_to });
        assert_eq!(ids(&log, &query(None)), [5]);
        assert_eq!(log.by_company.len(), 2, "nothing is left of the others");
        assert_eq!(log.read(&query(Some(EventId::START))).unwrap_err().kind(), StoreErrorKind::Pruned { up_to });
        let newest = EventQuery { order: EventOrder::NewestFirst, ..query(Some(EventId::new(3))) };
        assert!(log.read(&newest).unwrap().items.is_empty(), "reading backwards ends there");
    }
}
