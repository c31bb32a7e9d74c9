//! What every test here begins with: a UPS, a store, and one or more processes over them.
//!
//! Most tests run on tokio's paused time: its timers go by as soon as everybody waits. The wall clock of UPS, store and
//! processes is moved by hand; [`Stage::live`] lets both pass together.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    AccessToken, BatchSuiteAuth, BatchSuiteAuthBuilder, Client, CompanyId, Environment, EventFilter, OptedIn, Policy,
    error::{CallbackError, TokenError},
    events::{Event, EventKind},
    fake_ups::{Endpoint, FakeUps, Outcome},
    machine::{CauseKind, OptIn},
    status::Status,
    store::{Snapshot, Store},
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{FlakyStore, Gate, HOUR, Hold, acme, ada, key, seconds};
use tokio::{task::JoinHandle, time::sleep};

/// A call of `access_token` in a task of its own.
pub(crate) type Caller = JoinHandle<Result<AccessToken, TokenError>>;

/// A UPS and a store, for any number of processes.
pub(crate) struct Stage {
    pub(crate) ups: FakeUps,
    pub(crate) store: MemoryStore,
}

/// One process: its authenticator, and its own ways to the store and to UPS.
pub(crate) struct Process {
    pub(crate) auth: BatchSuiteAuth,
    pub(crate) store: Arc<FlakyStore>,
    pub(crate) http: Arc<Gate>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::over(FakeUps::start().await)
    }

    pub(crate) fn over(ups: FakeUps) -> Self {
        Self { store: MemoryStore::with_clock(ups.clock()), ups }
    }

    /// A process without a keeper, on the [`policy`] of these tests.
    pub(crate) fn process(&self) -> Process {
        self.process_with(|builder| builder.without_keeper())
    }

    pub(crate) fn process_with_policy(&self, change: impl FnOnce(&mut Policy)) -> Process {
        let mut policy = policy();
        change(&mut policy);
        self.process_with(|builder| builder.without_keeper().policy(policy))
    }

    /// A process that is configured as another client.
    pub(crate) fn process_as(&self, client: Client) -> Process {
        self.build(client, |builder| builder.without_keeper())
    }

    pub(crate) fn process_with(
        &self,
        settings: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder,
    ) -> Process {
        self.build(Client::new(self.ups.client_id(), self.ups.client_secret()), settings)
    }

    fn build(&self, client: Client, settings: impl FnOnce(BatchSuiteAuthBuilder) -> BatchSuiteAuthBuilder) -> Process {
        let store = Arc::new(FlakyStore::over(self.store.clone()));
        let http = Arc::new(Gate::before(self.ups.in_process()));
        let builder = BatchSuiteAuth::builder(Environment::Cie, client)
            .base_url(self.ups.base_url())
            .redirect_uri(self.ups.redirect_uri())
            .clock(self.ups.clock())
            .policy(policy())
            .http(Arc::clone(&http))
            .store(Arc::clone(&store));
        let auth = settings(builder).build().unwrap();
        Process { auth, store, http }
    }

    /// `company` opts in, by way of `process`.
    pub(crate) async fn opt_in(&self, process: &Process, company: &CompanyId) {
        let trip = process.auth.authenticate(company, &ada()).await.unwrap();
        let query = self.ups.consent(&trip.url, FakeUps::USER).await;
        process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap();
    }

    /// A caller of acme, whose access token has ended, and UPS's answer to its refresh, which is held up.
    pub(crate) async fn caller_before_the_answer(&self, process: &Process) -> (Hold, Caller) {
        self.access_tokens_end();
        let answer = process.http.hold_answer();
        let caller = process.caller(&acme());
        answer.reached().await;
        (answer, caller)
    }

    /// Ada's callback for acme, and UPS's answer to its exchange, which is held up.
    pub(crate) async fn callback_before_the_answer(
        &self,
        process: &Process,
    ) -> (Hold, JoinHandle<Result<OptedIn, CallbackError>>) {
        let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
        let query = self.ups.consent(&trip.url, FakeUps::USER).await;
        let answer = process.http.hold_answer();
        let callback = tokio::spawn({
            let auth = process.auth.clone();
            async move { auth.callback(&ada(), &query, &trip.browser_secret).await }
        });
        answer.reached().await;
        (answer, callback)
    }

    /// Time passes, for everybody: the wall clock and tokio's.
    pub(crate) async fn live(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.ups.clock().advance(seconds(1));
            sleep(seconds(1)).await;
        }
    }

    /// The access tokens end: everybody's wall clock is an hour later.
    pub(crate) fn access_tokens_end(&self) {
        self.ups.clock().advance(HOUR);
    }

    /// The access tokens enter the early window.
    pub(crate) fn refreshes_are_due(&self) {
        self.ups.clock().advance(HOUR - seconds(600));
    }

    /// How many rotations UPS did.
    pub(crate) fn rotations(&self) -> u64 {
        self.ups.requests().count(Endpoint::Refresh, Outcome::Ok)
    }

    /// How many refreshes reached UPS.
    pub(crate) fn refreshes(&self) -> u64 {
        self.ups.requests().total(Endpoint::Refresh)
    }

    pub(crate) async fn row(&self, company: &CompanyId) -> Snapshot {
        self.store.load(&key(company)).await.unwrap()
    }

    pub(crate) async fn opt_in_of(&self, company: &CompanyId) -> OptIn {
        self.row(company).await.opt_in
    }
}

impl Process {
    pub(crate) async fn token(&self, company: &CompanyId) -> AccessToken {
        self.auth.access_token(company).await.unwrap_or_else(|error| panic!("{company}: {error:?}"))
    }

    /// A caller that nobody waits for.
    pub(crate) fn caller(&self, company: &CompanyId) -> Caller {
        let (auth, company) = (self.auth.clone(), company.clone());
        tokio::spawn(async move { auth.access_token(&company).await })
    }

    /// Why the company has to opt in again, if it has to.
    pub(crate) async fn cause(&self, company: &CompanyId) -> Option<CauseKind> {
        match self.auth.status(company).await.unwrap().status {
            Status::ReauthRequired(cause) => Some(cause.kind),
            _ => None,
        }
    }

    pub(crate) async fn events(&self, company: &CompanyId) -> Vec<Event> {
        let filter = EventFilter { company: Some(company.clone()), limit: Some(100_000), ..EventFilter::default() };
        self.auth.events(filter).await.unwrap().items
    }

    pub(crate) async fn kinds(&self, company: &CompanyId) -> Vec<EventKind> {
        self.events(company).await.into_iter().map(|event| event.kind).collect()
    }
}

/// The default policy, with a feed that is read every second: paused time would look like a clock that is set. A call of the
/// store that is held up stands for a process that is stopped in it, so the call is not given up and repeated.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.feed_interval = seconds(1);
    policy.store_deadline = HOUR;
    policy
}
