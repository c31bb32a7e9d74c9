//! What a process notices about itself while it works.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    clock::Timestamp,
    error::chain,
    machine::Lag,
    store::{StoreError, StoreErrorKind},
};

/// What a process notices about itself.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Whether `failure` is set, so that a working store costs no lock.
    store_fails: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// `None`: it does not run.
    keeper: Mutex<Option<KeeperVitals>>,
}

/// What is known of a keeper.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeeperVitals {
    began: Instant,
    /// Its last sign of life.
    pub(super) seen: Instant,
    pub(super) lag: Lag,
    /// When the lag was read last.
    pub(super) lag_at: Instant,
}

impl KeeperVitals {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, seen: now, lag: Lag::default(), lag_at: now }
    }
}

#[derive(Debug)]
struct Failure {
    since: Timestamp,
    last: StoreError,
}

impl Vitals {
    /// Notes whether the store works. An error about one row or one value is an answer, too.
    pub(super) fn store_answered<T>(&self, answer: &Result<T, StoreError>, now: impl FnOnce() -> Timestamp) {
        use StoreErrorKind::{Misconfigured, Unavailable};
        match answer {
            Err(error) if matches!(error.kind(), Unavailable | Misconfigured) => {
                let mut failure = lock(&self.failure);
                let since = failure.as_ref().map_or_else(now, |failure| failure.since);
                *failure = Some(Failure { since, last: error.clone() });
                self.store_fails.store(true, Relaxed);
            }
            _ if self.store_fails.load(Relaxed) => {
                *lock(&self.failure) = None;
                self.store_fails.store(false, Relaxed);
            }
            _ => {}
        }
    }

    /// The keeper gives a sign of life.
    pub(super) fn keeper_lives(&self) {
        lock(&self.keeper).get_or_insert_with(KeeperVitals::new).seen = Instant::now();
    }

    /// The keeper took a row that was this overdue; zero: none was waiting.
    pub(super) fn keeper_lags(&self, lag: Duration) {
        let mut keeper = lock(&self.keeper);
        let keeper = keeper.get_or_insert_with(KeeperVitals::new);
        let now = Instant::now();
        keeper.lag.read(now.duration_since(keeper.began), lag);
        (keeper.seen, keeper.lag_at) = (now, now);
    }

    /// Since when the store fails, and its last failure with its causes.
    pub(super) fn store_failure(&self) -> Option<(Timestamp, String)> {
        lock(&self.failure).as_ref().map(|failure| (failure.since, chain(&failure.last).to_string()))
    }

    /// What is known of the keeper; `None`: it does not run.
    pub(super) fn keeper(&self) -> Option<KeeperVitals> {
        *lock(&self.keeper)
    }

    /// The keeper has ended.
    pub(super) fn keeper_ended(&self) {
        *lock(&self.keeper) = None;
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
