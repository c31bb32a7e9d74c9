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
    store::{StoreError, StoreErrorKind},
};

/// What a process notices about itself.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Whether `failure` is set, so that a working store costs no lock.
    store_fails: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// The keeper's last sign of life, and how overdue the row was that it took last. `None`: it does not run.
    keeper: Mutex<Option<(Instant, Duration)>>,
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
        let mut keeper = lock(&self.keeper);
        let lag = keeper.map_or(Duration::ZERO, |(_, lag)| lag);
        *keeper = Some((Instant::now(), lag));
    }

    /// The keeper took a row that was this overdue; zero: none was waiting.
    pub(super) fn keeper_lags(&self, lag: Duration) {
        *lock(&self.keeper) = Some((Instant::now(), lag));
    }

    /// Since when the store fails, and its last failure with its causes.
    pub(super) fn store_failure(&self) -> Option<(Timestamp, String)> {
        lock(&self.failure).as_ref().map(|failure| (failure.since, chain(&failure.last).to_string()))
    }

    /// The keeper's last sign of life, and how overdue the row was that it took last.
    pub(super) fn keeper(&self) -> Option<(Instant, Duration)> {
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
