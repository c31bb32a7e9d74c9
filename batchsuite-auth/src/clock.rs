//! Time as a one-method trait, so that tests can control it.

use std::{fmt::Debug, time::Duration};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// A point in time, in UTC.
///
/// It is chrono's own type, which database drivers, JSON and page templates accept as it is. `format("%F %T")` yields
/// the guide's `Refresh expires: yyyy-mm-dd hh:mm:ss`.
pub type Timestamp = DateTime<Utc>;

/// A clock.
///
/// Everything in this crate that checks an expiry asks a `Clock`; nothing else reads the system's time. (I/O time-outs
/// use the runtime's timers.)
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The operating system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    fn now(&self) -> Timestamp {
        Utc::now()
    }
}

/// `now + by`, in whole microseconds as stores keep times. Saturates, because a lifetime from outside may be any
/// number.
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    let later = TimeDelta::from_std(by).ok().and_then(|by| now.checked_add_signed(by));
    later.unwrap_or(Timestamp::MAX_UTC).trunc_subsecs(6)
}

/// `now - by`, in whole microseconds as stores keep times. Saturates.
pub fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    let earlier = TimeDelta::from_std(by).ok().and_then(|by| now.checked_sub_signed(by));
    earlier.unwrap_or(Timestamp::MIN_UTC).trunc_subsecs(6)
}

/// `until - now`; zero if `until` has passed.
pub(crate) fn remaining(until: Timestamp, now: Timestamp) -> Duration {
    (until - now).to_std().unwrap_or_default()
}

/// Whether a period that ends at `until` and never lasts longer than `most` is still running. An end further ahead was
/// written by a clock that ran ahead, and is ignored.
pub(crate) fn within(until: Timestamp, now: Timestamp, most: Duration) -> bool {
    until > now && until <= later(now, most)
}

/// Measures elapsed time, including time during which the machine is suspended.
///
/// The runtime's clock stops during a suspension, so a lease that ended meanwhile would look young. The larger of two
/// clocks counts: a row or a lease may seem too old, which costs another try, but never too young. On Linux, setting
/// the wall clock has no effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    timer: tokio::time::Instant,
    machine: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self { timer: tokio::time::Instant::now(), machine: since_boot() }
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.timer.elapsed().max(since_boot().saturating_sub(self.machine))
    }
}

/// The time since the machine booted, including suspensions.
fn since_boot() -> Duration {
    #[cfg(feature = "test-util")]
    if let Some(simulated) = simulated::since_boot() {
        return simulated;
    }
    system_since_boot()
}

/// A simulated machine: the runtime's clock plus simulated suspensions.
#[cfg(feature = "test-util")]
pub(crate) mod simulated {
    use std::{cell::Cell, time::Duration};

    use tokio::time::Instant;

    thread_local! {
        static MACHINE: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }

    /// Starts a simulated machine for this thread; `false` returns to the real one.
    pub fn start(simulated: bool) {
        MACHINE.set(simulated.then(|| (Instant::now(), Duration::ZERO)));
    }

    /// Suspends the machine for `by`, while the runtime's clock stands still.
    pub fn suspend(by: Duration) {
        MACHINE.set(MACHINE.get().map(|(start, suspended)| (start, suspended + by)));
    }

    pub(super) fn since_boot() -> Option<Duration> {
        MACHINE.get().map(|(start, suspended)| start.elapsed() + suspended)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::clock::Stopwatch;

        #[tokio::test(start_paused = true)]
        async fn a_simulated_machine_counts_the_runtimes_time_and_its_suspensions() {
            start(true);
            let stopwatch = Stopwatch::start();

            tokio::time::advance(Duration::from_secs(2)).await;
            suspend(Duration::from_secs(60));

            assert_eq!(stopwatch.elapsed(), Duration::from_secs(62));
            start(false);
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn system_since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// Other systems have no common clock for this, but their wall clock counts suspensions.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn system_since_boot() -> Duration {
    remaining(SystemClock.now(), Timestamp::UNIX_EPOCH)
}

/// The clock of the hot path, in nanoseconds from an arbitrary start; only differences are meaningful.
///
/// For the system's clock this is the coarse monotonic clock: a read costs a few nanoseconds, needs no ticking thread,
/// and does not change when the wall clock is set. A host's own clock is read directly.
#[derive(Clone, Debug)]
pub(crate) enum HotClock {
    System,
    Host(std::sync::Arc<dyn Clock>),
}

impl HotClock {
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::System => coarse_monotonic(),
            Self::Host(clock) => clock.now().timestamp_nanos_opt().unwrap_or(i64::MAX).cast_unsigned(),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn coarse_monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    time.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.cast_unsigned())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
#[inline]
fn coarse_monotonic() -> u64 {
    use std::{sync::OnceLock, time::Instant};

    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopwatch_goes_by_the_runtime_and_by_the_machine() {
        let stopwatch = Stopwatch::start();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(stopwatch.elapsed() >= Duration::from_secs(2));
    }

    #[test]
    fn the_clock_of_the_machine_counts_what_the_monotonic_one_counts() {
        let suspended =
            Stopwatch { machine: since_boot().saturating_sub(Duration::from_secs(7)), ..Stopwatch::start() };

        assert!(suspended.elapsed() >= Duration::from_secs(7), "the time of a suspension counts");
        assert!(since_boot() > Duration::ZERO);
    }

    #[test]
    fn the_system_s_clock_is_of_this_century_and_the_hot_path_s_goes_with_the_monotonic_one() {
        assert!(SystemClock.now() > Timestamp::from_timestamp(1_767_225_600, 0).unwrap(), "2026 has begun");
        let hot = || Duration::from_nanos(HotClock::System.now());
        let (first, timer) = (hot(), tokio::time::Instant::now());
        while hot() == first {
            assert!(timer.elapsed() < Duration::from_secs(60), "it stands still");
        }
        assert!(hot() - first < timer.elapsed() + Duration::from_secs(1));
    }

    #[test]
    fn a_duration_of_any_length_is_added_and_taken_off() {
        let now = Timestamp::UNIX_EPOCH;
        let end_of_time = Timestamp::MAX_UTC.trunc_subsecs(6);
        for (by, ends) in [(Duration::ZERO, now), (Duration::MAX, end_of_time), (Duration::from_nanos(999), now)] {
            assert_eq!(later(now, by), ends);
        }
        assert_eq!(earlier(now, Duration::MAX), Timestamp::MIN_UTC);
        assert_eq!(later(Timestamp::MAX_UTC, Duration::from_nanos(1)), end_of_time);
        assert_eq!(
            remaining(Timestamp::MAX_UTC, Timestamp::MIN_UTC).as_secs(),
            (Timestamp::MAX_UTC - Timestamp::MIN_UTC).num_seconds() as u64
        );
        assert!(!within(Timestamp::MAX_UTC, now, Duration::ZERO));
    }
}
