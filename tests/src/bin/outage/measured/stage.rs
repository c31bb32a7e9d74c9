//! The processes: a UPS behind a port that can be closed, a database, and a service.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::store::Store;
use batchsuite_tests::{
    Backend, Database, ShiftedClock, UpsProcess, Worker, open_store,
    proxy::{Proxy, Sender, Target, Watcher, message},
    sibling,
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use url::Url;

use super::Plan;
use crate::traffic::Traffic;

/// Each caller asks this often.
const ASKS_EVERY: Duration = Duration::from_secs(5);
const USER: &str = "administrator@example.com";
/// This many people opt in at once.
const AT_ONCE: usize = 8;

pub(super) struct Stage {
    pub(super) ups: UpsProcess,
    /// The only way to UPS.
    pub(super) door: Proxy,
    reader: Arc<Reader>,
    pub(super) store: Arc<dyn Store>,
    workers: Vec<Arc<Worker>>,
    _database: Database,
}

/// What all callers of all processes were told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Since when each company has been served, in microseconds since 1970; `None`: it is not served.
    pub(super) served_since: Vec<Option<i64>>,
    pub(super) tokens: u64,
    pub(super) transient: u64,
    pub(super) wrong: Vec<String>,
}

impl Stage {
    /// Starts everything.
    pub(super) async fn set(plan: &Plan) -> Self {
        let database = Database::new(plan.backend).await;
        let [place, schema] = database.place();
        let store = open_store(&place, &schema, ShiftedClock::default()).await.expect("a store");
        let ups = UpsProcess::start(&sibling("fake-ups"), plan.access_lifetime(), [USER.to_owned()]).await;
        let reader = Arc::new(Reader::new());
        let door = Proxy::to(Target::Address(ups.address()), Some(Arc::clone(&reader) as _)).await;
        let url = format!("http://{}", door.address());
        let mut workers = Vec::new();
        for _ in 0..plan.processes {
            let (id, secret) = (UpsProcess::CLIENT_ID, ups.client_secret());
            let arguments = [&*place, &schema, &url, id, secret, "0", "keeper", "default", "-"];
            workers.push(Arc::new(Worker::start(&sibling("worker").to_string_lossy(), &arguments).await));
        }
        Self { ups, door, reader, store, workers, _database: database }
    }

    pub(super) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.reader.traffic()
    }

    /// Each company's administrator opts in.
    pub(super) async fn opt_in(self: &Arc<Self>, companies: usize) {
        let mut people = JoinSet::new();
        for company in 0..companies {
            if people.len() >= AT_ONCE {
                people.join_next().await.expect("a person").expect("an opt-in");
            }
            let stage = Arc::clone(self);
            people.spawn(async move { stage.opts_in(company).await });
        }
        people.join_all().await;
    }

    async fn opts_in(&self, company: usize) {
        let worker = &self.workers[company % self.workers.len()];
        let trip = worker.ask(json!({"do": "authenticate", "company": format!("company-{company}")})).await;
        let consent = self.ups.control("consent", json!({"authorize_url": trip["url"], "user": USER})).await;
        let callback: Url = consent["callback"].as_str().and_then(|url| url.parse().ok()).expect("a way back");
        let back = json!({"do": "callback", "query": callback.query(), "browser": trip["browser"]});
        let told = worker.ask(back).await;
        assert_eq!(told["done"], true, "company-{company}: {told}");
    }

    /// Each company gets a caller, in one of the processes.
    pub(super) async fn serve(&self, companies: usize) {
        for (first, worker) in self.workers.iter().enumerate() {
            let every = u64::try_from(ASKS_EVERY.as_millis()).unwrap_or(u64::MAX);
            let order = json!({
                "do": "serve", "company": "company", "first": first, "step": self.workers.len(),
                "companies": companies, "every": every,
            });
            worker.ask(order).await;
        }
    }

    pub(super) async fn told(&self) -> Told {
        let mut told = Told::default();
        for worker in &self.workers {
            let mut by_this = worker.ask(json!({"do": "served"})).await;
            let number = |name: &str, by: &Value| by[name].as_u64().unwrap_or_default();
            told.tokens += number("tokens", &by_this);
            told.transient += number("transient", &by_this);
            let list = |name: &str, by: &mut Value| by[name].as_array_mut().map(mem::take).unwrap_or_default();
            told.served_since.extend(list("served_since", &mut by_this).iter().map(Value::as_i64));
            let wrong = list("wrong", &mut by_this);
            told.wrong.extend(wrong.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        told
    }

    /// Waits until all companies have been served without a failure since some time, or for this long.
    pub(super) async fn until_all_are_served(&self, patience: Duration) -> Told {
        let began = Instant::now();
        loop {
            let told = self.told().await;
            if told.served_since.iter().all(Option::is_some) || began.elapsed() > patience {
                return told;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Counts the refreshes that pass on their way to UPS.
#[derive(Debug)]
struct Reader {
    began: Instant,
    traffic: Mutex<Traffic>,
    requests: Mutex<HashMap<u64, Vec<u8>>>,
}

impl Reader {
    fn new() -> Self {
        Self { began: Instant::now(), traffic: Mutex::default(), requests: Mutex::default() }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Reader {
    fn came(&self, connection: u64, sender: Sender, bytes: &[u8]) -> bool {
        if sender == Sender::Server {
            return true;
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let request = requests.entry(connection).or_default();
        request.extend_from_slice(bytes);
        let Some((head, _)) = message(request) else { return false };
        if head.starts_with("POST /security/v1/oauth/refresh ") {
            let mut traffic = self.traffic();
            traffic.came(self.began.elapsed());
        }
        requests.remove(&connection);
        true
    }

    fn passed(&self, _: u64, _: Sender) {}
}

/// The store of this name.
pub(super) fn backend(name: &str) -> Option<Backend> {
    match name {
        "postgres" => Some(Backend::Postgres),
        "sqlite" => Some(Backend::Sqlite),
        _ => None,
    }
}
