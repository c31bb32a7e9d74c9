//! A clock that moves only when told to.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use chrono::{DateTime, TimeDelta};

use crate::clock::{Clock, Timestamp};

/// A clock that moves only when told to. Clones share the time.
///
/// ```
/// use std::time::Duration;
/// use batchsuite_auth::{clock::Clock, test_util::ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!((clock.now() - before).num_seconds(), 60);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<RwLock<Timestamp>>);

impl ManualClock {
    /// A clock that shows 2026-01-01 00:00:00 UTC.
    pub fn new() -> Self {
        Self::at(DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default())
    }

    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(RwLock::new(now)))
    }

    /// Moves the clock ahead.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        *now = now.checked_add_signed(by).unwrap_or(Timestamp::MAX_UTC);
    }

    /// Sets the clock, ahead or back.
    pub fn set(&self, to: Timestamp) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
