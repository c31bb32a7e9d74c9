//! The queue of waking rows.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{Environment, clock::Timestamp};
use tokio::time::Instant;

/// Maximum time between two reads from the head of the queue.
const FROM_THE_HEAD: Duration = Duration::from_secs(30);

/// Where a read of the queue begins.
///
/// A row that was handled leaves a dead entry at the head of the wake-time index until the server vacuums it. While a
/// snapshot is held open anywhere in the database, the server cannot, and each read would scan all dead entries. So,
/// with many dead rows, a read begins where the last one ended, and periodically at the head, for rows that were handed
/// out but not saved and for wake times that were set into the past.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<HashMap<Environment, Reached>>);

#[derive(Clone, Copy, Debug)]
struct Reached {
    wake_at: Timestamp,
    /// When a read last began at the head.
    from_head: Instant,
}

impl Queue {
    fn reached(&self) -> MutexGuard<'_, HashMap<Environment, Reached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The start of the next read; `None`: the head.
    pub(super) fn begin(&self, environment: Environment) -> Option<Timestamp> {
        let reached = self.reached().get(&environment).copied()?;
        (reached.from_head.elapsed() < FROM_THE_HEAD).then_some(reached.wake_at)
    }

    /// Records that a read from `begin` ended at `wake_at`; `None`: the next read can begin at the head.
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
