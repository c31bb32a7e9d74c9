//! The rows of one environment, and indexes to find them without a scan.

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
    store::{Document, FURTHEST_WAKE, HIDDEN_FOR, ListedAs, RowNumber, Swap, TokenChange, Tokens, USE_RECORDED_WITHIN},
};

/// The company of a row; `None` for the client row.
pub(super) type Key = Option<CompanyId>;

/// The stored value of a key.
#[derive(Clone, Default)]
pub(super) struct Stored {
    pub(super) number: RowNumber,
    pub(super) revision: Revision,
    pub(super) document: Document,
    /// `Some` only if at least one of the two tokens is there.
    pub(super) tokens: Option<Tokens>,
    pub(super) listed_as: ListedAs,
    pub(super) change: EventId,
    pub(super) wake_at: Option<Timestamp>,
    wake_if_used: Option<Timestamp>,
    pub(super) used_at: Option<Timestamp>,
    /// The row is not handed out again before this time.
    hidden_until: Option<Timestamp>,
}

/// An index key of a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Not hidden, by wake time.
    Waking(Timestamp),
    /// Hidden, by the end of the hiding.
    Hidden(Timestamp),
    /// Announced, by the number of the latest change.
    Changed(EventId),
}

impl Stored {
    fn places(&self) -> [Option<Place>; 2] {
        let time = self.hidden_until.map(Place::Hidden).or(self.wake_at.map(Place::Waking));
        [time, (self.change > EventId::START).then_some(Place::Changed(self.change))]
    }
}

#[derive(Clone, Default)]
pub(super) struct Rows {
    /// Boxed, because the tree's nodes are half empty.
    by_key: BTreeMap<Key, Box<Stored>>,
    /// Derived from the rows alone. The client row is not indexed.
    by_place: BTreeSet<(Place, Key)>,
}

impl Rows {
    pub(super) fn find(&self, key: &Key) -> Option<&Stored> {
        self.by_key.get(key).map(Box::as_ref)
    }

    /// The companies' rows after `key`, ordered by id.
    pub(super) fn after(&self, key: &Key) -> impl Iterator<Item = (&Key, &Stored)> {
        // The client row has the smallest key, so it never comes after another key.
        self.by_key.range((Excluded(key), Unbounded)).map(|(key, row)| (key, row.as_ref()))
    }

    /// The rows announced after an event, earliest change first.
    pub(super) fn changed_after(&self, event: EventId) -> Vec<(CompanyId, EventId)> {
        let first = Place::Changed(EventId::new(event.number().saturating_add(1)));
        let changed = self.by_place.range((first, None)..).filter_map(|(place, key)| match place {
            Place::Changed(event) => Some((key.clone()?, *event)),
            Place::Waking(_) | Place::Hidden(_) => None,
        });
        changed.collect()
    }

    /// Ensures that the company has a row.
    pub(super) fn see(&mut self, company: &CompanyId) {
        self.change(&Some(company.clone()), |_| ());
    }

