//! What finds companies without looking at all of them. Each entry follows from its row alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeBounds,
    time::Duration,
};

use batchsuite_auth::{CompanyId, clock::Timestamp, events::EventId, machine::RefreshTokenEnd};

use super::row::{Row, wanted_at};

#[derive(Default)]
pub(super) struct Index {
    /// Companies by their latest change.
    changes: BTreeMap<EventId, CompanyId>,
    /// Authenticated companies that can be refreshed by the hour of their last use, in it by when that use wants another
    /// access token: of a million that were used lately, those are found that want one now.
    used: Groups<i64>,
    /// Authenticated companies by the warning that was raised last, in it by the end of their refresh token.
    ending: Groups<Option<Duration>>,
    /// Authenticated companies whose refresh token's end is unknown, by when their pair was obtained.
    open_ended: Times,
    /// No pair was obtained later.
    latest_pair: Option<Timestamp>,
}

/// By what a company is found.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    change: Option<EventId>,
    used: Option<(i64, Timestamp)>,
    ending: Option<(Option<Duration>, Timestamp)>,
    open_ended_since: Option<Timestamp>,
    obtained_at: Option<Timestamp>,
}

impl Entry {
    pub(super) fn of(row: &Row) -> Self {
        let change = Some(row.grant.change).filter(|change| *change > EventId::START);
        let mut entry = Self { change, used: None, ending: None, open_ended_since: None, obtained_at: None };
        let Some(times) = row.refreshable_times() else { return entry };
        entry.used = row.used_at.map(|used| (hour(used), wanted_at(&times)));
        entry.obtained_at = Some(times.obtained_at);
        match times.refresh_token_end {
            RefreshTokenEnd::At(end) => entry.ending = Some((row.warned, end)),
            RefreshTokenEnd::Unknown => entry.open_ended_since = Some(times.obtained_at),
            RefreshTokenEnd::Absent => {}
        }
        entry
    }
}

/// Changes seldom enough for a use to cost nothing here, mostly; and in one hour alone some were used too long ago.
fn hour(used_at: Timestamp) -> i64 {
    used_at.timestamp().div_euclid(3600)
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
        self.used.replace(company, before.used, after.used);
        self.ending.replace(company, before.ending, after.ending);
        self.open_ended.replace(company, before.open_ended_since, after.open_ended_since);
        self.latest_pair = self.latest_pair.max(after.obtained_at);
    }

    /// Companies by their latest change, the earliest first.
    pub(super) fn changed(&self, range: impl RangeBounds<EventId>) -> impl Iterator<Item = (EventId, &CompanyId)> {
        self.changes.range(range).map(|(change, company)| (*change, company))
    }

    /// Those that were used since a time, or in its hour: hour by hour, the longest wanting another access token first.
    pub(super) fn used(&self, since: Timestamp) -> impl Iterator<Item = &Times> {
        self.used.0.range(hour(since)..).map(|(_, times)| times)
    }

    /// Authenticated ones by the end of their refresh token, those apart for which another warning was raised last.
    pub(super) fn ending(&self) -> impl Iterator<Item = (Option<Duration>, &Times)> {
        self.ending.0.iter().map(|(warned, times)| (*warned, times))
    }

    /// Authenticated ones whose refresh token's end is unknown and whose pair was obtained within a time.
    pub(super) fn open_ended(&self, range: impl RangeBounds<Timestamp>) -> impl Iterator<Item = &CompanyId> {
        self.open_ended.range(range).map(|(_, company)| company)
    }

    /// Whether a pair may have been obtained later than now: the clock was set back since.
    pub(super) fn is_dated_ahead_of(&self, now: Timestamp) -> bool {
        self.latest_pair.is_some_and(|latest| latest > now)
    }

    /// All pairs were looked at: none was obtained later.
    pub(super) fn latest_pair_is(&mut self, latest: Option<Timestamp>) {
        self.latest_pair = latest;
    }
}

/// Companies by a time, in groups.
struct Groups<K>(BTreeMap<K, Times>);

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Groups<K> {
    fn replace(&mut self, company: &CompanyId, before: Option<(K, Timestamp)>, after: Option<(K, Timestamp)>) {
        if before == after {
            return;
        }
        if let Some((group, at)) = before
            && let Some(times) = self.0.get_mut(&group)
        {
            times.replace(company, Some(at), None);
            if times.0.is_empty() {
                self.0.remove(&group);
            }
        }
        if let Some((group, at)) = after {
            self.0.entry(group).or_default().replace(company, None, Some(at));
        }
    }
}

/// Companies by a time.
#[derive(Default)]
pub(super) struct Times(BTreeMap<Timestamp, BTreeSet<CompanyId>>);

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

    /// Those within a time, the earliest first.
    pub(super) fn range(&self, range: impl RangeBounds<Timestamp>) -> impl Iterator<Item = (Timestamp, &CompanyId)> {
        self.0.range(range).flat_map(|(at, companies)| companies.iter().map(|company| (*at, company)))
    }
}
