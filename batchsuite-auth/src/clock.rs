//! Time as a one-method trait, so that tests move it by hand.

use std::{fmt::Debug, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

/// A point in time, in UTC.
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

/// `now + by`, at most the end of time: a lifetime from outside may be any number.
pub fn later(now: Timestamp, by: Duration) -> Timestamp {
    TimeDelta::from_std(by).ok().and_then(|by| now.checked_add_signed(by)).unwrap_or(Timestamp::MAX_UTC)
}

/// `now - by`, at least the beginning of time.
pub fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    TimeDelta::from_std(by).ok().and_then(|by| now.checked_sub_signed(by)).unwrap_or(Timestamp::MIN_UTC)
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
