//! The event log of one environment.

use std::collections::{BTreeMap, VecDeque};

use batchsuite_auth::{
    CompanyId,
    clock::Timestamp,
    events::{Event, EventId},
    store2::{EventOrder, EventQuery, Page, Pruned, StoreError, StoreErrorKind},
};

/// Beyond so many, the oldest events go: about 20 MB.
pub(super) const EVENTS_KEPT: usize = 100_000;

/// The latest events, in order: the one numbered `n` is at `n - 1` behind those that were pruned.
#[derive(Default)]
pub(super) struct Log {
    events: VecDeque<Event>,
    of_company: BTreeMap<CompanyId, VecDeque<EventId>>,
    /// How many were pruned, which is also the number of the latest of them.
    pruned: u64,
}

impl Log {
    /// The number of the latest event.
    pub(super) fn last(&self) -> EventId {
        EventId::new(self.pruned + self.events.len() as u64)
    }

    /// The number of the next event.
    pub(super) fn next(&self) -> EventId {
        EventId::new(self.last().number() + 1)
    }

    /// Writes the event that `number` turns into.
    pub(super) fn append(&mut self, event: impl FnOnce(EventId) -> Event) -> EventId {
        let id = self.next();
        let event = event(id);
        if let Some(company) = &event.company {
            self.of_company.entry(company.clone()).or_default().push_back(id);
        }
        self.events.push_back(event);
        while self.events.len() > EVENTS_KEPT {
            self.prune_oldest();
        }
        id
    }

    /// Deletes events that were written before `before`, the oldest first, at most `limit` and none beyond `passed`.
    pub(super) fn prune(&mut self, before: Timestamp, passed: Option<EventId>, limit: usize) -> Pruned {
        let is_pruned = |event: &Event| event.at < before && passed.is_none_or(|passed| event.id <= passed);
        let mut events = 0;
        while events < limit && self.events.front().is_some_and(is_pruned) {
            self.prune_oldest();
            events += 1;
        }
        Pruned { events: events as u64, up_to: EventId::new(self.pruned) }
    }

    fn prune_oldest(&mut self) {
        let Some(event) = self.events.pop_front() else { return };
        self.pruned += 1;
        if let Some(company) = event.company
            && let Some(ids) = self.of_company.get_mut(&company)
        {
            ids.pop_front();
            if ids.is_empty() {
                self.of_company.remove(&company);
            }
        }
    }

    pub(super) fn read(&self, query: &EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        let up_to = EventId::new(self.pruned);
        if query.order == EventOrder::OldestFirst && query.after.is_some_and(|after| after < up_to) {
            return Err(StoreError::new(StoreErrorKind::Pruned { up_to }));
        }
        let items: Vec<Event> = match &query.company {
            None => page(&self.events, |event| event.id, query).cloned().collect(),
            Some(company) => {
                let none = VecDeque::new();
                let ids = self.of_company.get(company).unwrap_or(&none);
                page(ids, |id| *id, query).filter_map(|id| self.event(*id)).cloned().collect()
            }
        };
        let next = items.last().map(|event| event.id).or(query.after);
        Ok(Page { items, next })
    }

    fn event(&self, id: EventId) -> Option<&Event> {
        self.events.get(usize::try_from(id.number().checked_sub(self.pruned + 1)?).ok()?)
    }
}

/// What `query` wants of `entries`, which are in the order of their numbers.
fn page<'a, T>(
    entries: &'a VecDeque<T>,
    id: impl Fn(&T) -> EventId,
    query: &EventQuery,
) -> Box<dyn Iterator<Item = &'a T> + 'a> {
    match query.order {
        EventOrder::OldestFirst => {
            let from = query.after.map_or(0, |after| entries.partition_point(|entry| id(entry) <= after));
            Box::new(entries.range(from..).take(query.limit))
        }
        EventOrder::NewestFirst => {
            let to = query.after.map_or(entries.len(), |after| entries.partition_point(|entry| id(entry) < after));
            Box::new(entries.range(..to).rev().take(query.limit))
        }
    }
}

#[cfg(test)]
mod tests {
    use batchsuite_auth::{Environment, events::EventKind, ids::Revision};

    use super::*;

    fn written(log: &mut Log, number: usize, at: Timestamp) {
        for number in 0..number {
            log.append(|id| Event {
                id,
                at,
                environment: Environment::Cie,
                company: CompanyId::new(format!("company-{}", number % 2)).ok(),
                actor: None,
                kind: EventKind::Failed,
                revision: Revision::default(),
                evidence: None,
                cause: None,
            });
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
        assert_eq!(log.last().number(), EVENTS_KEPT as u64 + 3);
    }

    #[test]
    fn old_events_are_pruned_and_numbers_go_on() {
        let mut log = Log::default();
        written(&mut log, 4, Timestamp::UNIX_EPOCH);
        let later = Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(60);

        assert_eq!(log.prune(Timestamp::UNIX_EPOCH), 0);
        assert_eq!(log.prune(later), 4);

        written(&mut log, 1, later);
        assert_eq!(ids(&log, &query(None)), [5]);
        let up_to = EventId::new(4);
        assert_eq!(log.read(&query(Some(EventId::START))).unwrap_err().kind(), StoreErrorKind::Pruned { up_to });
        let newest = EventQuery { order: EventOrder::NewestFirst, ..query(Some(EventId::new(3))) };
        assert!(log.read(&newest).unwrap().items.is_empty(), "backwards it ends there");
    }
}
