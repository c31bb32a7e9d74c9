//! The rows of one environment, and what finds them without looking at all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use batchsuite_auth::{
    CompanyId,
    clock::{Timestamp, later},
    events::EventId,
    ids::Revision,
    store2::{Document, ListedAs, RowNumber, Tokens},
};

/// For how long a row that was handed out is hidden.
const HIDDEN_FOR: Duration = Duration::from_secs(120);
/// A wake time further ahead than this was set by a wrong clock.
const FURTHEST_WAKE: Duration = Duration::from_secs(2 * 86_400);

/// What is stored under a key.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) number: RowNumber,
    pub(super) revision: Revision,
    pub(super) document: Document,
    pub(super) tokens: Tokens,
    pub(super) listed_as: ListedAs,
    pub(super) change: EventId,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) wake_if_used: Option<Timestamp>,
    pub(super) used_at: Option<Timestamp>,
    /// It was handed out, and is not handed out again before.
    pub(super) hidden_until: Option<Timestamp>,
}

impl Stored {
    fn entries(&self) -> Entries {
        Entries {
            waking: self.wake_at.filter(|_| self.hidden_until.is_none()),
            hidden: self.hidden_until,
            change: Some(self.change).filter(|change| *change > EventId::START),
        }
    }
}

/// Under what a row is found in each index.
struct Entries {
    waking: Option<Timestamp>,
    hidden: Option<Timestamp>,
    change: Option<EventId>,
}

/// Rows by company. The one of `None` is the client row, which no index finds.
#[derive(Default)]
pub(super) struct Rows {
    /// Boxed: a tree's nodes are half empty.
    by_company: BTreeMap<Option<CompanyId>, Box<Stored>>,
    /// Those that are not hidden, by when they wake.
    waking: Index<Timestamp>,
    /// The others, by when they are not hidden any more.
    hidden: Index<Timestamp>,
    /// Those that were announced, by their latest change.
    changes: Index<EventId>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.by_company.len()
    }

    pub(super) fn find(&self, company: &Option<CompanyId>) -> Option<&Stored> {
        self.by_company.get(company).map(Box::as_ref)
    }

    /// The companies' rows in the order of their ids, those after `after`; without one, all of them.
    pub(super) fn after(&self, after: &Option<CompanyId>) -> impl Iterator<Item = (&CompanyId, &Stored)> {
        // `None` is the smallest key, so nothing comes before the companies but the client row.
        let rows = self.by_company.range((Excluded(after), Unbounded));
        rows.filter_map(|(company, row)| Some((company.as_ref()?, row.as_ref())))
    }

    /// Companies that were announced after an event, each with its latest change, the earliest first.
    pub(super) fn changed_after(&self, event: EventId) -> impl Iterator<Item = &(EventId, CompanyId)> {
        // From the latest: the cost is that of what changed.
        let newest_first: Vec<_> = self.changes.0.iter().rev().take_while(|(change, _)| *change > event).collect();
        newest_first.into_iter().rev()
    }

    /// Changes a row, which there is afterwards, and its entries in the indexes.
    pub(super) fn change<T>(&mut self, company: &Option<CompanyId>, change: impl FnOnce(&mut Stored) -> T) -> T {
        let entry = self.by_company.entry(company.clone());
        // The indexes share the key's text.
        let company = entry.key().clone();
        let row = entry.or_default();
        let before = row.entries();
        let answer = change(row);
        let after = row.entries();
        if let Some(company) = company {
            self.waking.replace(&company, before.waking, after.waking);
            self.hidden.replace(&company, before.hidden, after.hidden);
            self.changes.replace(&company, before.change, after.change);
        }
        answer
    }

    /// Hides the rows that have to be looked at, the longest overdue first, at most `limit`; which they are.
    pub(super) fn wake(&mut self, limit: usize, now: Timestamp) -> Vec<Option<CompanyId>> {
        for company in self.hidden.passed_or_absurd(now, HIDDEN_FOR, usize::MAX) {
            self.change(&company, |row| row.hidden_until = None);
        }
        let woken = self.waking.passed_or_absurd(now, FURTHEST_WAKE, limit);
        for company in &woken {
            self.change(company, |row| row.hidden_until = Some(later(now, HIDDEN_FOR)));
        }
        woken
    }
}

/// Companies by a time or a number.
struct Index<K>(BTreeSet<(K, CompanyId)>);

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Index<K> {
    fn replace(&mut self, company: &CompanyId, before: Option<K>, after: Option<K>) {
        if before == after {
            return;
        }
        if let Some(key) = before {
            self.0.remove(&(key, company.clone()));
        }
        if let Some(key) = after {
            self.0.insert((key, company.clone()));
        }
    }
}

impl Index<Timestamp> {
    /// Those whose time has passed, the earliest first; then those whose time is more than `furthest` ahead.
    fn passed_or_absurd(&self, now: Timestamp, furthest: Duration, limit: usize) -> Vec<Option<CompanyId>> {
        let furthest = later(now, furthest);
        let passed = self.0.iter().take_while(|(at, _)| *at <= now);
        let absurd = self.0.iter().rev().take_while(|(at, _)| *at > furthest);
        passed.chain(absurd).take(limit).map(|(_, company)| Some(company.clone())).collect()
    }
}
