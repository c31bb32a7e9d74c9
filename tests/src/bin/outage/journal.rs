//! The event log as it grows: how many events of each kind, and when each company was refreshed.

use std::collections::BTreeMap;

use batchsuite_auth::{
    CompanyId, Environment,
    clock::Timestamp,
    events::{EventId, EventKind},
    store::{EventOrder, EventQuery, Store},
};

/// The events since the last [`begin`](Self::begin).
#[derive(Debug)]
pub(crate) struct Journal {
    cursor: Option<EventId>,
    kinds: BTreeMap<&'static str, u64>,
    /// By company's number.
    refreshed: Vec<Option<Timestamp>>,
}

impl Journal {
    pub(crate) fn of(companies: usize) -> Self {
        Self { cursor: None, kinds: BTreeMap::new(), refreshed: vec![None; companies] }
    }

    /// Forgets everything that has been written so far.
    pub(crate) async fn begin(&mut self, store: &dyn Store) {
        self.read(store).await;
        self.kinds.clear();
        self.refreshed.fill(None);
    }

    /// Reads what was written since.
    pub(crate) async fn read(&mut self, store: &dyn Store) {
        loop {
            let query = EventQuery {
                environment: Environment::Cie,
                company: None,
                order: EventOrder::OldestFirst,
                after: self.cursor,
                limit: 10_000,
            };
            let page = store.events(query).await.unwrap_or_else(|error| panic!("the event log: {error}"));
            self.cursor = page.next.or(self.cursor);
            for event in &page.items {
                *self.kinds.entry(event.kind.name()).or_default() += 1;
                if event.kind == EventKind::Refreshed
                    && let Some(number) = event.company.as_ref().and_then(number)
                {
                    self.refreshed[number].get_or_insert(event.at);
                }
            }
            if page.items.is_empty() {
                return;
            }
        }
    }

    /// When each company was refreshed first; `None`: it was not.
    pub(crate) fn refreshed(&self) -> &[Option<Timestamp>] {
        &self.refreshed
    }

    /// The events of an outage by kind: all but those of refreshes that took place.
    pub(crate) fn of_trouble(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = self.kinds.iter().map(|(kind, times)| (*kind, *times));
        kinds.filter(|(kind, _)| *kind != EventKind::Refreshed.name())
    }

    pub(crate) fn of_kind(&self, kind: EventKind) -> u64 {
        self.kinds.get(kind.name()).copied().unwrap_or_default()
    }
}

/// The id of the company with this number.
pub(crate) fn company(number: usize) -> CompanyId {
    CompanyId::new(format!("company-{number}")).unwrap_or_else(|error| panic!("{error}"))
}

fn number(company: &CompanyId) -> Option<usize> {
    company.as_str().strip_prefix("company-")?.parse().ok()
}
