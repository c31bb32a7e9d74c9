//! What finds companies without looking at all of them. Each entry follows from its row alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeBounds,
};

use batchsuite_auth::{CompanyId, clock::Timestamp, events::EventId, machine::RefreshTokenEnd};

use super::row::Row;

#[derive(Default)]
pub(super) struct Index {
    /// Companies by their latest change.
    changes: BTreeMap<EventId, CompanyId>,
    /// Companies by their last use.
    used: Times,
    /// Authenticated companies by the end of their refresh token.
    ending: Times,
    /// Authenticated companies whose refresh token's end is unknown, by when their pair was obtained.
    open_ended: Times,
}

/// By what a company is found.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    change: Option<EventId>,
    used_at: Option<Timestamp>,
    ending_at: Option<Timestamp>,
    open_ended_since: Option<Timestamp>,
}

impl Entry {
    pub(super) fn of(row: &Row) -> Self {
        let (ending_at, open_ended_since) = match row.refresh_token_end() {
            Some((RefreshTokenEnd::At(end), _)) => (Some(end), None),
            Some((RefreshTokenEnd::Unknown, obtained_at)) => (None, Some(obtained_at)),
            Some((RefreshTokenEnd::Absent, _)) | None => (None, None),
        };
        let change = Some(row.grant.change).filter(|change| *change > EventId::START);
        Self { change, used_at: row.used_at, ending_at, open_ended_since }
    }
}

impl Index {
    /// A company's row has changed.
    pub(super) fn replace(&mut self, company: &CompanyId, before: Entry, after: Entry) {
        if before.change != after.change {
            if let Some(change) = before.change {
                self.changes.remove(&change);
            }
            if let Some(change) = after.change {
                self.changes.insert(change, company.clone());
            }
        }
        self.used.replace(company, before.used_at, after.used_at);
        self.ending.replace(company, before.ending_at, after.ending_at);
        self.open_ended.replace(company, before.open_ended_since, after.open_ended_since);
    }

    /// The latest change of all.
    pub(super) fn latest_change(&self) -> Option<EventId> {
        self.changes.keys().next_back().copied()
    }

    /// Companies by their latest change, the earliest first.
    pub(super) fn changed(&self, range: impl RangeBounds<EventId>) -> impl Iterator<Item = (EventId, &CompanyId)> {
        self.changes.range(range).map(|(change, company)| (*change, company))
    }

    /// Those that were used within a time.
    pub(super) fn used(&self, range: impl RangeBounds<Timestamp>) -> impl Iterator<Item = &CompanyId> {
        self.used.range(range)
    }

    /// Authenticated ones whose refresh token ends within a time, the earliest end first.
    pub(super) fn ending(&self, range: impl RangeBounds<Timestamp>) -> impl Iterator<Item = &CompanyId> {
        self.ending.range(range)
    }

    /// Authenticated ones whose refresh token's end is unknown and whose pair was obtained within a time.
    pub(super) fn open_ended(&self, range: impl RangeBounds<Timestamp>) -> impl Iterator<Item = &CompanyId> {
        self.open_ended.range(range)
    }
}

/// Companies by a time.
#[derive(Default)]
struct Times(BTreeMap<Timestamp, BTreeSet<CompanyId>>);

impl Times {
    fn replace(&mut self, company: &CompanyId, before: Option<Timestamp>, after: Option<Timestamp>) {
        if before == after {
            return;
        }
        if let Some(at) = before
            && let Some(companies) = self.0.get_mut(&at)
        {
            companies.remove(company);
            if companies.is_empty() {
                self.0.remove(&at);
            }
        }
        if let Some(at) = after {
            self.0.entry(at).or_default().insert(company.clone());
        }
    }

    fn range(&self, range: impl RangeBounds<Timestamp>) -> impl Iterator<Item = &CompanyId> {
        self.0.range(range).flat_map(|(_, companies)| companies)
    }
}
