//! One world: the state shared by its processes, its store and its UPS.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use batchsuite_auth::{
    CompanyId,
    fake_ups::FakeUpsState,
    test_util::{ManualClock, simulation::Gate},
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::virtual_time::{Clocks, Dice};

use crate::{
    broken::Break,
    faults::{Fault, Tally},
    ledger::{Company, Incarnation, Ledger},
    plan::Plan,
    process::Slot,
    trace::Trace,
};

/// A user's login at UPS.com.
pub(crate) fn user_name(user: usize) -> String {
    format!("user-{user}@example.com")
}

/// The shared state of a world.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) broken: Option<Break>,
    pub(crate) clocks: Arc<Clocks>,
    store: Mutex<MemoryStore>,
    /// The latest backup, with the ledger's records of that time.
    backup: Mutex<Option<(MemoryStore, Vec<Company>)>>,
    pub(crate) ups: FakeUpsState,
    pub(crate) ups_clock: ManualClock,
    pub(crate) companies: Vec<CompanyId>,
    index: HashMap<CompanyId, usize>,
    dice: Mutex<Dice>,
    trace: Mutex<Trace>,
    tally: Mutex<Tally>,
    ledger: Mutex<Ledger>,
    weather: Mutex<Weather>,
    pub(crate) slots: Mutex<Vec<Slot>>,
    /// The last lines before the first violation.
    story: Mutex<Option<Vec<String>>>,
    asked: AtomicU64,
    /// Wakes the readers of the feed.
    pub(crate) written: tokio::sync::Notify,
    /// Row locks held by slow commits.
    pub(crate) held: Mutex<HashMap<usize, Arc<tokio::sync::Mutex<()>>>>,
}

/// Temporary faults. Times are the world's, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// No faults occur, finally or initially.
    pub(crate) is_calm: bool,
    /// The store is unavailable for all processes.
    pub(crate) store_away_until: u64,
    /// The store is unavailable for one process.
    pub(crate) store_away_for: (usize, u64),
    /// UPS cannot be reached or does not answer.
    pub(crate) ups_away_until: u64,
    /// UPS refuses refresh tokens by mistake.
    pub(crate) wave_until: u64,
    /// UPS refuses the client.
    pub(crate) client_refused_until: u64,
}

impl World {
    pub(crate) fn new(seed: u64, is_shown: bool, broken: Option<Break>) -> Arc<Self> {
        let mut dice = Dice::of(seed);
        let plan = Plan::draw(&mut dice);
        let clocks = Clocks::new(plan.processes);
        let ups_clock = ManualClock::at(clocks.now());
        let mut ups = FakeUpsState::builder()
            .unsigned_access_tokens()
            .access_lifetime(plan.access_lifetime)
            .manual_clock(ups_clock.clone());
        for user in 0..plan.users {
            ups = ups.user(user_name(user), "a password of UPS.com");
        }
        let ups = ups.build().unwrap_or_else(|error| panic!("{error}"));
        let companies: Vec<_> = (0..plan.companies).map(company).collect();
        let index = companies.iter().cloned().zip(0..).collect();
        let ledger = Ledger::new(plan.companies, plan.users);
        Arc::new(Self {
            store: Mutex::new(MemoryStore::with_clock(clocks.of_store())),
            backup: Mutex::default(),
            broken,
            clocks,
            ups,
            ups_clock,
            companies,
            index,
            dice: Mutex::new(dice),
            trace: Mutex::new(Trace::new(is_shown)),
            tally: Mutex::default(),
            ledger: Mutex::new(ledger),
            weather: Mutex::new(Weather { is_calm: true, ..Weather::default() }),
            slots: Mutex::default(),
            story: Mutex::default(),
            asked: AtomicU64::new(0),
            written: tokio::sync::Notify::new(),
            held: Mutex::default(),
            plan,
        })
    }

    /// The current store; a restored backup replaces it.
    pub(crate) fn store(&self) -> MemoryStore {
        lock(&self.store).clone()
    }

    /// Makes a backup of the store.
    pub(crate) fn back_up(&self) {
        let copy = self.store().backup(self.clocks.of_store());
        let known = self.ledger(|ledger| ledger.companies.clone());
        *lock(&self.backup) = Some((copy, known));
    }

