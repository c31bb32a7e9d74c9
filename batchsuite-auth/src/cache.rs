//! The hot path: access tokens that are ready to be served.
//!
//! A look-up takes no lock shared between companies, allocates nothing and copies no text: one probe of a concurrent
//! map, one read of a coarse clock, one `Arc`.
//!
//! # Consistency
//! An entry records the change of the store that it comes from. The store's change feed evicts entries older than a
//! change. A reader that read a row before a change and inserts it afterwards must not bring the old token back. So
//! every reader registers *before* it reads ([`Cache::begin_read`]), the feed also notes changes for registered
//! readers, and an insert compares its row with them ([`ReadGuard::insert`]).

mod key;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use papaya::ResizeMode;
use tokio::sync::Notify;

use self::key::{Key, KnownHash};
use crate::{
    clock::{HotClock, Timestamp, remaining},
    events::EventId,
    ids::{CompanyId, Revision},
    secret::AccessToken,
};

/// How long after a background refresh was started the next one may start, while none succeeds.
const BACKGROUND_RETRY: Duration = Duration::from_secs(15);

/// How many entries an insert moves while the map grows. Look-ups take nearly twice as long until all entries have
/// moved, which could last long with a small number: a map that holds every company gets few inserts. Moving this many
/// takes half a millisecond.
const COPIED_AT_ONCE: usize = 4096;

/// The access tokens that are ready to be served.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: papaya::HashMap<Key<CompanyId>, Entry, KnownHash>,
    readers: Mutex<Readers>,
    clock: HotClock,
    /// If set: after this long without a read of the feed, nothing is served.
    refuse_after: Option<Duration>,
    feed_read_at: AtomicU64,
    /// Whether some entry may be marked as used.
    some_used: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    token: AccessToken,
    change: EventId,
    /// When its reader began to read. The durations below count from here, so that a row that took long to arrive is
    /// not served past its end. A clock that is set back ends the entry.
    from: u64,
    /// Age in milliseconds below which a hit needs no refresh; pushed back each time a caller is told to start one.
    fresh_for: AtomicU32,
    /// Age in milliseconds at which it is no longer served.
    ends_after: u32,
    /// Age in nanoseconds below which a hit only returns the token: until the entry is due or ends; zero before its
    /// first use. So nearly every hit needs a single comparison.
    quiet_for: AtomicU64,
}

/// The readers between reading a row and inserting it.
#[derive(Debug, Default)]
struct Readers {
    /// Goes up when all entries are dropped; a reader registered earlier inserts nothing.
    generation: u64,
    next: u64,
    by_company: HashMap<CompanyId, BTreeMap<u64, Reader>>,
}

#[derive(Debug, Default)]
struct Reader {
    /// The company's latest change since this reader registered.
    change: EventId,
    /// Wakes the reader.
    changed: Arc<Notify>,
}

/// A registered reader: created before it reads a row, dropped after it has inserted it.
#[derive(Debug)]
pub(crate) struct ReadGuard<'a> {
    cache: &'a Cache,
    company: &'a CompanyId,
    generation: u64,
    number: u64,
    from: u64,
    cached: Revision,
    changed: Arc<Notify>,
}

impl Cache {
    pub(crate) fn new(clock: HotClock, refuse_after: Option<Duration>) -> Self {
        let feed_read_at = AtomicU64::new(clock.now());
        let resize = ResizeMode::Incremental(COPIED_AT_ONCE);
        let entries = papaya::HashMap::builder().hasher(Default::default()).resize_mode(resize).build();
        let (readers, some_used) = (Mutex::default(), AtomicBool::new(false));
        Self { entries, readers, clock, refuse_after, feed_read_at, some_used }
    }

    /// The company's token, if a valid one is cached. Calls `due` if a background refresh should start; no other caller
    /// is told so for a while.
    #[inline]
    pub(crate) fn get(&self, company: &CompanyId, due: impl FnOnce()) -> Option<AccessToken> {
        self.quiet(company).or_else(|| self.look_closer(company, due))
    }

