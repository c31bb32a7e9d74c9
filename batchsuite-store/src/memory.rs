//! The store of one process.

mod consents;
mod deliveries;
mod ledger;
mod log;
mod rows;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    CompanyId, Environment,
    clock::{Clock, SystemClock, Timestamp, later},
    events::{Event, EventId},
    ids::ConsentId,
    secret::SecretHash,
    store2::{
        Changes, ConsentCaps, Delivery, DeliveryEnd, EventQuery, FoundConsent, ListQuery, NewConsent, NewEvent, Page,
        Prune, Pruned, Row, RowKey, Saved, Store, StoreError, Swap,
    },
};
use tokio::{sync::watch, time::timeout};

use ledger::Ledger;

/// Keeps everything in memory: the whole storage contract, for one process.
///
/// For tests, demonstrations, and a service whose companies can opt in again when its process ends. A clone shares what
/// is stored.
///
/// - Every verb is one critical section. No verb waits but [`changes`](Store::changes), which needs a tokio runtime with
///   its timers enabled.
/// - The two environments are apart, each with an event log of its own that counts from 1. A log keeps its latest 100,000
///   events, about 200 bytes each, whether they were delivered or not; [`prune`](Store::prune) deletes more. A reader whose
///   cursor lies below a deleted event gets `Pruned`.
/// - `changes` costs what changed, and `wake` costs what it hands out; `list` reads on from its cursor. None of them sorts
///   or copies all companies.
/// - Tokens are kept as they are given, so whoever can read the memory of the process can read them.
///
/// ```
/// use batchsuite_auth::{
///     CompanyId, Environment,
///     ids::Revision,
///     secret::{AccessTokenSecret, RefreshToken},
///     store2::{Document, ListedAs, RowKey, Saved, Store, StoredTokens, Swap, TokenChange, Tokens},
/// };
/// use batchsuite_store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let key = RowKey::company(Environment::Cie, CompanyId::new("acme")?);
///
/// let row = store.load(&key).await?;
/// let swap = Swap {
///     key: key.clone(),
///     expected: row.number,
///     decided_at: Some(row.as_of),
///     step: "example",
///     document: Document::new(r#"{"client":"example"}"#),
///     revision: Revision { epoch: 1, version: 0 },
///     listed_as: ListedAs::Authenticated,
///     tokens: TokenChange::Replace(Tokens {
///         access: Some(AccessTokenSecret::new("an access token")),
///         refresh: Some(RefreshToken::new("a refresh token")),
///     }),
///     wake: None,
///     used_at: row.used_at,
///     events: Vec::new(),
///     announce: false,
/// };
/// assert!(matches!(store.save(swap.clone()).await?, Saved::Yes { .. }));
/// assert_eq!(store.save(swap).await?, Saved::Conflict, "the row has another number by now");
///
/// let row = store.load(&key).await?;
/// assert!(matches!(row.tokens, StoredTokens::Readable(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

struct Shared {
    clock: Box<dyn Clock>,
    ledgers: Mutex<BTreeMap<Environment, Ledger>>,
    /// Sent to after every event: a reader that waits for changes may follow the log.
    changed: watch::Sender<()>,
}

impl MemoryStore {
    /// An empty store on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// An empty store on this clock.
    pub fn with_clock(clock: impl Clock) -> Self {
        Self(Arc::new(Shared { clock: Box::new(clock), ledgers: Mutex::default(), changed: watch::Sender::new(()) }))
    }

    /// The one critical section of a verb. The time is read inside, so that it agrees with the order of the writes.
    fn with<T>(&self, environment: Environment, verb: impl FnOnce(&mut Ledger, Timestamp) -> T) -> T {
        let mut ledgers = self.ledgers();
        let ledger = ledgers.entry(environment).or_insert_with(|| Ledger::new(environment));
        let before = ledger.log.last();
        let answer = verb(ledger, self.0.clock.now());
        if ledger.log.last() != before {
            self.0.changed.send_replace(());
        }
        answer
    }

    fn ledgers(&self) -> MutexGuard<'_, BTreeMap<Environment, Ledger>> {
        // No verb can panic between two writes that belong together.
        self.0.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: usize = self.ledgers().values().map(Ledger::len).sum();
        f.debug_struct("MemoryStore").field("clock", &self.0.clock).field("rows", &rows).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &RowKey) -> Result<Row, StoreError> {
        Ok(self.with(key.environment, |ledger, now| ledger.load(&key.company, now)))
    }

    async fn save(&self, swap: Swap) -> Result<Saved, StoreError> {
        Ok(self.with(swap.key.environment, |ledger, now| ledger.save(swap, now)))
    }

    async fn put_consent(&self, consent: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<(), StoreError> {
        self.with(consent.consent.environment, |ledger, now| ledger.put_consent(consent, caps, event, now));
        Ok(())
    }

    async fn find_consent(
        &self,
        environment: Environment,
        state: &SecretHash,
    ) -> Result<Option<FoundConsent>, StoreError> {
        Ok(self.with(environment, |ledger, now| ledger.consents.find(state, now)))
    }

    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.with(environment, |ledger, now| ledger.use_consent(id, event, now)))
    }

    async fn wake(&self, environment: Environment, limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(self.with(environment, |ledger, now| ledger.wake(limit, now)))
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        self.with(environment, |ledger, now| ledger.record_use(companies, now));
        Ok(())
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>, StoreError> {
        Ok(self.with(query.environment, |ledger, now| ledger.list(&query, now)))
    }

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        self.with(query.environment, |ledger, _| ledger.log.read(&query))
    }

    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId, StoreError> {
        Ok(self.with(environment, |ledger, now| ledger.append(event, now)))
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned, StoreError> {
        Ok(self.with(prune.environment, |ledger, now| ledger.prune(prune, now)))
    }

    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        // Subscribed before looking: what is written in between wakes the wait.
        let mut changed = self.0.changed.subscribe();
        let look = || self.with(environment, |ledger, _| ledger.changes(after));
        let told = async {
            loop {
                let changes = look();
                if after != Some(changes.cursor) || !changes.changed.is_empty() || changed.changed().await.is_err() {
                    return changes;
                }
            }
        };
        match timeout(wait, told).await {
            Ok(changes) => Ok(changes),
            Err(_) => Ok(look()),
        }
    }

    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>, StoreError> {
        Ok(self.with(environment, |ledger, now| {
            ledger.deliveries.take(delivery, later(now, lease), ledger.log.last(), now)
        }))
    }

    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool, StoreError> {
        Ok(self.with(environment, |ledger, now| ledger.deliveries.advance(delivery, cursor, then, now)))
    }
}
