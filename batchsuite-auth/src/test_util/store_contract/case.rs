//! The vocabulary of the clauses: a store per clause, and matching saves, consents and events.

pub(super) use std::time::Duration;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use serde_json::Value;
use tokio::sync::Barrier;
use url::Url;

use super::harness::{Harness, Held, Part};
pub(super) use crate::{
    clock::{Timestamp, earlier, later},
    config::Environment,
    events::{Event, EventId, EventKind, Evidence},
    ids::{ActorId, AttemptId, CompanyId, ConsentId, Revision},
    machine::CauseKind,
    secret::{AccessTokenSecret, BrowserSecret, PkceVerifier, RefreshToken},
    store::*,
};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// In real time. No working store is this slow.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// Part of every secret that a clause stores.
pub(super) const CANARY: &str = "canary";

/// The store of one clause.
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

    pub(super) async fn hold(&self, key: &RowKey) -> Held {
        self.harness.hold(key).await.expect("a harness that opts into `locks` holds rows")
    }

    pub(super) async fn damage(&self, key: &RowKey, part: Part) {
        assert!(self.harness.damage(key, part).await, "a harness that opts into `damage` damages rows");
    }

    pub(super) async fn load(&self, key: &RowKey) -> Row {
        done(self.store.load(key).await)
    }

    pub(super) async fn save(&self, swap: Swap) -> Saved {
        done(self.store.save(swap).await)
    }

    /// Performs a save that must succeed; returns the row afterwards.
    pub(super) async fn saved(&self, swap: Swap) -> Row {
        let key = swap.key.clone();
        yes(self.save(swap).await);
        self.load(&key).await
    }

    /// The row after a first save with tokens, wake times and an announced event.
    pub(super) async fn opted_in(&self, key: &RowKey) -> Row {
        self.saved(replacing(&self.load(key).await)).await
    }

    /// Saved rows next to that of `acme`: of another company, and of the other environment.
    pub(super) async fn others_than_acme(&self) -> [Row; 2] {
        [self.opted_in(&company("other")).await, self.opted_in(&elsewhere(&acme())).await]
    }

    /// Asserts that nobody has changed these rows.
    pub(super) async fn unchanged(&self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            assert_same(&row, &self.load(&row.key).await);
        }
    }

    /// The row after a first save with this wake time.
    pub(super) async fn waking(&self, key: &RowKey, at: Timestamp) -> Row {
        self.saved(Swap { wake: wake(at, None), ..replacing(&self.load(key).await) }).await
    }

    /// Performs a save that must conflict and change nothing.
    pub(super) async fn conflicts(&self, swap: Swap) {
        let key = swap.key.clone();
        let (before, events) = (self.load(&key).await, self.log(key.environment).await);

        assert_eq!(self.save(swap).await, Saved::Conflict);

        assert_same(&before, &self.load(&key).await);
        assert_eq!(self.log(key.environment).await, events, "a conflict wrote an event");
    }

    pub(super) async fn put(&self, consent: &NewConsent) {
        self.put_with(consent, CAPS).await;
    }

    pub(super) async fn put_with(&self, consent: &NewConsent, caps: ConsentCaps) {
        done(self.store.put_consent(consent.clone(), caps, started(consent)).await);
    }

    pub(super) async fn find(&self, consent: &NewConsent) -> Option<FoundConsent> {
        done(self.store.find_consent(consent.consent.environment, &consent.state).await)
    }

    /// Uses a consent without an event; returns the time.
    pub(super) async fn use_up(&self, consent: &NewConsent) -> Option<Timestamp> {
        done(self.store.use_consent(consent.consent.environment, consent.consent.id, None).await)
    }

    /// Wakes at most 100 rows.
    pub(super) async fn woken(&self) -> Vec<Row> {
        done(self.store.wake(Environment::Cie, 100).await)
    }

    pub(super) async fn used(&self, key: &RowKey) {
        let companies: Vec<_> = key.company.iter().cloned().collect();
        done(self.store.record_use(key.environment, &companies).await);
    }

    /// All rows that the query finds, read page by page.
    pub(super) async fn listed(&self, mut query: ListQuery) -> Vec<Row> {
        let mut rows = Vec::new();
        loop {
            let page = done(self.store.list(query.clone()).await);
            assert!(page.items.len() <= query.limit, "a page is longer than asked");
            rows.extend(page.items);
            assert!(page.next.is_none() || page.next > query.after, "the list does not advance");
            match page.next {
                Some(next) => query.after = Some(next),
                None => return rows,
            }
        }
    }

    pub(super) async fn append(&self, key: &RowKey, event: EventContent) -> EventId {
        done(self.store.append(key.environment, NewEvent { company: key.company.clone(), event }).await)
    }

    /// All events of an environment, oldest first.
    pub(super) async fn log(&self, environment: Environment) -> Vec<Event> {
        done(self.store.events(events(environment)).await).items
    }

    /// The company's events, oldest first.
    pub(super) async fn history(&self, key: &RowKey) -> Vec<Event> {
        let query = EventQuery { company: key.company.clone(), ..events(key.environment) };
        done(self.store.events(query).await).items
    }

    /// The company's latest event.
    pub(super) async fn latest(&self, key: &RowKey) -> Event {
        self.history(key).await.pop().expect("an event")
    }

    pub(super) async fn changes(&self, after: EventId, wait: Duration) -> Changes {
        done(self.store.changes(Environment::Cie, Some(after), wait).await)
    }

    /// The feed's current cursor.
    pub(super) async fn cursor(&self) -> EventId {
        done(self.store.changes(Environment::Cie, None, Duration::ZERO).await).cursor
    }

    /// Starts `calls` concurrent calls, each in its own task; returns their answers in order.
    pub(super) async fn at_once<T, F>(&self, calls: usize, call: impl Fn(Arc<dyn Store>, usize) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let gate = Arc::new(Barrier::new(calls));
        let begin = |number| {
            let (gate, call) = (gate.clone(), call(self.store.clone(), number));
            tokio::spawn(async move {
                gate.wait().await;
                done(call.await)
            })
        };
        let mut answers = Vec::new();
        for task in (0..calls).map(begin).collect::<Vec<_>>() {
            answers.push(task.await.expect("the call ends"));
        }
        answers
    }
}