    /// The company's token, if it only has to be returned. Nearly every look-up ends here, so this does nothing else;
    /// the others start over in `look_closer`.
    #[inline]
    fn quiet(&self, company: &CompanyId) -> Option<AccessToken> {
        let now = self.clock.now();
        let entries = self.entries.pin();
        let entry = entries.get(&Key(company))?;
        // If the clock was set back, the difference is huge, and the entry has ended.
        let is_quiet = now.wrapping_sub(entry.from) < entry.quiet_for.load(Relaxed);
        (is_quiet && !self.is_unchecked(now)).then(|| entry.token.clone())
    }

    /// The token of an entry that is not marked as used, is due or has ended.
    #[cold]
    fn look_closer(&self, company: &CompanyId, due: impl FnOnce()) -> Option<AccessToken> {
        let now = self.clock.now();
        let entries = self.entries.pin();
        let entry = entries.get(&Key(company))?;
        let age = now.wrapping_sub(entry.from);
        if age >= in_nanoseconds(entry.ends_after) || self.is_unchecked(now) {
            return None;
        }
        let fresh_for = entry.fresh_for.load(Relaxed);
        let next = milliseconds(Duration::from_nanos(age).saturating_add(BACKGROUND_RETRY));
        let is_due = age >= in_nanoseconds(fresh_for)
            && entry.fresh_for.compare_exchange(fresh_for, next, Relaxed, Relaxed).is_ok();
        self.mark(entry);
        let token = entry.token.clone();
        drop(entries);
        if is_due {
            due();
        }
        Some(token)
    }

    /// Registers a reader. Call this before reading.
    pub(crate) fn begin_read<'a>(&'a self, company: &'a CompanyId) -> ReadGuard<'a> {
        let mut readers = self.readers();
        let number = readers.next;
        readers.next += 1;
        let reader = Reader::default();
        let changed = Arc::clone(&reader.changed);
        readers.by_company.entry(company.clone()).or_default().insert(number, reader);
        let cached = self.entries.pin().get(&Key(company)).map(|entry| entry.token.revision()).unwrap_or_default();
        ReadGuard {
            cache: self,
            company,
            generation: readers.generation,
            number,
            from: self.clock.now(),
            cached,
            changed,
        }
    }

    /// The time since the feed was last read.
    pub(crate) fn feed_age(&self) -> Duration {
        Duration::from_nanos(self.clock.now().saturating_sub(self.feed_read_at.load(Relaxed)))
    }

    /// Applies changes reported by the feed, which is complete up to now.
    pub(crate) fn feed_reported(&self, changed: &[(CompanyId, EventId)]) {
        self.changed(changed);
        self.feed_read_at.store(self.clock.now(), Relaxed);
    }

    /// Evicts entries older than a change, and notes the change for registered readers.
    pub(crate) fn changed(&self, changed: &[(CompanyId, EventId)]) {
        let mut readers = self.readers();
        let entries = self.entries.pin();
        for (company, change) in changed {
            for reader in readers.by_company.get_mut(company).into_iter().flat_map(BTreeMap::values_mut) {
                reader.change = reader.change.max(*change);
                reader.changed.notify_one();
            }
            let _ = entries.remove_if(&Key(company), |_, entry| entry.change < *change);
        }
    }

    /// Wakes the company's registered readers, because a refresh in this process has ended.
    pub(crate) fn wake(&self, company: &CompanyId) {
        for reader in self.readers().by_company.get(company).into_iter().flat_map(BTreeMap::values) {
            reader.changed.notify_one();
        }
    }

    /// Ends every entry and makes registered readers insert nothing. The cached rotations stay known.
    pub(crate) fn outdate(&self) {
        self.replace_all(Entry::ended);
    }

    /// The same after the numbers of changes were set back: afterwards any row replaces an entry.
    pub(crate) fn outdate_changes(&self) {
        self.replace_all(|entry| Entry { change: EventId::START, ..entry.ended() });
    }

    fn replace_all(&self, ended: impl Fn(&Entry) -> Entry) {
        let mut readers = self.readers();
        readers.generation += 1;
        let entries = self.entries.pin();
        for (company, entry) in &entries {
            entries.insert(Key(company.0.clone()), ended(entry));
        }
    }

