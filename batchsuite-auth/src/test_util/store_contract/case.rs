//! What the clauses are written with: a store of their own, and requests that fit each other.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet};
use url::Url;

use super::Harness;
use crate::{
    clock::Timestamp,
    config::Environment,
    events::{Event, EventId, EventKind, Evidence},
    ids::{ActorId, AttemptId, CompanyId, ConsentId},
    machine::{OptIn, Verdict},
    secret::{AccessTokenSecret, BrowserSecret, PkceVerifier, RefreshToken, SecretHash},
    store::{
        ClaimRefresh, Claimed, CommitRefresh, Committed, Connect, Connected, DueQuery, EventOrder, EventQuery,
        GiveBack, GrantKey, ListQuery, NewConsent, NewEvent, NewPair, SettleRefresh, Snapshot, Store, StoreError,
        TakeConsent, TakenConsent, WarnExpiring, Written,
    },
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A consent's time to live.
pub(super) const LIFETIME: Duration = Duration::from_secs(10 * 60);
pub(super) const LEASE: Duration = Duration::from_secs(10 * 60);
/// From when on an access token of [`pair`] should be refreshed.
pub(super) const EARLY: Duration = Duration::from_secs(3 * 3600);
pub(super) const ACCESS_LIFETIME: Duration = Duration::from_secs(4 * 3600);
pub(super) const REFRESH_LIFETIME: Duration = Duration::from_secs(60 * 24 * 3600);

pub(super) const CLIENT: &str = "our-client";
/// In every secret that a clause stores.
pub(super) const CANARY: &str = "canary";

/// One clause's own store.
pub(super) struct Case {
    pub(super) store: Arc<dyn Store>,
    harness: Arc<dyn Harness>,
}

impl Case {
    pub(super) async fn new(harness: Arc<dyn Harness>) -> Self {
        Self { store: harness.fresh().await, harness }
    }

    pub(super) async fn advance(&self, by: Duration) {
        self.harness.advance(by).await;
    }

    pub(super) async fn set_back(&self, by: Duration) {
        self.harness.set_back(by).await;
    }

    pub(super) async fn begin(&self, consent: &NewConsent) {
        done(self.store.begin_consent(consent.clone()).await);
    }

    pub(super) async fn take(&self, take: TakeConsent) -> TakenConsent {
        done(self.store.take_consent(take).await)
    }

    pub(super) async fn connect(&self, connect: Connect) -> Connected {
        done(self.store.connect(connect).await)
    }

    /// An authenticated company with `pair("1")`.
    pub(super) async fn authenticated(&self, key: &GrantKey) -> Snapshot {
        let removals = self.load(key).await.opt_in.removals;
        stored(self.connect(Connect { removals, ..connect(key) }).await)
    }

    /// An authenticated company with this pair.
    pub(super) async fn authenticated_with(&self, key: &GrantKey, pair: NewPair) -> Snapshot {
        stored(self.connect(Connect { pair, ..connect(key) }).await)
    }

    pub(super) async fn load(&self, key: &GrantKey) -> Snapshot {
        done(self.store.load(key).await)
    }

    pub(super) async fn claim(&self, claim: ClaimRefresh) -> Claimed {
        done(self.store.claim_refresh(claim).await)
    }

    /// A new attempt that has claimed the refresh token of `grant`.
    pub(super) async fn claimed(&self, grant: &Snapshot) -> AttemptId {
        let claim = claim(grant);
        assert_eq!(self.claim(claim.clone()).await, Claimed::Yes, "the claim that the clause begins with");
        claim.attempt
    }

    pub(super) async fn give_back(&self, give_back: GiveBack) -> Written {
        done(self.store.give_back(give_back).await)
    }

    pub(super) async fn commit(&self, commit: CommitRefresh) -> Committed {
        done(self.store.commit_refresh(commit).await)
    }

    pub(super) async fn settle(&self, settle: SettleRefresh) -> Written {
        done(self.store.settle_refresh(settle).await)
    }

    /// A give-back that must be written.
    pub(super) async fn given_back(&self, give_back: GiveBack) {
        assert_eq!(self.give_back(give_back).await, Written::Yes, "the attempt that holds the row");
    }

    /// A verdict that must be written.
    pub(super) async fn settled(&self, settle: SettleRefresh) {
        assert_eq!(self.settle(settle).await, Written::Yes, "the attempt that holds the row");
    }

    pub(super) async fn remove(&self, key: &GrantKey) -> Snapshot {
        done(self.store.remove(key, &actor("remover")).await)
    }

    pub(super) async fn record(&self, event: NewEvent) -> EventId {
        done(self.store.record(event).await)
    }

    pub(super) async fn due(&self, query: DueQuery) -> Vec<CompanyId> {
        self.due_grants(query).await.into_iter().map(|grant| grant.key.company).collect()
    }

    pub(super) async fn due_grants(&self, query: DueQuery) -> Vec<Snapshot> {
        done(self.store.due(query).await)
    }

    pub(super) async fn used(&self, keys: &[GrantKey]) {
        let companies: Vec<_> = keys.iter().map(|key| key.company.clone()).collect();
        done(self.store.record_use(Environment::Cie, &companies).await);
    }

    pub(super) async fn warn(&self, query: WarnExpiring) -> u64 {
        done(self.store.warn_expiring(query).await)
    }

    /// Claims, and loses the answer: the row is unanswered and its request may be travelling.
    pub(super) async fn unanswered(&self, grant: &Snapshot) -> AttemptId {
        let attempt = self.claimed(grant).await;
        self.settled(unanswered(grant, attempt)).await;
        attempt
    }

    /// A company whose opt-in was ended by UPS.
    pub(super) async fn invalidated(&self, key: &GrantKey) -> Snapshot {
        let grant = self.authenticated(key).await;
        let attempt = self.claimed(&grant).await;
        self.settled(refused(&grant, attempt)).await;
        self.load(key).await
    }

    /// A company whose rotation was lost, and the attempt that may still bring the pair.
    pub(super) async fn rotation_lost(&self, key: &GrantKey) -> (Snapshot, AttemptId) {
        let grant = self.authenticated(key).await;
        let lost = self.unanswered(&grant).await;
        self.advance(LEASE + MINUTE).await;
        let probe = self.claimed(&grant).await;
        self.settled(refused(&grant, probe)).await;
        (self.load(key).await, lost)
    }

    /// The company's events, the oldest first.
    pub(super) async fn history(&self, key: &GrantKey) -> Vec<Event> {
        let query = EventQuery { company: Some(key.company.clone()), ..events(key.environment) };
        done(self.store.events(query).await).items
    }

    /// What kind they are of.
    pub(super) async fn kinds(&self, key: &GrantKey) -> Vec<EventKind> {
        self.history(key).await.into_iter().map(|event| event.kind).collect()
    }

    /// How many of the company's events are of this kind.
    pub(super) async fn count(&self, key: &GrantKey, kind: EventKind) -> usize {
        self.kinds(key).await.into_iter().filter(|seen| *seen == kind).count()
    }

    /// The answers of `calls` calls that begin at once, each in a task of its own.
    pub(super) async fn at_once<T, F>(&self, calls: usize, call: impl Fn(Arc<dyn Store>, usize) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let gate = Arc::new(Barrier::new(calls));
        let mut tasks = JoinSet::new();
        for number in 0..calls {
            let (gate, call) = (gate.clone(), call(self.store.clone(), number));
            tasks.spawn(async move {
                gate.wait().await;
                done(call.await)
            });
        }
        tasks.join_all().await
    }

    /// The answers of two calls that begin at once.
    pub(super) async fn race<A, B>(
        &self,
        one: impl Future<Output = Result<A, StoreError>> + Send + 'static,
        other: impl Future<Output = Result<B, StoreError>> + Send + 'static,
    ) -> (A, B)
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        let gate = Arc::new(Barrier::new(2));
        let (here, there) = (gate.clone(), gate);
        let one = tokio::spawn(async move {
            here.wait().await;
            one.await
        });
        let other = tokio::spawn(async move {
            there.wait().await;
            other.await
        });
        let (one, other) = (one.await, other.await);
        (done(one.expect("the task ends")), done(other.expect("the task ends")))
    }
}

