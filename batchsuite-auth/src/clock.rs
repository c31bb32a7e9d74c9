//! Time as a one-method trait, so that tests move it by hand.

use std::{fmt::Debug, time::Duration};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// A point in time, in UTC.
///
/// It is chrono's own type, because a host's database driver, its JSON and its pages take that one as it is. Its Display has the
/// guide's `Refresh expires: yyyy-mm-dd hh:mm:ss` by `format("%F %T")`.
pub type Timestamp = DateTime<Utc>;

/// Tells the time.
///
/// Everything in this crate that judges an expiry asks a `Clock`; nothing else reads the system's time. (Time-outs of
/// I/O are the runtime's timers.)
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present time.
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

/// `now + by`, at most the end of time: a lifetime from outside may be any number. In whole microseconds, as stores keep times.
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    let later = TimeDelta::from_std(by).ok().and_then(|by| now.checked_add_signed(by));
    later.unwrap_or(Timestamp::MAX_UTC).trunc_subsecs(6)
}

/// `now - by`, at least the beginning of time. In whole microseconds, as stores keep times.
pub fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    let earlier = TimeDelta::from_std(by).ok().and_then(|by| now.checked_sub_signed(by));
    earlier.unwrap_or(Timestamp::MIN_UTC).trunc_subsecs(6)
}

/// `until - now`, zero if it has passed.
pub(crate) fn remaining(until: Timestamp, now: Timestamp) -> Duration {
    (until - now).to_std().unwrap_or_default()
}

/// Whether a pause still lasts that ends at `until` and is never longer than `most`: what was written by a clock that
/// ran ahead must not outlive it.
pub(crate) fn within(until: Timestamp, now: Timestamp, most: Duration) -> bool {
    until > now && until <= later(now, most)
}

/// Measures the time that passes here, also while the machine is suspended.
///
/// The runtime's own clock stands still during a suspension, so a lease that ended meanwhile would look young. The larger of the
/// two clocks is taken: a row or a lease may be judged too old, which costs one more try, but never too young. Setting the wall
/// clock does not change it.
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

    /// How long ago it was started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.timer.elapsed().max(since_boot().saturating_sub(self.machine))
    }
}

/// The time since the machine was started, suspensions included.
fn since_boot() -> Duration {
    #[cfg(feature = "test-util")]
    if let Some(simulated) = simulated::since_boot() {
        return simulated;
    }
    system_since_boot()
}

/// The machine of a simulation: the runtime's own clock, and suspensions as they are told.
#[cfg(feature = "test-util")]
pub(crate) mod simulated {
    use std::{cell::Cell, time::Duration};

    use tokio::time::Instant;

    thread_local! {
        static MACHINE: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }

    /// From now on this thread's machine is a simulated one, started now; `false`: it is the real one again.
    pub fn start(simulated: bool) {
        MACHINE.set(simulated.then(|| (Instant::now(), Duration::ZERO)));
    }

    /// The machine was suspended for so long: the runtime's clock stood still meanwhile.
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

/// Other systems have no such clock that is asked alike everywhere; their wall clock counts suspensions.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn system_since_boot() -> Duration {
    remaining(SystemClock.now(), Timestamp::UNIX_EPOCH)
}

/// The time of the hot path, in nanoseconds from some moment; only differences mean anything.
///
/// With the system's clock it is the coarse monotonic one: a look costs a few nanoseconds, no ticking thread can starve,
/// and a wall clock that is set does not touch it. A host's own clock is asked itself.
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