    /// Marks the company as used, because a caller got its token from the store. (The keeper's refreshes are not a
    /// use.)
    pub(crate) fn mark_used(&self, company: &CompanyId) {
        if let Some(entry) = self.entries.pin().get(&Key(company)) {
            self.mark(entry);
        }
    }

    fn mark(&self, entry: &Entry) {
        let quiet_for = entry.fresh_for.load(Relaxed).min(entry.ends_after);
        entry.quiet_for.store(in_nanoseconds(quiet_for), Relaxed);
        self.some_used.store(true, Release);
    }

    /// The companies whose tokens were served since the last call.
    pub(crate) fn take_used(&self) -> Vec<CompanyId> {
        // An idle process does not search all entries.
        if !self.some_used.swap(false, Acquire) {
            return Vec::new();
        }
        let entries = self.entries.pin();
        let used = entries.iter().filter(|(_, entry)| entry.is_used() && entry.quiet_for.swap(0, Relaxed) != 0);
        used.map(|(company, _)| company.0.clone()).collect()
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn is_unchecked(&self, now: u64) -> bool {
        self.refuse_after.is_some_and(|limit| now.saturating_sub(self.feed_read_at.load(Relaxed)) >= nanoseconds(limit))
    }
}

impl Entry {
    /// Whether it was served since the last [`take_used`](Cache::take_used).
    fn is_used(&self) -> bool {
        self.quiet_for.load(Relaxed) != 0
    }

    /// A copy that is not served.
    fn ended(&self) -> Self {
        Self {
            token: self.token.clone(),
            change: self.change,
            from: self.from,
            fresh_for: 0.into(),
            ends_after: 0,
            quiet_for: 0.into(),
        }
    }
}

impl ReadGuard<'_> {
    /// The rotation that was cached when this reader registered, even if its token has ended since. If a row read
    /// afterwards is below it, the row was set back.
    pub(crate) fn cached(&self) -> Revision {
        self.cached
    }

    /// Completes when the company changes, or at once if it has changed since this reader registered.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Caches the access token of a row that was read or written at `as_of`, after this reader registered. `false`: the
    /// company has changed since, or the token may have ended, so the row must be read again.
    #[must_use = "an outdated row must be read again"]
    pub(crate) fn insert(&self, token: &AccessToken, change: EventId, refresh_at: Timestamp, as_of: Timestamp) -> bool {
        let readers = self.cache.readers();
        let reader = readers.by_company.get(self.company).and_then(|readers| readers.get(&self.number));
        if reader.is_some_and(|reader| reader.change > change) {
            return false;
        }
        let ends_after = milliseconds(remaining(token.expires_at(), as_of));
        if self.cache.clock.now().wrapping_sub(self.from) >= in_nanoseconds(ends_after) {
            return false;
        }
        // A reader with a token in its early window has started the refresh, or found that none can start now.
        let fresh_for = match remaining(refresh_at, as_of) {
            Duration::ZERO => BACKGROUND_RETRY,
            rest => rest,
        };
        let entry = Entry {
            token: token.clone(),
            change,
            from: self.from,
            fresh_for: milliseconds(fresh_for).into(),
            ends_after,
            quiet_for: 0.into(),
        };
        if readers.generation == self.generation {
            let entries = self.cache.entries.pin();
            let stored = entries.get(&Key(self.company));
            if stored.is_none_or(|stored| stored.change <= change) {
                if stored.is_some_and(Entry::is_used) {
                    self.cache.mark(&entry);
                }
                entries.insert(Key(self.company.clone()), entry);
            }
        }
        true
    }
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        let mut readers = self.cache.readers();
        if let Some(of_company) = readers.by_company.get_mut(self.company) {
            of_company.remove(&self.number);
            if of_company.is_empty() {
                readers.by_company.remove(self.company);
            }
        }
    }
}

/// Whole milliseconds, at most 49 days: half the size of nanoseconds. A shortened end only means that the row is read
/// again sooner.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn in_nanoseconds(milliseconds: u32) -> u64 {
    u64::from(milliseconds) * 1_000_000
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