/// Polls a call at most `polls` times, then drops it.
pub(super) async fn polled(call: impl Future, mut polls: usize) {
    let mut call = pin!(call);
    poll_fn(|context| {
        polls -= 1;
        if call.as_mut().poll(context).is_ready() || polls == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The answer of a working store.
#[track_caller]
pub(super) fn done<T>(answer: Result<T, StoreError>) -> T {
    answer.expect("the store answers")
}

/// The row number, change number and time of a successful save.
#[track_caller]
pub(super) fn yes(saved: Saved) -> (RowNumber, EventId, Timestamp) {
    let Saved::Yes { number, change, at } = saved else { panic!("a conflict") };
    (number, change, at)
}

pub(super) fn company(name: impl AsRef<str>) -> RowKey {
    RowKey::company(Environment::Cie, CompanyId::new(name.as_ref()).expect("a valid id"))
}

pub(super) fn acme() -> RowKey {
    company("acme")
}

/// The row of the same name in the other environment.
pub(super) fn elsewhere(key: &RowKey) -> RowKey {
    RowKey { environment: Environment::Production, ..key.clone() }
}

/// The row's company.
pub(super) fn id(key: &RowKey) -> CompanyId {
    key.company.clone().expect("a company's row")
}

pub(super) fn actor(name: impl AsRef<str>) -> ActorId {
    ActorId::new(name.as_ref()).expect("a valid id")
}

/// A pair whose secrets contain `name`.
pub(super) fn pair(name: impl std::fmt::Display) -> Tokens {
    Tokens {
        access: Some(AccessTokenSecret::new(format!("{CANARY}-access-{name}"))),
        refresh: Some(RefreshToken::new(format!("{CANARY}-refresh-{name}"))),
    }
}

pub(super) fn document(json: &Value) -> Document {
    Document::new(json.to_string())
}

pub(super) fn wake(at: impl Into<Option<Timestamp>>, if_used: impl Into<Option<Timestamp>>) -> Option<Wake> {
    Some(Wake { at: at.into(), if_used: if_used.into() })
}

/// A save over the row that was read, changing only the row number.
pub(super) fn swap(row: &Row) -> Swap {
    Swap {
        key: row.key.clone(),
        expected: row.number,
        decided_at: None,
        step: "contract",
        document: row.document.clone(),
        revision: row.revision,
        listed_as: ListedAs::Authenticated,
        tokens: TokenChange::Keep,
        wake: None,
        used_at: row.used_at,
        events: Vec::new(),
        announce: false,
    }
}

/// A save over the row that was read, changing everything: the next version, with its own pair.
pub(super) fn replacing(row: &Row) -> Swap {
    let revision = Revision { epoch: row.revision.epoch.max(1), version: row.revision.version + 1 };
    Swap {
        document: document(&serde_json::json!({ "pair": revision.to_string() })),
        revision,
        tokens: TokenChange::Replace(pair(revision)),
        wake: wake(later(row.as_of, HOUR), None),
        events: vec![event(EventKind::Refreshed)],
        announce: true,
        ..swap(row)
    }
}

pub(super) fn event(kind: EventKind) -> EventContent {
    EventContent { kind, actor: None, evidence: None, cause: None }
}

/// Evidence of maximum size.
pub(super) fn evidence() -> Evidence {
    let message = "Refresh → denied, \"Zürich\" 漢字 😀 ".repeat(10);
    Evidence::of_answer(400, Some("10400"), Some(&message)).with_attempt(AttemptId::random())
}

/// Events of every kind and every cause, with maximal and minimal evidence.
pub(super) fn all_sorts_of_events() -> Vec<EventContent> {
    use CauseKind::{ClientChanged, NoRefreshToken, OptInInvalidated, RefreshExpired, RotationLost};
    let causes = [OptInInvalidated, RotationLost, RefreshExpired, ClientChanged, NoRefreshToken];
    for cause in causes {
        match cause {
            // A new cause does not compile until it is added here and above.
            OptInInvalidated | RotationLost | RefreshExpired | ClientChanged | NoRefreshToken => {}
        }
    }
    let caused = causes.map(|cause| EventContent { cause: Some(cause), ..event(EventKind::Invalidated) });
    let told = [evidence(), Evidence::message("timed out"), Evidence::default()].map(|evidence| {
        let actor = Some(actor("Zoë \"the boss\" 漢字"));
        EventContent { actor, evidence: Some(evidence), ..event(EventKind::RefreshFailed) }
    });
    EventKind::ALL.iter().copied().map(event).chain(caused).chain(told).collect()
}

/// The content from which the log's event was written.
pub(super) fn written_as(event: Event) -> EventContent {
    let Event { kind, actor, evidence, cause, .. } = event;
    EventContent { kind, actor, evidence, cause }
}

pub(super) const CAPS: ConsentCaps = ConsentCaps { per_company: 10, per_actor: 10 };

/// A consent's time to live.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);

/// A consent of this company and actor, with its own state and browser.
pub(super) fn consent(key: &RowKey, actor: &ActorId) -> NewConsent {
    NewConsent {
        consent: Consent {
            id: ConsentId::random(),
            environment: key.environment,
            company: id(key),
            actor: actor.clone(),
            browser: BrowserSecret::random().hash(),
            redirect_uri: Url::parse("https://host.example/callback?tenant=7").expect("a valid URL"),
            client_id: "our-client".to_owned(),
            return_to: Some("/companies/acme".to_owned()),
            removals: 3,
        },
        state: BrowserSecret::random().hash(),
        verifier: Some(PkceVerifier::new(format!("{CANARY}-verifier"))),
        lifetime: LIFETIME,
    }
}

/// The event of a newly put consent.
pub(super) fn started(consent: &NewConsent) -> NewEvent {
    let event = EventContent { actor: Some(consent.consent.actor.clone()), ..event(EventKind::Started) };
    NewEvent { company: Some(consent.consent.company.clone()), event }
}

pub(super) fn list() -> ListQuery {
    ListQuery { environment: Environment::Cie, listed_as: None, after: None, limit: 100 }
}

pub(super) fn events(environment: Environment) -> EventQuery {
    EventQuery { environment, company: None, order: EventOrder::OldestFirst, after: None, limit: 1000 }
}

/// The names of the rows' companies.
pub(super) fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.key.name()).collect()
}

/// A row's document as a JSON value: a store may reformat the object.
#[track_caller]
pub(super) fn json(row: &Row) -> Value {
    serde_json::from_str(row.document.as_str()).expect("a JSON object")
}

/// The secrets of readable tokens: access token and refresh token.
#[track_caller]
pub(super) fn secrets(row: &Row) -> Option<(Option<&str>, Option<&str>)> {
    match &row.tokens {
        StoredTokens::None => None,
        StoredTokens::Readable(tokens) => Some(secrets_of(tokens)),
        StoredTokens::Unreadable(error) => panic!("unreadable: {error}"),
        StoredTokens::Sealed { .. } => panic!("not opened"),
    }
}

pub(super) fn secrets_of(tokens: &Tokens) -> (Option<&str>, Option<&str>) {
    let access = tokens.access.as_ref().map(AccessTokenSecret::expose_secret);
    (access, tokens.refresh.as_ref().map(RefreshToken::expose_secret))
}

/// Everything in a row except its tokens and the time of the read, for comparison.
#[track_caller]
pub(super) fn state(row: &Row) -> (Value, String) {
    let rest =
        Row { document: Document::default(), tokens: StoredTokens::None, as_of: Timestamp::UNIX_EPOCH, ..row.clone() };
    (json(row), format!("{rest:?}"))
}

/// Asserts that two reads show the same row.
#[track_caller]
pub(super) fn assert_same(before: &Row, after: &Row) {
    assert_eq!(state(before), state(after));
    assert_eq!(secrets(before), secrets(after), "the tokens changed");
}

/// Equal to within a minute: a database's clock runs on between two calls.
#[track_caller]
pub(super) fn assert_about(actual: impl Into<Option<Timestamp>>, expected: Timestamp) {
    let actual = actual.into().expect("a time");
    assert!((actual - expected).abs().num_seconds() < 60, "{actual} is not about {expected}");
}