    /// Replaces the store by the backup, if there is one. No process may be running.
    pub(crate) fn restore(&self) -> bool {
        let Some((copy, known)) = lock(&self.backup).take() else { return false };
        *lock(&self.store) = copy;
        lock(&self.held).clear();
        let store_now = self.clocks.store_micros();
        self.ledger(|ledger| ledger.restored(known, store_now));
        true
    }

    pub(crate) fn now(&self) -> u64 {
        self.clocks.micros()
    }

    pub(crate) fn index_of(&self, company: &CompanyId) -> usize {
        self.index[company]
    }

    pub(crate) fn dice(&self) -> MutexGuard<'_, Dice> {
        lock(&self.dice)
    }

    pub(crate) fn weather(&self) -> MutexGuard<'_, Weather> {
        lock(&self.weather)
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        lock(&self.slots)
    }

    /// Writes a line to the trace.
    pub(crate) fn note(&self, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        lock(&self.trace).note(self.now(), who, what);
    }

    /// Records a fault.
    pub(crate) fn suffers(&self, fault: Fault, who: impl fmt::Display) {
        lock(&self.tally).count(fault);
        self.note(who, format_args!("! {}", fault.words()));
    }

    /// Calls the ledger. The first violation is kept with the lines before it.
    pub(crate) fn ledger<T>(&self, tell: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = lock(&self.ledger);
        let was_right = ledger.violation.is_none();
        let told = tell(&mut ledger);
        if let Some(violation) = ledger.violation.as_ref().filter(|_| was_right) {
            self.note("", format_args!("VIOLATION {violation}"));
            *lock(&self.story) = Some(lock(&self.trace).tail());
        }
        told
    }

    pub(crate) fn is_violated(&self) -> bool {
        lock(&self.story).is_some()
    }

    pub(crate) fn story(&self) -> Option<Vec<String>> {
        lock(&self.story).clone()
    }

    pub(crate) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// The number of trace lines, and their hash.
    pub(crate) fn trace(&self) -> (u64, u64) {
        let trace = lock(&self.trace);
        (trace.lines(), trace.hash())
    }

    /// A point at which a process may be killed, stopped past its lease, or suspended with its machine.
    pub(crate) async fn befalls(self: &Arc<Self>, slot: usize, incarnation: Incarnation, death: Fault) {
        if self.weather().is_calm || !self.dice().chance(self.plan.deaths) {
            return;
        }
        let what = self.dice().below(10);
        match what {
            0..6 => {
                self.suffers(death, format_args!("p{slot}"));
                self.kill(slot, incarnation);
                std::future::pending().await
            }
            6..9 => {
                self.stop_for_a_while(slot, Fault::FrozenPastLease);
                // Its task continues when the process does.
                tokio::task::yield_now().await;
            }
            _ => self.suspend(),
        }
    }

    /// A process is stopped, or its store is silent or unavailable.
    pub(crate) fn hindered(&self, incarnation: Incarnation) {
        let now = self.now();
        self.ledger(|ledger| ledger.hindered(incarnation, now));
    }

    /// Kills a process: its tasks stop, and its work in hand is lost.
    pub(crate) fn kill(&self, slot: usize, incarnation: Incarnation) {
        let handle = {
            let mut slots = self.slots();
            let of = &mut slots[slot];
            if of.incarnation != incarnation {
                return;
            }
            of.gate.kill();
            of.auth.take()
        };
        self.ledger(|ledger| ledger.died(incarnation));
        drop(handle);
    }

    /// A running process's gate and handle.
    pub(crate) fn process(&self, slot: usize) -> Option<(Incarnation, Gate, batchsuite_auth::BatchSuiteAuth)> {
        let slots = self.slots();
        let of = &slots[slot];
        Some((of.incarnation, of.gate.clone(), of.auth.clone()?))
    }

    /// A distinct delay for each caller: tokio draws the order in which waiters of one flight wake.
    pub(crate) fn own_moment(&self) -> Duration {
        Duration::from_millis(self.asked.fetch_add(1, Relaxed) % 97)
    }

    /// Waits this long in the world.
    pub(crate) async fn pause(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

fn company(number: usize) -> CompanyId {
    CompanyId::new(format!("company-{number}")).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("plan", &self.plan).finish_non_exhaustive()
    }
}