/// The answer of a store that works.
#[track_caller]
pub(super) fn done<T>(answer: Result<T, StoreError>) -> T {
    answer.expect("the store answers")
}

pub(super) fn company(name: impl AsRef<str>) -> GrantKey {
    let company = CompanyId::new(name.as_ref()).expect("a valid id");
    GrantKey { environment: Environment::Cie, company }
}

pub(super) fn acme() -> GrantKey {
    company("acme")
}

/// The company of the same name in the other environment.
pub(super) fn elsewhere(key: &GrantKey) -> GrantKey {
    GrantKey { environment: Environment::Production, ..key.clone() }
}

pub(super) fn actor(name: impl AsRef<str>) -> ActorId {
    ActorId::new(name.as_ref()).expect("a valid id")
}

pub(super) fn evidence(text: &str) -> Evidence {
    Evidence::message(text)
}

/// A pair whose secrets carry `name`.
pub(super) fn pair(name: &str) -> NewPair {
    NewPair {
        access_token: Some(AccessTokenSecret::new(format!("{CANARY}-access-{name}"))),
        access_lifetime: ACCESS_LIFETIME,
        refresh_after: EARLY,
        refresh_token: Some(RefreshToken::new(format!("{CANARY}-refresh-{name}"))),
        erases_refresh_token: false,
        refresh_lifetime: Some(REFRESH_LIFETIME),
        age: Duration::ZERO,
    }
}

