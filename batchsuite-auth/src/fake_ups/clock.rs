//! The fake's time.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::TimeDelta;

use crate::{
    clock::{Clock, SystemClock, Timestamp},
    test_util::ManualClock,
};

/// Where the time comes from.
pub(super) enum FakeClock {
    /// From the test.
    Manual(ManualClock),
    /// From the system, and as many milliseconds ahead of it as was asked for.
    Running { ahead: AtomicI64 },
}

impl FakeClock {
    pub(super) fn new(manual: Option<ManualClock>) -> Self {
        manual.map_or(Self::Running { ahead: AtomicI64::new(0) }, Self::Manual)
    }

    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::Manual(clock) => clock.now(),
            Self::Running { ahead } => {
                let ahead = TimeDelta::milliseconds(ahead.load(Ordering::Relaxed));
                SystemClock.now().checked_add_signed(ahead).unwrap_or(Timestamp::MAX_UTC)
            }
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        match self {
            Self::Manual(clock) => clock.advance(by),
            Self::Running { ahead } => {
                // A thousand years: far enough, and never beyond what a date can hold.
                let most = 1000 * 365 * 24 * 3600 * 1000;
                let add = |now: i64| Some(now.saturating_add(millis(by)).min(most));
                let _ = ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            }
        }
    }
}

/// In whole milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_clock_goes_ahead_as_asked_and_never_beyond_a_date() {
        let clock = FakeClock::Running { ahead: AtomicI64::new(0) };
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        assert!((clock.now() - before).num_seconds() >= 3600);
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert!(clock.now() < Timestamp::MAX_UTC);
    }
}