    /// Replaces a row that the caller has compared, and records the announced event; returns the row's latest change
    /// number.
    pub(super) fn replace(&mut self, swap: Swap, number: RowNumber, announced: Option<EventId>) -> EventId {
        self.change(&swap.key.company.clone(), |row| {
            let wake = swap.wake_over(row.used_at);
            row.number = number;
            row.revision = swap.revision;
            row.document = swap.document;
            row.listed_as = swap.listed_as;
            row.tokens = match swap.tokens {
                TokenChange::Keep => row.tokens.take(),
                TokenChange::Replace(new) => Some(new).filter(|new| new.access.is_some() || new.refresh.is_some()),
                TokenChange::Erase => None,
            };
            if let Some(wake) = wake {
                row.wake_at = wake.at;
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

    /// Hides at most `limit` waking rows, longest overdue first, and returns their keys.
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

    /// The rows whose time has passed, earliest first, then those whose time is more than `furthest` ahead.
    fn reached(&self, place: fn(Timestamp) -> Place, furthest: Duration, limit: usize, now: Timestamp) -> Vec<Key> {
        let furthest = place(later(now, furthest));
        let passed = self.by_place.range((place(Timestamp::MIN_UTC), None)..).take_while(|(at, _)| *at <= place(now));
        let absurd = self.by_place.range((furthest, None)..).skip_while(|(at, _)| *at == furthest);
        let absurd = absurd.take_while(|(at, _)| *at <= place(Timestamp::MAX_UTC));
        passed.chain(absurd).take(limit).map(|(_, key)| key.clone()).collect()
    }

    /// Changes a row, creating it if needed, and updates its indexes.
    fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Stored) -> T) -> T {
        let entry = self.by_key.entry(key.clone());
        // The indexes share the stored key's text.
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

/// Whether a time is at most `by` before or after now.
fn is_within(time: Timestamp, by: Duration, now: Timestamp) -> bool {
    (earlier(now, by)..=later(now, by)).contains(&time)
}

/// The earlier of two optional wake times.
fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use batchsuite_auth::store::{RowKey, Wake};

    use super::*;

    /// Saves a step computed from the current row.
    fn save(rows: &mut Rows, key: &Key, wake: Option<Wake>, announced: Option<EventId>) {
        let swap = Swap {
            key: RowKey { environment: batchsuite_auth::Environment::Cie, company: key.clone() },
            expected: RowNumber::NEVER_SAVED,
            decided_at: None,
            step: "test",
            document: Document::default(),
            revision: Revision::default(),
            listed_as: ListedAs::Authenticated,
            tokens: TokenChange::Keep,
            wake,
            used_at: rows.find(key).and_then(|row| row.used_at),
            events: Vec::new(),
            announce: announced.is_some(),
        };
        rows.replace(swap, RowNumber::new(1), announced);
    }

    fn assert_places_follow_from_rows(rows: &Rows) {
        let companies = rows.by_key.iter().filter(|(key, _)| key.is_some());
        let places = companies.flat_map(|(key, row)| row.places().into_iter().flatten().map(|at| (at, key.clone())));
        assert!(rows.by_place == places.collect());
    }

    /// Every verb that changes rows, over a few companies and the client row, in a non-repeating sequence of times.
    #[test]
    fn each_row_is_found_at_its_places_after_any_change() {
        let keys: Vec<Key> = ["a", "b", "c", "d"].map(|id| CompanyId::new(id).ok()).into_iter().chain([None]).collect();
        let mut rows = Rows::default();
        let (mut random, mut woken, mut most) = (1_u64, 0, 0);
        for step in 1..=2_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let now = later(Timestamp::UNIX_EPOCH, Duration::from_secs(step * 30));
            let at =
                |shift: u32| (random >> shift & 3 > 0).then(|| later(now, Duration::from_secs(random >> 40 & 255)));
            let key = &keys[(random >> 33) as usize % keys.len()];
            match random >> 60 {
                0..4 => save(&mut rows, key, Some(Wake { at: at(8), if_used: at(10) }), None),
                4..6 => save(&mut rows, key, Some(Wake { at: at(8), if_used: at(10) }), Some(EventId::new(step))),
                6..8 => save(&mut rows, key, None, Some(EventId::new(step))),
                8..12 => rows.record_use(key.as_slice(), now),
                _ => woken += rows.wake(2, now).len(),
            }
            assert_places_follow_from_rows(&rows);
            most = most.max(rows.by_place.len());
        }

        assert!(woken > 100 && most == 8, "{woken} were woken, and there were {most} places");
    }

    #[test]
    fn times_are_compared_to_the_microsecond() {
        let now = later(Timestamp::UNIX_EPOCH, FURTHEST_WAKE);
        let moment = Duration::from_micros(1);
        let wakes_at = [
            (now, true),
            (later(now, moment), false),
            (later(now, FURTHEST_WAKE), false),
            (later(now, FURTHEST_WAKE + moment), true),
            (Timestamp::MAX_UTC, true),
        ];
        for (at, is_woken) in wakes_at {
            let mut rows = Rows::default();
            save(&mut rows, &CompanyId::new("acme").ok(), Some(Wake { at: Some(at), if_used: None }), None);
            assert_eq!(rows.wake(1, now).len(), usize::from(is_woken), "wakes at {at}, now {now}");
        }

        let shown_at = [
            (later(now, HIDDEN_FOR - moment), false),
            (later(now, HIDDEN_FOR), true),
            (now, false),
            // The clock was set back since.
            (earlier(now, moment), true),
        ];
        for (at, is_shown) in shown_at {
            let mut rows = Rows::default();
            let wake = Wake { at: Some(Timestamp::UNIX_EPOCH), if_used: None };
            save(&mut rows, &CompanyId::new("acme").ok(), Some(wake), None);
            assert_eq!(rows.wake(1, now).len(), 1);
            assert_eq!(rows.wake(1, at).len(), usize::from(is_shown), "handed out at {now}, asked again at {at}");
        }
    }

    #[test]
    fn a_use_soon_after_another_is_recorded_only_if_it_brings_the_wake_time_forward() {
        let used = Timestamp::UNIX_EPOCH;
        let (soon, end) = (later(used, USE_RECORDED_WITHIN), later(used, Duration::from_secs(3600)));
        let moment = Duration::from_micros(1);
        let acme = CompanyId::new("acme").unwrap();
        let key = Some(acme.clone());
        let mut rows = Rows::default();
        save(&mut rows, &key, Some(Wake { at: Some(end), if_used: None }), None);
        for (now, recorded) in [(used, used), (soon, used), (later(soon, moment), later(soon, moment))] {
            rows.record_use(std::slice::from_ref(&acme), now);
            let row = rows.find(&key).unwrap();
            assert_eq!((row.used_at, row.wake_at), (Some(recorded), Some(end)), "used at {now}");
        }

        let (if_used, now) = (later(used, Duration::from_secs(900)), later(soon, 2 * moment));
        save(&mut rows, &key, Some(Wake { at: Some(end), if_used: Some(if_used) }), None);
        rows.record_use(&[acme], now);
        let row = rows.find(&key).unwrap();
        assert_eq!((row.used_at, row.wake_at), (Some(now), Some(if_used)));
    }

    #[test]
    fn a_row_shares_the_text_of_its_key_with_its_places() {
        let mut rows = Rows::default();
        for event in 1..3 {
            // A fresh allocation each time, as from a caller.
            save(&mut rows, &CompanyId::new("acme").ok(), None, Some(EventId::new(event)));
        }

        let (key, _) = rows.by_key.first_key_value().unwrap();
        let (_, placed) = rows.by_place.first().unwrap();
        assert!(std::ptr::eq(key.as_ref().unwrap().as_str(), placed.as_ref().unwrap().as_str()));
    }
}
