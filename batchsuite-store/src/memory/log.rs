//! The event log of one environment.

use std::collections::BTreeMap;

use batchsuite_auth::{
    CompanyId,
    events::{Event, EventId},
    store::{EventOrder, EventQuery, Page},
};

/// Every event, in order: the one numbered `n` is at `n - 1`.
#[derive(Default)]
pub(super) struct Log {
    events: Vec<Event>,
    of_company: BTreeMap<CompanyId, Vec<EventId>>,
}

impl Log {
    /// The number of the latest event.
    pub(super) fn last(&self) -> EventId {
        EventId::new(self.events.len() as u64)
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
            self.of_company.entry(company.clone()).or_default().push(id);
        }
        self.events.push(event);
        id
    }

    pub(super) fn read(&self, query: &EventQuery) -> Page<Event, EventId> {
        let items: Vec<Event> = match &query.company {
            None => page(&self.events, |event| event.id, query).cloned().collect(),
            Some(company) => {
                let ids = self.of_company.get(company).map_or(&[][..], Vec::as_slice);
                page(ids, |id| *id, query).filter_map(|id| self.event(*id)).cloned().collect()
            }
        };
        let next = items.last().map(|event| event.id).or(query.after);
        Page { items, next }
    }

    fn event(&self, id: EventId) -> Option<&Event> {
        self.events.get(usize::try_from(id.number()).ok()?.checked_sub(1)?)
    }
}

/// What `query` wants of `entries`, which are in the order of their numbers.
fn page<'a, T>(
    entries: &'a [T],
    id: impl Fn(&T) -> EventId,
    query: &EventQuery,
) -> Box<dyn Iterator<Item = &'a T> + 'a> {
    match query.order {
        EventOrder::OldestFirst => {
            let from = query.after.map_or(0, |after| entries.partition_point(|entry| id(entry) <= after));
            Box::new(entries[from..].iter().take(query.limit))
        }
        EventOrder::NewestFirst => {
            let to = query.after.map_or(entries.len(), |after| entries.partition_point(|entry| id(entry) < after));
            Box::new(entries[..to].iter().rev().take(query.limit))
        }
    }
}
