//! The queue of the rows that wake.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{Environment, clock::Timestamp};
use tokio::time::Instant;

/// How often a reading begins at the head of the queue at least.
const FROM_THE_HEAD: Duration = Duration::from_secs(30);

/// Where a reading of the queue begins.
///
/// A row that was dealt with leaves a dead entry behind at the head of the index of wake times, until the server clears it away.
/// While a snapshot is held open somewhere in the database, the server cannot, and each reading would walk over all of them. So,
/// with many dead rows, a reading begins where the last one ended, and now and then at the head: for rows that were
/// handed out and not saved, and for wake times that were set into the past.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<HashMap<Environment, Reached>>);

#[derive(Clone, Copy, Debug)]
struct Reached {
    wake_at: Timestamp,
    /// When a reading last began at the head.
    from_head: Instant,
}

impl Queue {
    fn reached(&self) -> MutexGuard<'_, HashMap<Environment, Reached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: at the head.
    pub(super) fn begin(&self, environment: Environment) -> Option<Timestamp> {
        let reached = self.reached().get(&environment).copied()?;
        (reached.from_head.elapsed() < FROM_THE_HEAD).then_some(reached.wake_at)
    }

    /// A reading that began so came up to `wake_at`; `None`: the next one can as well begin at the head.
    pub(super) fn ended(&self, environment: Environment, begin: Option<Timestamp>, wake_at: Option<Timestamp>) {
        let mut reached = self.reached();
        let before = reached.remove(&environment).filter(|_| begin.is_some());
        if let Some(wake_at) = wake_at {
            let from_head = before.map_or_else(Instant::now, |before| before.from_head);
            reached.insert(environment, Reached { wake_at, from_head });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HERE: Environment = Environment::Cie;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_timestamp(second, 0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_begins_where_the_last_one_ended_and_every_30_seconds_at_the_head() {
        let queue = Queue::default();
        queue.ended(HERE, None, at(7));
        for second in 7..37 {
            assert_eq!(queue.begin(HERE), at(second));
            queue.ended(HERE, at(second), at(second + 1));
            advance(Duration::from_secs(1)).await;
        }

        assert_eq!(queue.begin(HERE), None);
        queue.ended(HERE, None, at(8));
        assert_eq!(queue.begin(HERE), at(8));
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_last_one_ended_is_forgotten_with_the_dead_rows_and_told_apart_by_environment() {
        let queue = Queue::default();
        queue.ended(HERE, None, at(7));
        assert_eq!(queue.begin(Environment::Production), None);

        queue.ended(HERE, at(7), None);

        assert_eq!(queue.begin(HERE), None);
    }
}
