//! The state of a process, from what it noticed about itself.

use super::{Engine, vitals::KeeperVitals};
use crate::{
    clock::{earlier, later},
    machine::{Health, KeeperHealth},
};

/// A keeper that gives no sign of life for this many intervals is silent.
const SILENT_INTERVALS: u32 = 3;

impl Engine {
    /// The state of this process; no I/O.
    pub(crate) fn health(&self) -> Health {
        let (rotation, vitals) = (&self.rotation, &self.rotation.vitals);
        let (now, policy) = (rotation.now(), &rotation.policy);
        let (store_fails_since, store_error) = vitals.store_failure().unzip();
        let feed_age = self.tokens.cache.feed_age();
        let silent_after = policy.keeper_interval.saturating_mul(SILENT_INTERVALS);
        let keeper = match vitals.keeper() {
            Some(keeper) if keeper.seen.elapsed() > silent_after => {
                KeeperHealth::Silent { since: earlier(now, keeper.seen.elapsed()) }
            }
            Some(KeeperVitals { lag, lag_at, .. }) => {
                let left = lag.caught_up_in().map(|left| left.saturating_sub(lag_at.elapsed()));
                KeeperHealth::Works { lag: lag.lag(), caught_up_at: left.map(|left| later(now, left)) }
            }
            None => KeeperHealth::Off,
        };
        Health {
            store_fails_since,
            store_error,
            feed_age,
            // After a shutdown nobody reads it.
            feed_is_stale: feed_age > policy.cache_max_age && !self.tasks.is_ended(),
            keeper,
            ups: rotation.breaker().troubles(now),
            refresh_rate: rotation.limiter.per_second(),
            refreshes_waiting: rotation.limiter.waiting(),
            pairs_not_stored: self.tasks.pairs_not_stored(),
            is_stopping: self.tasks.is_quiet(),
        }
    }
}
