//! The common setup of the tests: a service, its store, its UPS, and people.

use std::{
    collections::BTreeSet,
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use batchsuite_auth::{
    AccessToken, ActorId, BrowserSecret, Client, ClientAuthentication, CompanyId, Environment, OptedIn, Policy,
    clock::Timestamp,
    error::{CallbackError, TokenError, Unavailable},
    events::{Event, EventKind},
    fake_ups::{Endpoint, FakeUps, Fault, Outcome, Requests, Times},
    http::{HttpClient, ReqwestClient},
    status::{Cause, CompanyStatus, Status},
    store::{RowKey, Store, StoredTokens},
    test_util::ManualClock,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{FlakyStore, Gate, Process, acme, ada, events};
use chrono::TimeDelta;
use futures_util::FutureExt;
use http::Request;

/// The lease of a refresh.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// One service process, the store and the UPS behind it, and a company with its administrator.
///
/// On drop, it searches the event log and every error that a test was given for secrets.
pub(crate) struct World {
    pub(crate) ups: FakeUps,
    pub(crate) company: CompanyId,
    pub(crate) actor: ActorId,
    /// The service's clock. It is also UPS's clock, unless a test separates them.
    pub(crate) clock: ManualClock,
    process: Process,
    policy: Policy,
    network: Arc<dyn HttpClient>,
    /// The connections of all processes to UPS.
    gates: Mutex<Vec<Arc<Gate>>>,
    told: Mutex<Vec<String>>,
    secrets: Mutex<Vec<String>>,
}

/// Settings that a test can change.
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) authentication: ClientAuthentication,
    pub(crate) http: ReqwestClient,
    /// Whether UPS is called in this process, without a network.
    pub(crate) in_process: bool,
    /// A separate clock for the service.
    pub(crate) clock: Option<ManualClock>,
}

/// A browser's return from UPS.com.
#[derive(Clone)]
pub(crate) struct Back {
    /// The query of the callback.
    pub(crate) query: String,
    /// The code in it, undecoded.
    pub(crate) code: String,
    /// The state in it, undecoded.
    pub(crate) state: String,
    pub(crate) browser: BrowserSecret,
    pub(crate) actor: ActorId,
}

/// The state that a refused input must leave unchanged.
#[derive(Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) status: CompanyStatus,
    pub(crate) tokens: Option<(Option<String>, Option<String>)>,
    pub(crate) events: Vec<Event>,
    pub(crate) requests: Requests,
}

