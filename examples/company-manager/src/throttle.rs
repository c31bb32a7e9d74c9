//! Slows down password guessing: a pause after a few failures per sign-in name and client.
//!
//! A browser with an earlier successful sign-in is counted separately, so that nobody else can lock its person out, not
//! even from behind the same proxy.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{clock::Timestamp, secret::SecretHash};
use sha2::{Digest, Sha256};

use crate::{client::Client, passwords::Lane};

const MOST_FAILURES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(5 * 60);
const MOST_ENTRIES: usize = 10_000;

/// Counts failures, up to a bound; then the oldest count is dropped.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    counts: HashMap<Key, Count>,
    /// The names and browsers of successful sign-ins, with their times.
    known: HashMap<Key, Timestamp>,
}

/// The hash of a name and its sender, of fixed size for any input.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key([u8; 32]);

#[derive(Clone, Copy)]
struct Count {
    since: Timestamp,
    failures: u32,
}

/// The origin of a sign-in attempt.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) sign_in_name: &'a str,
    pub(crate) client: Option<Client>,
    /// The browser, if it has a browser cookie.
    pub(crate) browser: Option<SecretHash>,
}

impl Who<'_> {
    fn of_client(self) -> Key {
        Key::of(
            self.sign_in_name,
            b"client",
            self.client.map(|client| client.address().to_string()).unwrap_or_default().as_bytes(),
        )
    }

    fn of_browser(self) -> Option<Key> {
        self.browser.map(|browser| Key::of(self.sign_in_name, b"browser", browser.as_bytes()))
    }
}

