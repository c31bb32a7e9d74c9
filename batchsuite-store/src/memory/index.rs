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

impl Index {
    pub(super) fn insert(&mut self, company: &CompanyId, row: &Row) {
        if row.grant.change > EventId::START {
            self.changes.insert(row.grant.change, company.clone());
        }
        if let Some(used_at) = row.used_at {
            self.used.insert(used_at, company);
        }
        if let Some((times, at)) = self.refresh_token_end(row) {
            times.insert(at, company);
        }
    }

    pub(super) fn remove(&mut self, company: &CompanyId, row: &Row) {
        self.changes.remove(&row.grant.change);
        if let Some(used_at) = row.used_at {
            self.used.remove(used_at, company);
        }
        if let Some((times, at)) = self.refresh_token_end(row) {
            times.remove(at, company);
        }
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

    fn refresh_token_end(&mut self, row: &Row) -> Option<(&mut Times, Timestamp)> {
        match row.refresh_token_end()? {
            (RefreshTokenEnd::At(end), _) => Some((&mut self.ending, end)),
            (RefreshTokenEnd::Unknown, obtained_at) => Some((&mut self.open_ended, obtained_at)),
            (RefreshTokenEnd::Absent, _) => None,
        }
    }
}

/// Companies by a time.
#[derive(Default)]
struct Times(BTreeMap<Timestamp, BTreeSet<CompanyId>>);

impl Times {
    fn insert(&mut self, at: Timestamp, company: &CompanyId) {
        self.0.entry(at).or_default().insert(company.clone());
    }

    fn remove(&mut self, at: Timestamp, company: &CompanyId) {
        if let Some(companies) = self.0.get_mut(&at) {
            companies.remove(company);
            if companies.is_empty() {
                self.0.remove(&at);
            }
        }
    }

    fn range(&self, range: impl RangeBounds<Timestamp>) -> impl Iterator<Item = &CompanyId> {
        self.0.range(range).flat_map(|(_, companies)| companies)
    }
}
