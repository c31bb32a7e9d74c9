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

/// The source of the time.
pub(super) enum FakeClock {
    /// The test's clock.
    Manual { clock: ManualClock, start: Timestamp },
    /// The system clock, plus this many milliseconds (negative: minus).
    Running { ahead: AtomicI64 },
}

/// A thousand years in milliseconds: more than any test needs, and within the range of a date.
const FARTHEST: i64 = 1000 * 365 * 24 * 3600 * 1000;

impl FakeClock {
    pub(super) fn new(manual: Option<ManualClock>) -> Self {
        match manual {
            Some(clock) => Self::Manual { start: clock.now(), clock },
            None => Self::Running { ahead: AtomicI64::new(0) },
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::Manual { clock, .. } => clock.now(),
            Self::Running { ahead } => {
                let ahead = TimeDelta::milliseconds(ahead.load(Ordering::Relaxed));
                SystemClock.now().checked_add_signed(ahead).unwrap_or(Timestamp::MAX_UTC)
            }
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        match self {
            Self::Manual { clock, .. } => clock.advance(by),
            Self::Running { ahead } => {
                let add = |now: i64| Some(now.saturating_add(millis(by)).min(FARTHEST));
                let _ = ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            }
        }
    }

    /// A running clock keeps running from there.
    pub(super) fn set(&self, to: Timestamp) {
        match self {
            Self::Manual { clock, .. } => clock.set(to),
            Self::Running { ahead } => {
                // Rounded up, so that anything that ends at `to` has ended.
                let difference = to.signed_duration_since(SystemClock.now()).num_milliseconds().saturating_add(1);
                ahead.store(difference.clamp(-FARTHEST, FARTHEST), Ordering::Relaxed);
            }
        }
    }

    /// Back to the test's start, or to the system clock.
    pub(super) fn reset(&self) {
        match self {
            Self::Manual { clock, start } => clock.set(*start),
            Self::Running { ahead } => ahead.store(0, Ordering::Relaxed),
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
        let clock = FakeClock::new(None);
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        assert!((clock.now() - before).num_seconds() >= 3600);
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        assert!(clock.now() < Timestamp::MAX_UTC);
    }

    #[test]
    fn a_running_clock_is_never_behind_the_time_that_was_set() {
        let clock = FakeClock::new(None);
        for _ in 0..1000 {
            let to = clock.now() + TimeDelta::seconds(5);
            clock.set(to);
            assert!(clock.now() >= to);
        }
    }

    #[test]
    fn a_clock_is_set_ahead_and_back_and_reset() {
        for clock in [FakeClock::new(None), FakeClock::new(Some(ManualClock::new()))] {
            let start = clock.now();
            for to in [start - TimeDelta::days(400), start + TimeDelta::days(400)] {
                clock.set(to);
                assert!((clock.now() - to).num_seconds() < 60);
            }
            clock.set(Timestamp::MIN_UTC);
            clock.reset();
            assert!((clock.now() - start).num_seconds() < 60);
        }
    }
}