impl Key {
    fn of(sign_in_name: &str, kind: &[u8], source: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [sign_in_name.to_ascii_lowercase().as_bytes(), kind, source] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl Throttle {
    /// Counts an attempt as failed before its password is checked, so that concurrent attempts count too; or returns
    /// the time to wait. An attempt without an answer (turned away, or its client disconnected) is uncounted.
    pub(crate) fn try_now(&self, who: Who<'_>, now: Timestamp) -> Result<Try<'_>, Duration> {
        let mut inner = self.inner();
        let known = who.of_browser().filter(|browser| inner.known.contains_key(browser));
        let key = known.unwrap_or_else(|| who.of_client());
        let lane = known.map_or(Lane::Client(who.client), |browser| Lane::Browser(browser.0));
        let left = |count: &Count| {
            let passed = (now - count.since).to_std().unwrap_or_default();
            WINDOW.checked_sub(passed).filter(|left| !left.is_zero())
        };
        let counts = &mut inner.counts;
        if !counts.contains_key(&key) && counts.len() >= MOST_ENTRIES {
            counts.retain(|_, count| left(count).is_some());
            drop_oldest(counts, |count| count.since);
        }
        let count = counts.entry(key).or_insert(Count { since: now, failures: 0 });
        match left(count) {
            Some(left) if count.failures >= MOST_FAILURES => return Err(left),
            Some(_) => count.failures += 1,
            None => *count = Count { since: now, failures: 1 },
        }
        Ok(Try { throttle: self, key, lane, since: count.since, is_answered: false })
    }

    /// Counts this browser separately for this name from now on.
    pub(crate) fn know(&self, who: Who<'_>, now: Timestamp) {
        let Some(key) = who.of_browser() else { return };
        let known = &mut self.inner().known;
        drop_oldest(known, |since| *since);
        known.insert(key, now);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the oldest entry if the map is full.
fn drop_oldest<V>(map: &mut HashMap<Key, V>, since: impl Fn(&V) -> Timestamp) {
    if map.len() >= MOST_ENTRIES {
        let oldest = map.iter().min_by_key(|(_, value)| since(value)).map(|(key, _)| *key);
        oldest.map(|key| map.remove(&key));
    }
}

/// An attempt that counts as failed until it succeeds or is dropped without an answer.
#[must_use = "a dropped try does not count"]
pub(crate) struct Try<'a> {
    throttle: &'a Throttle,
    key: Key,
    lane: Lane,
    since: Timestamp,
    is_answered: bool,
}

impl Try<'_> {
    /// The queue for its password check: a browser that is counted separately also waits separately.
    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// The password was wrong: the attempt stays counted.
    pub(crate) fn failed(mut self) {
        self.is_answered = true;
    }

    /// The password was right: earlier failures are forgotten.
    pub(crate) fn succeeded(mut self) {
        self.is_answered = true;
        self.throttle.inner().counts.remove(&self.key);
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let mut inner = self.throttle.inner();
        if let Some(count) = inner.counts.get_mut(&self.key).filter(|count| count.since == self.since) {
            count.failures = count.failures.saturating_sub(1);
            if count.failures == 0 {
                inner.counts.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn who(sign_in_name: &str) -> Who<'_> {
        Who { sign_in_name, client: None, browser: None }
    }

    fn at(sign_in_name: &str, last: u8) -> Who<'_> {
        Who { client: Some(Client::at([127, 0, 0, last].into())), ..who(sign_in_name) }
    }

    fn fails(throttle: &Throttle, who: Who<'_>, now: Timestamp) -> Result<(), Duration> {
        throttle.try_now(who, now).map(Try::failed)
    }

    fn lock(throttle: &Throttle, who: Who<'_>) {
        for _ in 0..MOST_FAILURES {
            assert_eq!(fails(throttle, who, NOW), Ok(()));
        }
        assert!(fails(throttle, who, NOW).is_err());
    }

    #[test]
    fn after_five_failures_there_is_a_pause_of_five_minutes() {
        let throttle = Throttle::default();
        lock(&throttle, who("a"));

        assert_eq!(fails(&throttle, who("a"), NOW + Duration::from_secs(60)), Err(Duration::from_secs(240)));
        assert_eq!(fails(&throttle, who("b"), NOW), Ok(()), "another name");
        assert_eq!(fails(&throttle, at("a", 1), NOW), Ok(()), "another address");
        assert_eq!(fails(&throttle, who("a"), NOW + WINDOW), Ok(()));
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let throttle = Throttle::default();
        for _ in 1..MOST_FAILURES {
            fails(&throttle, who("A"), NOW).unwrap();
        }

        throttle.try_now(who("a"), NOW).unwrap().succeeded();

        lock(&throttle, who("a"));
    }

    #[test]
    fn a_try_without_an_answer_is_no_failure() {
        let throttle = Throttle::default();

        for _ in 0..3 * MOST_FAILURES {
            drop(throttle.try_now(who("a"), NOW).unwrap());
        }

        assert!(throttle.inner().counts.is_empty());
        lock(&throttle, who("a"));
    }

    #[test]
    fn tries_at_the_same_time_count() {
        let throttle = Throttle::default();
        let tries: Vec<_> = (0..MOST_FAILURES).map(|_| throttle.try_now(who("a"), NOW).unwrap()).collect();

        assert!(fails(&throttle, who("a"), NOW).is_err());
        drop(tries);
        assert_eq!(fails(&throttle, who("a"), NOW), Ok(()));
    }

    #[test]
    fn a_browser_that_signed_in_before_is_not_locked_out_by_others_at_its_address() {
        let throttle = Throttle::default();
        let [mine, other] = ["mine", "other"].map(|secret| Some(SecretHash::of(secret)));
        let me = Who { browser: mine, ..at("a", 1) };
        throttle.know(me, NOW);

        lock(&throttle, Who { browser: other, ..at("a", 1) });
        lock(&throttle, at("a", 2));

        assert!(fails(&throttle, at("a", 1), NOW).is_err());
        assert_eq!(throttle.try_now(at("a", 3), NOW).unwrap().lane(), Lane::Client(at("a", 3).client));
        assert!(matches!(throttle.try_now(me, NOW).unwrap().lane(), Lane::Browser(_)), "it waits by itself, too");
        lock(&throttle, me);
        assert!(fails(&throttle, Who { browser: mine, ..at("b", 1) }, NOW).is_ok(), "it is known for one name");
    }

    #[test]
    fn counts_are_bounded() {
        let throttle = Throttle::default();
        for number in 0..=MOST_ENTRIES {
            let name = number.to_string();
            fails(&throttle, who(&name), NOW).unwrap();
            throttle.know(Who { browser: Some(SecretHash::of(&name)), ..who("a") }, NOW);
        }

        let inner = throttle.inner();
        assert_eq!((inner.counts.len(), inner.known.len()), (MOST_ENTRIES, MOST_ENTRIES));
    }
}
