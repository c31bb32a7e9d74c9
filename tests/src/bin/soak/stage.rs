//! The processes: a UPS, a database, and a service of several workers, each with its own connections.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use batchsuite_auth::store::Store;
use batchsuite_tests::{
    Backend, Database, ShiftedClock, UpsProcess, Worker, open_store,
    postgres::{Log, Server},
    proxy::{Proxy, Target, Watcher},
    sibling,
    sqlite::TestFile,
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    ledger::{Ledger, Process},
    wire::Reader,
};

pub(crate) const COMPANIES: usize = 30;
const WORKERS: usize = 4;
/// A token is refreshed in its last quarter.
const ACCESS_LIFETIME: Duration = Duration::from_secs(8);
/// How long to wait for a worker's answer.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Stage {
    pub(crate) backend: Backend,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) database: Database,
    /// The driver's own connection to the database, used only for reading.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) slots: Vec<Slot>,
    /// The database's small file system.
    pub(crate) disk: PathBuf,
    pub(crate) logs: PathBuf,
    ups: UpsProcess,
}

/// A worker's place: a killed worker is replaced.
pub(crate) struct Slot {
    pub(crate) ups: Proxy,
    /// `None`: a file has no server.
    pub(crate) database: Option<Proxy>,
    worker: Mutex<Option<Arc<Worker>>>,
    /// Its process's number in the ledger.
    process: Arc<AtomicUsize>,
}

/// The response of UPS's API to an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Accepted,
    Expired,
    Refused,
}

impl Stage {
    /// Sets up everything except the workers. `scratch` contains the directories `disk`, which becomes a separate file
    /// system, and `logs`.
    pub(crate) async fn set(backend: Backend, scratch: &Path) -> Self {
        let disk = scratch.join("disk");
        let size = if backend == Backend::Postgres { c"size=400m" } else { c"size=48m" };
        mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), size).expect("a private mount namespace: run tests/soak");
        let database = match backend {
            Backend::Postgres => {
                let settings = "-c max_wal_size=64MB -c min_wal_size=32MB";
                let server = tokio::task::block_in_place(|| Server::start_with(Log::Normal, &[], settings));
                Database::on(Box::leak(Box::new(server))).await
            }
            Backend::Sqlite => Database::Sqlite(TestFile::new()),
        };
        let [place, schema] = database.place();
        let store = open_store(&place, &schema, ShiftedClock::default()).await.expect("a store");
        let ledger = Arc::new(Ledger::default());
        ledger.book().companies.resize_with(COMPANIES, Default::default);
        let ups = UpsProcess::start(&sibling("fake-ups"), ACCESS_LIFETIME, (0..COMPANIES).map(user)).await;
        ledger.book().secrets.add("client secret", ups.client_secret());
        let mut stage =
            Self { backend, ledger, database, store, slots: Vec::new(), disk, logs: scratch.join("logs"), ups };
        for _ in 0..WORKERS {
            let slot = stage.slot().await;
            stage.slots.push(slot);
        }
        stage
    }

    async fn slot(&self) -> Slot {
        let process = Arc::new(AtomicUsize::new(0));
        let reader: Arc<dyn Watcher> = Arc::new(Reader::new(&self.ledger, &process));
        let ups = Proxy::to(Target::Address(self.ups.address()), Some(reader)).await;
        let database = match self.database.server() {
            Some(server) => Some(Proxy::before(server).await),
            None => None,
        };
        Slot { ups, database, worker: Mutex::default(), process }
    }

    /// Starts a process in an empty slot; retries while the database is out of order.
    pub(crate) async fn start(&self, slot: usize) {
        let [place, schema] = self.database.place();
        let slot = &self.slots[slot];
        let url = slot.database.as_ref().map_or(place, Proxy::url);
        let ups = format!("http://{}", slot.ups.address());
        loop {
            let number = {
                let mut book = self.ledger.book();
                book.processes.push(Process::default());
                book.processes.len() - 1
            };
            slot.process.store(number, SeqCst);
            let log = self.logs.join(format!("worker-{number}.log"));
            let arguments = [
                &*url,
                &schema,
                &ups,
                UpsProcess::CLIENT_ID,
                self.ups.client_secret(),
                "0",
                "keeper",
                "1",
                "-",
                &log.to_string_lossy(),
            ];
            let worker = Worker::try_start(&sibling("worker").to_string_lossy(), &arguments).await;
            if let Some(worker) = worker {
                *slot.worker() = Some(Arc::new(worker));
                return;
            }
            self.ledger.book().processes[number].killed = Some(Instant::now());
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// kill -9.
    pub(crate) fn kill(&self, slot: usize) {
        if let Some(worker) = self.slots[slot].worker().take() {
            worker.shoot();
            self.ledger.book().processes[self.slots[slot].process.load(SeqCst)].killed = Some(Instant::now());
        }
    }

    /// SIGSTOP, then SIGCONT if the process is still alive.
    pub(crate) async fn stop_for(&self, slot: usize, time: Duration) {
        let Some(worker) = self.slots[slot].worker().clone() else { return };
        let number = self.slots[slot].process.load(SeqCst);
        self.ledger.book().processes[number].stops.push((Instant::now(), None));
        worker.freeze();
        sleep(time).await;
        worker.thaw();
        if let Some(stop) = self.ledger.book().processes[number].stops.last_mut() {
            stop.1 = Some(Instant::now());
        }
    }

    fn is_stopped(&self, slot: &Slot) -> bool {
        let stops = &self.ledger.book().processes[slot.process.load(SeqCst)].stops;
        stops.last().is_some_and(|stop| stop.1.is_none())
    }

    /// Sends an order to some worker that is not stopped.
    pub(crate) async fn ask(&self, random: &mut StdRng, order: Value) -> Option<Value> {
        let able: Vec<_> = self.slots.iter().filter(|slot| !self.is_stopped(slot)).collect();
        let worker = able.choose(random)?.worker().clone();
        match worker {
            Some(worker) => worker.try_ask(order, PATIENCE).await,
            None => {
                sleep(Duration::from_millis(random.random_range(50..200))).await;
                None
            }
        }
    }

    /// Calls a control of the UPS.
    pub(crate) async fn control(&self, switch: &str, input: Value) -> Value {
        self.ups.control(switch, input).await
    }

    /// The number of requests with this outcome at the UPS's refresh endpoint.
    pub(crate) async fn refreshes(&self, outcome: &str) -> u64 {
        self.ups.refreshes().await[outcome].as_u64().unwrap_or_default()
    }

    /// Uses an access token.
    pub(crate) async fn check(&self, token: &str) -> Checked {
        let request =
            http::Request::get(format!("http://{}/api/track/v1/details/1Z999AA10123456784", self.ups.address()))
                .header("authorization", format!("Bearer {token}"))
                .header("transId", "t-1")
                .header("transactionSrc", "soak");
        match self.ups.send(request, String::new()).await {
            (200, _) => Checked::Accepted,
            (_, answer) if answer.to_string().contains("251004") => Checked::Expired,
            _ => Checked::Refused,
        }
    }
}

impl Slot {
    fn worker(&self) -> std::sync::MutexGuard<'_, Option<Arc<Worker>>> {
        self.worker.lock().expect("no thread panicked with the lock")
    }
}

/// A company's UPS.com login.
pub(crate) fn user(company: usize) -> String {
    format!("user-{company}@example.com")
}

pub(crate) fn name(company: usize) -> String {
    format!("company-{company}")
}

/// An order to a worker.
pub(crate) fn order(verb: &str, company: usize) -> Value {
    json!({"do": verb, "company": name(company)})
}