impl World {
    /// A company without an opt-in.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            policy: Policy::default(),
            authentication: ClientAuthentication::default(),
            http: reqwest(),
            in_process: false,
            clock: None,
        };
        setup.policy.commit_retry = Duration::from_millis(10);
        change(&mut setup);
        let ups = FakeUps::start().await;
        let clock = setup.clock.unwrap_or_else(|| ups.clock());
        let store = Arc::new(FlakyStore::over(MemoryStore::with_clock(clock.clone())));
        let network: Arc<dyn HttpClient> =
            if setup.in_process { Arc::new(ups.in_process()) } else { Arc::new(setup.http) };
        let client = Client::new(ups.client_id(), ups.client_secret()).with_authentication(setup.authentication);
        let process = start(&ups, client, store, &network, &clock, &setup.policy);
        Self {
            company: acme(),
            actor: ada(),
            gates: Mutex::new(vec![Arc::clone(&process.http)]),
            process,
            policy: setup.policy,
            network,
            told: Mutex::default(),
            secrets: Mutex::new(vec![ups.client_secret().to_owned()]),
            ups,
            clock,
        }
    }

    /// A company with an opt-in and a valid access token.
    pub(crate) async fn authenticated() -> Self {
        Self::new().await.opted_in().await
    }

    /// A company with an expired access token.
    pub(crate) async fn refresh_due() -> Self {
        let world = Self::authenticated().await;
        world.advance(2 * 3600);
        world
    }

    pub(crate) async fn opted_in(self) -> Self {
        self.opt_in(&self.company).await;
        self
    }

    /// Another process with the same store and UPS.
    pub(crate) fn another_process(&self, client: Client) -> Process {
        let process = start(&self.ups, client, Arc::clone(&self.store), &self.network, &self.clock, &self.policy);
        self.gates.lock().unwrap().push(Arc::clone(&process.http));
        process
    }

    /// Completes a consent.
    pub(crate) async fn opt_in(&self, company: &CompanyId) -> OptedIn {
        let back = self.back_for(company, &self.actor, None).await;
        self.callback(&back).await.unwrap()
    }

    /// A person consents at UPS.com; the callback is still to come.
    pub(crate) async fn back(&self) -> Back {
        self.back_for(&self.company, &self.actor, None).await
    }

    pub(crate) async fn back_for(&self, company: &CompanyId, actor: &ActorId, browser: Option<&BrowserSecret>) -> Back {
        let begin = self.auth.authenticate(company, actor);
        let begin = browser.into_iter().fold(begin, |begin, secret| begin.browser_secret(secret.clone()));
        let trip = begin.await.unwrap();
        let query = self.ups.consent(&trip.url, FakeUps::USER).await;
        let value = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.unwrap().to_owned()
        };
        let (code, state) = (value("code"), value("state"));
        self.secrets.lock().unwrap().extend([state.clone(), trip.browser_secret.expose_secret().to_owned()]);
        Back { code, state, browser: trip.browser_secret, actor: actor.clone(), query }
    }

    /// The browser returns with UPS's query.
    pub(crate) async fn callback(&self, back: &Back) -> Result<OptedIn, CallbackError> {
        self.callback_with(back, &back.query).await
    }

    /// The browser returns with another query.
    pub(crate) async fn callback_with(&self, back: &Back, query: &str) -> Result<OptedIn, CallbackError> {
        let done = self.auth.callback(&back.actor, query, &back.browser).await;
        done.inspect_err(|error| self.remember(error))
    }

    pub(crate) async fn token(&self) -> Result<AccessToken, TokenError> {
        self.token_of(&self.company).await
    }

    pub(crate) async fn token_of(&self, company: &CompanyId) -> Result<AccessToken, TokenError> {
        self.auth.access_token(company).await.inspect_err(|error| self.remember(error))
    }

    pub(crate) async fn status(&self) -> CompanyStatus {
        self.auth.status(&self.company).await.unwrap()
    }

    /// The whole log, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        events(&self.auth, None).await
    }

    /// The number of events of this kind.
    pub(crate) async fn count(&self, kind: EventKind) -> usize {
        self.events().await.iter().filter(|event| event.kind == kind).count()
    }

    /// The newest event of this kind.
    pub(crate) async fn last(&self, kind: EventKind) -> Event {
        let events = self.events().await;
        let last = events.iter().rev().find(|event| event.kind == kind);
        last.unwrap_or_else(|| panic!("no {kind} in {events:#?}")).clone()
    }

    pub(crate) async fn look(&self) -> Look {
        let key = RowKey::company(Environment::Cie, self.company.clone());
        let tokens = match self.store.load(&key).await.unwrap().tokens {
            StoredTokens::Readable(tokens) => {
                let access = tokens.access.map(|token| token.expose_secret().to_owned());
                Some((access, tokens.refresh.map(|token| token.expose_secret().to_owned())))
            }
            _ => None,
        };
        Look { status: self.status().await, tokens, events: self.events().await, requests: self.ups.requests() }
    }

    /// The number of requests to an endpoint of UPS.
    pub(crate) fn calls(&self, endpoint: Endpoint) -> u64 {
        self.ups.requests().total(endpoint)
    }

    /// The number of UPS's rotations.
    pub(crate) fn rotations(&self) -> u64 {
        self.ups.requests().count(Endpoint::Refresh, Outcome::Ok)
    }

    /// Sets a fault for the next answer of `endpoint`.
    #[track_caller]
    pub(crate) fn next(&self, endpoint: Endpoint, fault: impl Into<Fault>) {
        self.ups.fault(endpoint, fault, Times::Once);
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn now(&self) -> Timestamp {
        batchsuite_auth::clock::Clock::now(&self.clock)
    }

    /// The rounded time until `end`: a pair is dated from its request, and this clock keeps running.
    pub(crate) fn until(&self, end: Timestamp) -> TimeDelta {
        let rounded = end - self.now() + TimeDelta::milliseconds(500);
        rounded - TimeDelta::nanoseconds(rounded.subsec_nanos().into())
    }

    /// The status that UPS's protected API returns for a token.
    pub(crate) async fn track(&self, token: &AccessToken) -> u16 {
        let url = self.ups.base_url().join("/api/track/v1/details/1Z999AA10123456784").unwrap();
        let mut request = Request::get(url.as_str()).header("transId", "t-1").header("transactionSrc", "test");
        request.headers_mut().unwrap().insert("authorization", token.header().clone());
        reqwest().send(request.body(Vec::new()).unwrap()).await.unwrap().status().as_u16()
    }

    /// Keeps an error that a caller was given, to search it for secrets on drop.
    pub(crate) fn remember(&self, told: &(impl std::error::Error + 'static)) {
        let mut texts = self.told.lock().unwrap();
        let mut error: Option<&dyn std::error::Error> = Some(told);
        while let Some(link) = error {
            texts.push(format!("{link} {link:?}"));
            error = link.source();
        }
    }

    /// The secrets found in the event log or in callers' errors.
    fn leaks(&self) -> BTreeSet<String> {
        let mut secrets: BTreeSet<String> = self.gates.lock().unwrap().iter().flat_map(|gate| gate.secrets()).collect();
        secrets.extend(self.secrets.lock().unwrap().drain(..));
        // Short made-up values are not secrets, and could be found by chance.
        secrets.retain(|secret| secret.len() >= 12);
        let events = events(&self.auth, None).now_or_never().expect("this store answers at once");
        let shown = format!("{events:?} {:?}", self.told.lock().unwrap());
        secrets.retain(|secret| shown.contains(secret.as_str()));
        secrets
    }
}

impl Deref for World {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.store.come_back();
            assert_eq!(self.leaks(), BTreeSet::new(), "a secret was shown");
        }
    }
}

