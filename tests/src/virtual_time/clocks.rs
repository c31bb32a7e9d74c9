//! The clocks of a world, all derived from the runtime's paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use batchsuite_auth::{
    clock::{Clock, Timestamp},
    test_util::simulation,
};
use tokio::time::Instant;

/// 2026-01-01, in microseconds since 1970.
const EPOCH: i64 = 1_767_225_600_000_000;

/// The true time, and each clock's offset from it.
#[derive(Debug)]
pub struct Clocks {
    start: Instant,
    /// How long the machine was suspended, in microseconds: the runtime's clock stopped.
    suspended: AtomicU64,
    store: AtomicI64,
    /// How far the store's clock was moved in total, ahead and back.
    store_set: AtomicU64,
    processes: Vec<AtomicI64>,
}

impl Clocks {
    /// All clocks show the true time.
    pub fn new(processes: usize) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            suspended: AtomicU64::new(0),
            store: AtomicI64::new(0),
            store_set: AtomicU64::new(0),
            processes: (0..processes).map(|_| AtomicI64::new(0)).collect(),
        })
    }

    /// The true time since the world began, in microseconds.
    pub fn micros(&self) -> u64 {
        micros(self.start.elapsed()) + self.suspended.load(Relaxed)
    }

    /// The true time.
    pub fn now(&self) -> Timestamp {
        timestamp(EPOCH + self.micros().cast_signed())
    }

    /// The store's time, in microseconds since 1970.
    pub fn store_micros(&self) -> i64 {
        EPOCH + self.micros().cast_signed() + self.store.load(Relaxed)
    }

    /// Suspends the machine of all processes. The store's and UPS's clocks continue.
    pub fn suspend(&self, by: Duration, is_told: bool) {
        self.suspended.fetch_add(micros(by), Relaxed);
        if is_told {
            simulation::suspend(by);
        }
    }

    /// Sets the store's clock.
    pub fn set_store(&self, by: i64) {
        self.store.fetch_add(by, Relaxed);
        self.store_set.fetch_add(by.unsigned_abs(), Relaxed);
    }

    /// How far the store's clock was moved in total.
    pub fn store_set(&self) -> u64 {
        self.store_set.load(Relaxed)
    }

    /// Sets a process's clock to this offset from the true time.
    pub fn set_process(&self, process: usize, beside: i64) {
        self.processes[process].store(beside, Relaxed);
    }

    /// The store's clock.
    pub fn of_store(self: &Arc<Self>) -> StoreClock {
        StoreClock(Arc::clone(self))
    }

    /// A process's wall clock.
    pub fn of_process(self: &Arc<Self>, process: usize) -> ProcessClock {
        ProcessClock(Arc::clone(self), process)
    }
}

/// The store's clock.
#[derive(Debug)]
pub struct StoreClock(Arc<Clocks>);

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        timestamp(self.0.store_micros())
    }
}

/// The wall clock of a process.
#[derive(Debug)]
pub struct ProcessClock(Arc<Clocks>, usize);

impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        let Self(clocks, process) = self;
        timestamp(EPOCH + clocks.micros().cast_signed() + clocks.processes[*process].load(Relaxed))
    }
}

/// In microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_timestamp_micros(micros).unwrap_or_default()
}
