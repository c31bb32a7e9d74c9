//! The rows of one environment, and what finds them without looking at all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use batchsuite_auth::{
    CompanyId,
    clock::{Timestamp, earlier, later},
    events::EventId,
    ids::Revision,
    store2::{Document, ListedAs, RowNumber, Swap, TokenChange, Tokens},
};

/// For how long a row that was handed out is hidden.
const HIDDEN_FOR: Duration = Duration::from_secs(120);
/// A wake time that is further ahead was set by a wrong clock.
const FURTHEST_WAKE: Duration = Duration::from_secs(2 * 86_400);
/// A use that is as close to the recorded one is not written.
const USE_RECORDED_WITHIN: Duration = Duration::from_secs(300);

/// Whose row; `None`: the client row.
pub(super) type Key = Option<CompanyId>;

/// What is stored under a key.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) number: RowNumber,
    pub(super) revision: Revision,
    pub(super) document: Document,
    /// At least one of the two, or none.
    pub(super) tokens: Option<Tokens>,
    pub(super) listed_as: ListedAs,
    pub(super) change: EventId,
    pub(super) wake_at: Option<Timestamp>,
    wake_if_used: Option<Timestamp>,
    pub(super) used_at: Option<Timestamp>,
    /// Until when it is not handed out again.
    hidden_until: Option<Timestamp>,
}

/// Where a row is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Among those that can be woken, by when.
    Waking(Timestamp),
    /// Among those that are hidden, by until when.
    Hidden(Timestamp),
    /// Among those that were announced, by their latest change.
    Changed(EventId),
}

impl Stored {
    fn places(&self) -> [Option<Place>; 2] {
        let time = self.hidden_until.map(Place::Hidden).or(self.wake_at.map(Place::Waking));
        [time, (self.change > EventId::START).then_some(Place::Changed(self.change))]
    }
}

#[derive(Default)]
pub(super) struct Rows {
    /// Boxed, because the nodes of a tree are half empty.
    by_key: BTreeMap<Key, Box<Stored>>,
    /// Follows from the rows alone. The client row is found by its key only.
    by_place: BTreeSet<(Place, Key)>,
}

impl Rows {
    pub(super) fn find(&self, key: &Key) -> Option<&Stored> {
        self.by_key.get(key).map(Box::as_ref)
    }

    /// The rows of companies by their ids, those after `key`.
    pub(super) fn after(&self, key: &Key) -> impl Iterator<Item = (&Key, &Stored)> {
        // The client row has the smallest key, so it comes after none.
        self.by_key.range((Excluded(key), Unbounded)).map(|(key, row)| (key, row.as_ref()))
    }

    /// Those that were announced after an event, the earliest first.
    pub(super) fn changed_after(&self, event: EventId) -> Vec<(CompanyId, EventId)> {
        let first = Place::Changed(EventId::new(event.number().saturating_add(1)));
        let changed = self.by_place.range((first, None)..).filter_map(|(place, key)| match place {
            Place::Changed(event) => Some((key.clone()?, *event)),
            Place::Waking(_) | Place::Hidden(_) => None,
        });
        changed.collect()
    }

    /// The row of a company is there from now on.
    pub(super) fn see(&mut self, company: &CompanyId) {
        self.change(&Some(company.clone()), |_| ());
    }

    /// Replaces a row that is the expected one, and announces the event; its latest change.
    pub(super) fn replace(&mut self, swap: Swap, number: RowNumber, announced: Option<EventId>) -> EventId {
        self.change(&swap.key.company, |row| {
            row.number = number;
            row.revision = swap.revision;
            row.document = swap.document;
            row.listed_as = swap.listed_as;
            row.tokens = match swap.tokens {
                TokenChange::Keep => row.tokens.take(),
                TokenChange::Replace(new) => Some(new).filter(|new| new.access.is_some() || new.refresh.is_some()),
                TokenChange::Erase => None,
            };
            if let Some(wake) = swap.wake {
                let used_since = row.used_at > swap.used_at;
                row.wake_at = if used_since { earliest(wake.at, wake.if_used) } else { wake.at };
                row.wake_if_used = wake.if_used;
                row.hidden_until = None;
            }
            row.change = announced.unwrap_or(row.change);
            row.change
        })
    }

    pub(super) fn record_use(&mut self, companies: &[CompanyId], now: Timestamp) {
        for key in companies.iter().cloned().map(Some) {
            let Some(row) = self.find(&key) else { continue };
            let wake_at = earliest(row.wake_at, row.wake_if_used);
            let is_recorded = row.used_at.is_some_and(|used| is_within(used, USE_RECORDED_WITHIN, now));
            if wake_at != row.wake_at || !is_recorded {
                self.change(&key, |row| (row.wake_at, row.used_at) = (wake_at, Some(now)));
            }
        }
    }

    /// Hides the rows that wake, the longest overdue first, at most `limit`; their keys.
    pub(super) fn wake(&mut self, limit: usize, now: Timestamp) -> Vec<Key> {
        for key in self.reached(Place::Hidden, HIDDEN_FOR, usize::MAX, now) {
            self.change(&key, |row| row.hidden_until = None);
        }
        let woken = self.reached(Place::Waking, FURTHEST_WAKE, limit, now);
        for key in &woken {
            self.change(key, |row| row.hidden_until = Some(later(now, HIDDEN_FOR)));
        }
        woken
    }

    /// Those whose time has passed, the earliest first; then those whose time is more than `furthest` ahead.
    fn reached(&self, place: fn(Timestamp) -> Place, furthest: Duration, limit: usize, now: Timestamp) -> Vec<Key> {
        let furthest = place(later(now, furthest));
        let passed = self.by_place.range((place(Timestamp::MIN_UTC), None)..).take_while(|(at, _)| *at <= place(now));
        let absurd = self.by_place.range((furthest, None)..).skip_while(|(at, _)| *at == furthest);
        let absurd = absurd.take_while(|(at, _)| *at <= place(Timestamp::MAX_UTC));
        passed.chain(absurd).take(limit).map(|(_, key)| key.clone()).collect()
    }

    /// Changes a row, which there is afterwards, and its places.
    fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Stored) -> T) -> T {
        let entry = self.by_key.entry(key.clone());
        // The places share the text of the key that is stored.
        let key = entry.key().clone();
        let row = entry.or_default();
        let before = row.places();
        let answer = change(row);
        let after = row.places();
        if before != after && key.is_some() {
            for place in before.into_iter().flatten() {
                self.by_place.remove(&(place, key.clone()));
            }
            self.by_place.extend(after.into_iter().flatten().map(|place| (place, key.clone())));
        }
        answer
    }
}

/// Whether a time is at most `by` away from now.
pub(super) fn is_within(time: Timestamp, by: Duration, now: Timestamp) -> bool {
    (earlier(now, by)..=later(now, by)).contains(&time)
}

/// The earlier of two wake times, of which each may be none.
fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