/// Without a keeper, so that only the test acts.
fn start(
    ups: &FakeUps,
    client: Client,
    store: Arc<FlakyStore>,
    network: &Arc<dyn HttpClient>,
    clock: &ManualClock,
    policy: &Policy,
) -> Process {
    let http = Arc::new(Gate::before(Arc::clone(network)));
    Process::start(ups, client, store, http, |builder| {
        builder.clock(clock.clone()).policy(policy.clone()).without_keeper()
    })
}

/// The HTTP adapter of a test. Its worlds share one adapter, because loading the system's certificates is most of its
/// cost.
fn reqwest() -> ReqwestClient {
    thread_local! {
        static HTTP: ReqwestClient = ReqwestClient::builder().allow_loopback_http().build().unwrap();
    }
    HTTP.with(ReqwestClient::clone)
}

/// The reason why no token is available, and the retry delay.
#[track_caller]
pub(crate) fn unavailable(outcome: Result<AccessToken, TokenError>) -> (Unavailable, Duration) {
    let error = outcome.expect_err("a token where there should be none");
    assert!(error.is_transient() && !error.needs_reauthorization(), "{error:?}");
    match error {
        TokenError::Unavailable { reason, retry_after } => {
            assert!(!retry_after.is_zero(), "a caller must know how long to wait");
            (reason, retry_after)
        }
        other => panic!("{other:?}"),
    }
}

/// The retry delay of a misconfiguration.
#[track_caller]
pub(crate) fn misconfigured(outcome: Result<AccessToken, TokenError>) -> Duration {
    let error = outcome.expect_err("a token where there should be none");
    assert!(!error.is_transient() && !error.needs_reauthorization(), "{error:?}");
    match error {
        TokenError::Misconfigured { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    }
}

/// The cause of a required new opt-in.
#[track_caller]
pub(crate) fn cause(outcome: Result<AccessToken, TokenError>) -> Cause {
    let error = outcome.expect_err("a token where there should be none");
    assert!(error.needs_reauthorization() && !error.is_transient(), "{error:?}");
    match error {
        TokenError::ReauthRequired(cause) => *cause,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_authenticated(status: &CompanyStatus) {
    assert!(matches!(status.status, Status::Authenticated { .. }), "{status:?}");
}