/// A consent of this company and actor, with a state and a browser of its own.
pub(super) fn consent(key: &GrantKey, actor: &ActorId) -> NewConsent {
    NewConsent {
        id: ConsentId::random(),
        key: key.clone(),
        actor: actor.clone(),
        state: BrowserSecret::random().hash(),
        browser: BrowserSecret::random().hash(),
        verifier: Some(PkceVerifier::new(format!("{CANARY}-verifier"))),
        redirect_uri: Url::parse("https://host.example/callback?tenant=7").expect("a valid URL"),
        client_id: CLIENT.to_owned(),
        return_to: Some("/companies/acme".to_owned()),
        lifetime: LIFETIME,
        per_company: 10,
        per_actor: 10,
    }
}

/// The rightful callback of a consent.
pub(super) fn take(consent: &NewConsent) -> TakeConsent {
    TakeConsent {
        environment: consent.key.environment,
        state: consent.state,
        browser: consent.browser,
        actor: consent.actor.clone(),
        event: None,
    }
}

/// A callback from another browser.
pub(super) fn other_browser(consent: &NewConsent) -> TakeConsent {
    TakeConsent { browser: SecretHash::of("another browser"), ..take(consent) }
}

/// When UPS issued the pair of [`connect`], by UPS's clock.
pub(super) fn issued_at() -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600, 0).expect("a valid time")
}

/// A first pair, of a consent of its own, for a company that was never removed.
pub(super) fn connect(key: &GrantKey) -> Connect {
    Connect {
        key: key.clone(),
        consent: ConsentId::random(),
        removals: 0,
        actor: actor("alice"),
        client_id: CLIENT.to_owned(),
        used_at: Timestamp::UNIX_EPOCH,
        issued_at: Some(issued_at()),
        retry: false,
        pair: pair("1"),
        failures: 0,
    }
}

/// A claim of what was read, by a new attempt.
pub(super) fn claim(grant: &Snapshot) -> ClaimRefresh {
    ClaimRefresh { key: grant.key.clone(), revision: grant.opt_in.revision, attempt: AttemptId::random(), lease: LEASE }
}

pub(super) fn give_back(grant: &Snapshot, attempt: AttemptId) -> GiveBack {
    let (key, revision) = (grant.key.clone(), grant.opt_in.revision);
    GiveBack { key, revision, attempt, retry_in: Duration::ZERO, event: None }
}

pub(super) fn commit(grant: &Snapshot, attempt: AttemptId, pair: NewPair) -> CommitRefresh {
    let (key, revision) = (grant.key.clone(), grant.opt_in.revision);
    CommitRefresh { key, revision, attempt, pair, failures: 0, retry_in: None }
}

pub(super) fn refused(grant: &Snapshot, attempt: AttemptId) -> SettleRefresh {
    SettleRefresh {
        key: grant.key.clone(),
        revision: grant.opt_in.revision,
        attempt,
        verdict: Verdict::Refused,
        evidence: evidence("Invalid Refresh Token"),
        retry_in: Duration::ZERO,
    }
}

