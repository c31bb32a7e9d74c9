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
    /// Whether a read has failed.
    reads: bool,
    /// When a write failed last.
    write: Option<Instant>,
}

/// The kind of a call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Read,
    Write,
}

/// How long a failed write counts while reads succeed and no write is tried. The keeper tries one in each round.
const UNREPEATED: Duration = Duration::from_secs(30);

impl Vitals {
    /// Notes whether the store works. An error about one row or one value is an answer, too.
    ///
    /// A write that succeeds ends every failure. A read ends an outage of reads and writes; where reads go on and only
    /// writes fail (a lock that another process holds, a server that has become read-only), it proves nothing.
    pub(super) fn store_answered<T>(
        &self,
        work: Work,
        answer: &Result<T, StoreError>,
        now: impl FnOnce() -> Timestamp,
    ) {
        use StoreErrorKind::{Misconfigured, Unavailable};
        match answer {
            Err(error) if matches!(error.kind(), Unavailable | Misconfigured) => {
                let mut failure = lock(&self.failure);
                let (since, reads, write) = match failure.as_ref() {
                    Some(failure) => (failure.since, failure.reads, failure.write),
                    None => (now(), false, None),
                };
                let (reads, write) = match work {
                    Work::Read => (true, write),
                    Work::Write => (reads, Some(Instant::now())),
                };
                *failure = Some(Failure { since, last: error.clone(), reads, write });
                self.store_fails.store(true, Relaxed);
            }
            _ if self.store_fails.load(Relaxed) => {
                let mut failure = lock(&self.failure);
                if work == Work::Write || failure.as_ref().is_some_and(Failure::ends_with_a_read) {
                    *failure = None;
                    self.store_fails.store(false, Relaxed);
                }
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

impl Failure {
    fn ends_with_a_read(&self) -> bool {
        self.reads || self.write.is_none_or(|at| at.elapsed() > UNREPEATED)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const FAILS: Result<(), StoreErrorKind> = Err(StoreErrorKind::Unavailable);

    /// Whether the store fails after each of these answers.
    fn told(vitals: &Vitals, answers: &[(Work, Result<(), StoreErrorKind>)]) -> Vec<bool> {
        let tell = |(work, answer): &(Work, Result<(), StoreErrorKind>)| {
            vitals.store_answered(*work, &answer.map_err(StoreError::new), || Timestamp::UNIX_EPOCH);
            vitals.store_failure().is_some()
        };
        answers.iter().map(tell).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_proves_nothing_while_only_writes_fail_and_a_write_proves_everything() {
        use Work::{Read, Write};
        let corrupt = Err(StoreErrorKind::Corrupt);
        for (answers, expected) in [
            (&[(Read, FAILS), (Read, Ok(()))][..], &[true, false][..]),
            (&[(Write, FAILS), (Read, Ok(())), (Write, Ok(()))], &[true, true, false]),
            (&[(Write, FAILS), (Read, FAILS), (Read, Ok(()))], &[true, true, false]),
            (&[(Read, FAILS), (Write, FAILS), (Read, Ok(()))], &[true, true, false]),
            (&[(Write, FAILS), (Read, corrupt), (Write, corrupt)], &[true, true, false]),
        ] {
            assert_eq!(told(&Vitals::default(), answers), expected, "{answers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_write_that_nobody_repeats_is_forgotten() {
        let vitals = Vitals::default();
        assert_eq!(told(&vitals, &[(Work::Write, FAILS)]), [true]);
        advance(UNREPEATED).await;
        assert_eq!(told(&vitals, &[(Work::Read, Ok(()))]), [true]);
        advance(Duration::from_millis(1)).await;
        assert_eq!(told(&vitals, &[(Work::Read, Ok(()))]), [false]);
    }
}
