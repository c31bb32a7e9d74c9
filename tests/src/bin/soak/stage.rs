//! The processes: a UPS, a database, and a service of several workers, each with its own connections.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use batchsuite_auth::{
    http::{HttpClient as _, ReqwestClient},
    store::Store,
};
use batchsuite_tests::{
    Backend, Database, ShiftedClock, Worker, open_store,
    postgres::{Log, Server},
    proxy::{Proxy, Target, Watcher},
    sqlite::TestFile,
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    ledger::{Ledger, Process},
    wire::Reader,
};

pub(crate) const COMPANIES: usize = 30;
const WORKERS: usize = 4;
/// In seconds. A token is refreshed in its last quarter.
const ACCESS_LIFETIME: &str = "8";
const CLIENT_ID: &str = "soak-client";
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
    ups: SocketAddr,
    http: ReqwestClient,
    client_secret: String,
    _ups: Child,
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
        let client_secret = format!("soak-secret-{:032x}", rand::random::<u128>());
        ledger.book().secrets.add("client secret", client_secret.clone());
        let (child, ups) = start_ups(&client_secret).await;
        let http = ReqwestClient::builder().allow_loopback_http().build().expect("a client");
        let mut stage = Self {
            backend,
            ledger,
            database,
            store,
            slots: Vec::new(),
            disk,
            logs: scratch.join("logs"),
            ups,
            http,
            client_secret,
            _ups: child,
        };
        for _ in 0..WORKERS {
            let slot = stage.slot().await;
            stage.slots.push(slot);
        }
        stage
    }

    async fn slot(&self) -> Slot {
        let process = Arc::new(AtomicUsize::new(0));
        let reader: Arc<dyn Watcher> = Arc::new(Reader::new(&self.ledger, &process));
        let ups = Proxy::to(Target::Address(self.ups), Some(reader)).await;
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
            let arguments =
                [&*url, &schema, &ups, CLIENT_ID, &self.client_secret, "0", "keeper", "1", "-", &log.to_string_lossy()];
            let worker = Worker::try_start(&program("worker").to_string_lossy(), &arguments).await;
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
        let request = http::Request::post(format!("http://{}/__fake/{switch}", self.ups));
        let (status, answer) = self.send(request, input.to_string()).await;
        assert_eq!(status, 200, "{switch}: {answer}");
        answer
    }

    /// The number of requests with this outcome at the UPS's refresh endpoint.
    pub(crate) async fn refreshes(&self, outcome: &str) -> u64 {
        let request = http::Request::get(format!("http://{}/__fake/requests", self.ups));
        self.send(request, String::new()).await.1["refresh"][outcome].as_u64().unwrap_or_default()
    }

    /// Uses an access token.
    pub(crate) async fn check(&self, token: &str) -> Checked {
        let request = http::Request::get(format!("http://{}/api/track/v1/details/1Z999AA10123456784", self.ups))
            .header("authorization", format!("Bearer {token}"))
            .header("transId", "t-1")
            .header("transactionSrc", "soak");
        match self.send(request, String::new()).await {
            (200, _) => Checked::Accepted,
            (_, answer) if answer.to_string().contains("251004") => Checked::Expired,
            _ => Checked::Refused,
        }
    }

    async fn send(&self, request: http::request::Builder, body: String) -> (u16, Value) {
        let answer = self.http.send(request.body(body.into_bytes()).expect("a request")).await;
        let answer = answer.expect("the UPS answers");
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
    }
}

impl Slot {
    fn worker(&self) -> std::sync::MutexGuard<'_, Option<Arc<Worker>>> {
        self.worker.lock().expect("no thread panicked with the lock")
    }
}

/// A binary built together with this one.
fn program(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program").with_file_name(name);
    assert!(fs::exists(&program).is_ok_and(|there| there), "{} is missing: run tests/soak", program.display());
    program
}

/// A UPS where each company has its own login.
async fn start_ups(client_secret: &str) -> (Child, SocketAddr) {
    let mut command = Command::new(program("fake-ups"));
    command.args(["--listen", "127.0.0.1:0", "--access-lifetime", ACCESS_LIFETIME]);
    command.args(["--client-id", CLIENT_ID, "--client-secret", client_secret]);
    command.args(["--redirect-uri", "http://localhost:3000/callback"]);
    for company in 0..COMPANIES {
        command.args(["--user", &format!("{}:first-password", user(company))]);
    }
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("fake-ups starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines.next_line().await.expect("the output of fake-ups").expect("a line");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    // Its output is no longer read, and it writes nothing more.
    (child, address.unwrap_or_else(|| panic!("no address: {line}")))
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
