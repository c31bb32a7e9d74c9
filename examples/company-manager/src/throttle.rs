//! Slows down whoever guesses passwords: a few failures per sign-in name and address, then a pause.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use batchsuite_auth::clock::Timestamp;
use sha2::{Digest, Sha256};

const MOST_FAILURES: u32 = 5;
const WINDOW: Duration = Duration::from_secs(5 * 60);
const MOST_ENTRIES: usize = 10_000;

/// Counts failures, bounded: at the bound, the oldest count goes.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<HashMap<Key, Count>>);

/// The hash of name and address: of a fixed size, whatever was typed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

struct Count {
    since: Timestamp,
    failures: u32,
}

impl Key {
    pub(crate) fn new(sign_in_name: &str, address: Option<IpAddr>) -> Self {
        let mut hash = Sha256::new();
        hash.update(sign_in_name.to_ascii_lowercase());
        hash.update([0]);
        hash.update(address.map(|address| address.to_string()).unwrap_or_default());
        Self(hash.finalize().into())
    }
}

impl Throttle {
    /// Counts a try as failed before its password is looked at, so that tries at the same time count too; or says how long
    /// to wait.
    pub(crate) fn try_now(&self, key: Key, now: Timestamp) -> Result<(), Duration> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |count: &Count| {
            let passed = (now - count.since).to_std().unwrap_or_default();
            WINDOW.checked_sub(passed).filter(|left| !left.is_zero())
        };
        if !counts.contains_key(&key) && counts.len() >= MOST_ENTRIES {
            counts.retain(|_, count| left(count).is_some());
            if counts.len() >= MOST_ENTRIES {
                let oldest = counts.iter().min_by_key(|(_, count)| count.since).map(|(key, _)| *key);
                oldest.map(|key| counts.remove(&key));
            }
        }
        let count = counts.entry(key).or_insert(Count { since: now, failures: 0 });
        match left(count) {
            Some(left) if count.failures >= MOST_FAILURES => return Err(left),
            Some(_) => count.failures += 1,
            None => *count = Count { since: now, failures: 1 },
        }
        Ok(())
    }

    /// Forgets the failures after a success.
    pub(crate) fn forget(&self, key: Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
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

    #[test]
    fn after_five_failures_there_is_a_pause_of_five_minutes() {
        let throttle = Throttle::default();
        let key = Key::new("a", None);
        for _ in 0..MOST_FAILURES {
            assert_eq!(throttle.try_now(key, NOW), Ok(()));
        }

        assert_eq!(throttle.try_now(key, NOW + Duration::from_secs(60)), Err(Duration::from_secs(240)));
        assert_eq!(throttle.try_now(Key::new("b", None), NOW), Ok(()), "another name");
        assert_eq!(throttle.try_now(Key::new("a", Some([127, 0, 0, 1].into())), NOW), Ok(()), "another address");
        assert_eq!(throttle.try_now(key, NOW + WINDOW), Ok(()));
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let throttle = Throttle::default();
        let key = Key::new("A", None);
        for _ in 0..MOST_FAILURES {
            throttle.try_now(key, NOW).unwrap();
        }

        throttle.forget(Key::new("a", None));

        assert_eq!(throttle.try_now(key, NOW), Ok(()));
    }

    #[test]
    fn counts_are_bounded() {
        let throttle = Throttle::default();
        for number in 0..=MOST_ENTRIES {
            throttle.try_now(Key::new(&number.to_string(), None), NOW).unwrap();
        }

        assert_eq!(throttle.0.lock().unwrap().len(), MOST_ENTRIES);
    }
}