pub(super) fn unanswered(grant: &Snapshot, attempt: AttemptId) -> SettleRefresh {
    SettleRefresh { verdict: Verdict::Unanswered, evidence: evidence("timed out"), ..refused(grant, attempt) }
}

pub(super) fn event(key: &GrantKey, kind: EventKind) -> NewEvent {
    NewEvent { environment: key.environment, company: Some(key.company.clone()), actor: None, kind, evidence: None }
}

pub(super) fn due() -> DueQuery {
    DueQuery {
        environment: Environment::Cie,
        client_id: CLIENT.to_owned(),
        used_within: HOUR,
        keep_alive: 10 * DAY,
        reserve_for: 10 * MINUTE,
        limit: 100,
    }
}

pub(super) fn warnings() -> WarnExpiring {
    WarnExpiring {
        environment: Environment::Cie,
        client_id: CLIENT.to_owned(),
        windows: vec![14 * DAY, 7 * DAY, DAY],
        limit: 100,
    }
}

pub(super) fn list() -> ListQuery {
    ListQuery {
        environment: Environment::Cie,
        client_id: CLIENT.to_owned(),
        warning_window: 14 * DAY,
        filter: None,
        after: None,
        limit: 100,
    }
}

pub(super) fn events(environment: Environment) -> EventQuery {
    EventQuery { environment, company: None, order: EventOrder::OldestFirst, after: None, limit: 1000 }
}

#[track_caller]
pub(super) fn stored(connected: Connected) -> Snapshot {
    let Connected::Stored(grant) = connected else { panic!("not stored: {connected:?}") };
    *grant
}

#[track_caller]
pub(super) fn committed(committed: Committed) -> Snapshot {
    let Committed::Stored(grant) = committed else { panic!("not stored: {committed:?}") };
    *grant
}

/// The secrets of the stored tokens.
pub(super) fn secrets(grant: &Snapshot) -> Option<(Option<&str>, Option<&str>)> {
    let tokens = grant.tokens.as_ref()?;
    let access = tokens.access_token.as_ref().map(AccessTokenSecret::expose_secret);
    Some((access, tokens.refresh_token.as_ref().map(RefreshToken::expose_secret)))
}

#[track_caller]
pub(super) fn assert_holds(grant: &Snapshot, pair: &NewPair) {
    let tokens = grant.tokens.as_ref().expect("tokens are stored");
    assert!(tokens.is_pair(pair), "another pair is stored");
}

/// Whether nothing of the grant changed between two readings.
#[track_caller]
pub(super) fn assert_unchanged(before: &Snapshot, after: &Snapshot) {
    assert_eq!(state(before), state(after));
    assert_eq!(secrets(before), secrets(after), "the tokens changed");
}

#[derive(Debug, PartialEq)]
struct State<'a> {
    opt_in: OptIn,
    ends: Option<[Option<Timestamp>; 4]>,
    client_id: Option<&'a str>,
    actor: Option<&'a ActorId>,
    authenticated_at: Option<Timestamp>,
    cause: Option<&'a (Timestamp, Evidence)>,
    failures: u32,
    retry_at: Option<Timestamp>,
    change: EventId,
}

fn state(grant: &Snapshot) -> State<'_> {
    State {
        opt_in: grant.opt_in,
        ends: grant.tokens.as_ref().map(|tokens| {
            let (access, early) = (tokens.access_expires_at, tokens.refresh_at);
            [Some(access), Some(early), tokens.refresh_expires_at, Some(tokens.obtained_at)]
        }),
        client_id: grant.client_id.as_deref(),
        actor: grant.actor.as_ref(),
        authenticated_at: grant.authenticated_at,
        cause: grant.cause.as_ref(),
        failures: grant.failures,
        retry_at: grant.retry_at,
        change: grant.change,
    }
}

/// Equal to the minute: between two calls, a database's clock runs on.
#[track_caller]
pub(super) fn assert_about(actual: impl Into<Option<Timestamp>>, expected: Timestamp) {
    let actual = actual.into().expect("a time");
    assert!((actual - expected).abs().num_seconds() < 60, "{actual} is not about {expected}");
}
