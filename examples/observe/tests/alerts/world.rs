//! A service whose companies are in use, and its scrapes, in virtual time.

use std::{
    slice,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use batchsuite_auth::{ActorId, Client, CompanyId, DeliveryHandle, Event, HandlerError, Policy, fake_ups::FakeUps};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{FlakyStore, Gate, HOUR, Process, company, seconds};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::sleep;

use crate::promtool::{INTERVAL, Scrapes};
use example_observe::metrics::rendered;

/// The UPS.com user who authenticates company 0. All others are of the default user.
pub(crate) const OWNER: &str = "owner@example.com";
/// How long a healthy service runs before a fault: longer than every window of the rules.
pub(crate) const BEFORE: u64 = 20 * 60;

pub(crate) struct World {
    pub(crate) ups: FakeUps,
    store: MemoryStore,
    pub(crate) process: Process,
    pub(crate) handler: Handler,
    pub(crate) scrapes: Scrapes,
    /// These are asked for all the time.
    pub(crate) used: Vec<CompanyId>,
    delivery: DeliveryHandle,
    exporter: PrometheusHandle,
}

/// How the handler of the delivery behaves.
#[derive(Clone, Default)]
pub(crate) struct Handler(Arc<AtomicU8>);

impl Handler {
    const FAILS: u8 = 1;
    const HANGS: u8 = 2;
    const GIVES_UP: u8 = 3;

    pub(crate) fn fails(&self) {
        self.0.store(Self::FAILS, Relaxed);
    }

    pub(crate) fn hangs(&self) {
        self.0.store(Self::HANGS, Relaxed);
    }

    pub(crate) fn gives_up(&self) {
        self.0.store(Self::GIVES_UP, Relaxed);
    }

    async fn handle(self) -> Result<(), HandlerError> {
        match self.0.load(Relaxed) {
            Self::FAILS => Err(HandlerError::new("the mail server is away")),
            Self::HANGS => std::future::pending().await,
            Self::GIVES_UP => Err(HandlerError::stop("nobody listens any more")),
            _ => Ok(()),
        }
    }
}

/// A held call of the store stands for one that hangs, so its deadline does not end it.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.feed_interval = seconds(1);
    policy.store_deadline = HOUR;
    policy
}

async fn start(
    ups: &FakeUps,
    client: Client,
    store: &MemoryStore,
    handler: &Handler,
    policy: Policy,
) -> (Process, DeliveryHandle) {
    let (store, http) = (Arc::new(FlakyStore::over(store.clone())), Arc::new(Gate::before(ups.in_process())));
    let process = Process::start(ups, client, store, http, |builder| builder.policy(policy));
    let handler = handler.clone();
    let delivery = process.auth.deliver("mails", move |_: Event| handler.clone().handle()).unwrap();
    delivery.begun().await;
    (process, delivery)
}

impl World {
    /// `companies` opt in; their access tokens live for two minutes.
    pub(crate) async fn new(companies: usize, policy: Policy, exporter: PrometheusHandle) -> Self {
        let ups = FakeUps::builder().access_lifetime(seconds(120)).user(FakeUps::USER, FakeUps::PASSWORD);
        let ups =
            ups.user(OWNER, "secret").client(FakeUps::CLIENT_ID, FakeUps::CLIENT_SECRET).client("other", "secret");
        let ups = ups.start().await;
        let store = MemoryStore::with_clock(ups.clock());
        let client = Client::new(ups.client_id(), ups.client_secret());
        let handler = Handler::default();
        let (process, delivery) = start(&ups, client, &store, &handler, policy).await;
        let mut used: Vec<_> = (0..companies).map(|number| company(&format!("company {number}"))).collect();
        for (number, company) in used.iter().enumerate() {
            let actor = ActorId::new(format!("actor {number}")).unwrap();
            let trip = process.auth.authenticate(company, &actor).await.unwrap();
            let query = match number {
                0 => ups.consent_with_password(&trip.url, OWNER, "secret").await,
                _ => ups.consent(&trip.url, FakeUps::USER).await,
            };
            process.auth.callback(&actor, &query, &trip.browser_secret).await.unwrap();
        }
        used.truncate(4);
        Self { ups, store, process, handler, scrapes: Scrapes::default(), used, delivery, exporter }
    }

    /// The service stops, and starts as this client.
    pub(crate) async fn restart_as(&mut self, client: Client) {
        self.process.auth.shutdown().await;
        let started = start(&self.ups, client, &self.store, &self.handler, policy()).await;
        (self.process, self.delivery) = started;
    }

    /// Lets time pass, with callers and scrapes.
    pub(crate) async fn live(&mut self, time: Duration) {
        for _ in 0..time.as_secs() / INTERVAL {
            for company in &self.used {
                drop(self.process.caller(company));
            }
            for _ in 0..INTERVAL {
                self.ups.clock().advance(seconds(1));
                sleep(seconds(1)).await;
            }
            self.scrapes.add(&rendered(&self.process.auth, slice::from_ref(&self.delivery), &self.exporter));
        }
    }
}
