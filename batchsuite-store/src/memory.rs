//! The store of one process.

mod consents;
mod index;
mod ledger;
mod log;
mod row;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    clock::{Clock, SystemClock, Timestamp},
    events::{Event, EventId},
    status::CompanyStatus,
    store::{
        Changes, ClaimRefresh, Claimed, CommitRefresh, Committed, Connect, Connected, DueQuery, EventQuery, GiveBack,
        GrantKey, ListQuery, NewConsent, NewEvent, Page, SettleRefresh, Snapshot, Store, StoreError, TakeConsent,
        TakenConsent, WarnExpiring, Written,
    },
};
use tokio::{sync::watch, time::timeout};

use ledger::Ledger;

/// Keeps everything in memory: the whole storage contract, for one process.
///
/// For tests, demonstrations, and a service whose companies can opt in again when its process ends. A clone shares what
/// is stored.
///
/// - Every verb is one critical section: the machine decides, the change and its event are written, or nothing is. No
///   verb waits but [`changes`](Store::changes), which needs a tokio runtime with its timers enabled.
/// - The two environments are apart, each with an event log of its own that counts from 1. A log keeps its latest 100,000
///   events, about 200 bytes each; [`prune_events`](Self::prune_events) deletes more. A reader whose cursor
///   lies below a deleted event gets `Pruned`.
/// - An expired consent stays known for an hour, so that a person who comes late is told so; and so does a used one, without
///   its verifier, so that a callback that comes twice is led to the company.
/// - `changes` costs what changed; `due` looks at the companies that want another access token or are about to lose their
///   refresh token; `list` reads on from its cursor until its page is full. None of them sorts or copies all companies.
///
/// ```
/// use std::time::Duration;
/// use batchsuite_auth::{
///     ActorId, CompanyId, Environment,
///     clock::Timestamp,
///     ids::ConsentId,
///     secret::{AccessTokenSecret, RefreshToken},
///     status::Status,
///     store::{Connect, Connected, GrantKey, NewPair, Store},
/// };
/// use batchsuite_store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let key = GrantKey { environment: Environment::Cie, company: CompanyId::new("acme")? };
///
/// let connected = store
///     .connect(Connect {
///         key: key.clone(),
///         consent: ConsentId::random(),
///         removals: 0,
///         actor: ActorId::new("alice")?,
///         client_id: "client".to_owned(),
///         used_at: Timestamp::UNIX_EPOCH,
///         issued_at: None,
///         retry: false,
///         pair: NewPair {
///             access_token: Some(AccessTokenSecret::new("an access token")),
///             access_lifetime: Duration::from_secs(3600),
///             refresh_after: Duration::from_secs(2700),
///             refresh_token: Some(RefreshToken::new("a refresh token")),
///             erases_refresh_token: false,
///             refresh_lifetime: Some(Duration::from_secs(60 * 86_400)),
///             age: Duration::ZERO,
///         },
///         failures: 0,
///     })
///     .await?;
/// assert!(matches!(connected, Connected::Stored(_)));
///
/// let status = store.load(&key).await?.status("client", Duration::from_secs(14 * 86_400)).status;
/// assert!(matches!(status, Status::Authenticated { expiring_soon: false, .. }));
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

    /// Deletes events that are older than `older_than`; returns how many.
    pub fn prune_events(&self, older_than: Duration) -> u64 {
        let environments: Vec<_> = self.ledgers().keys().copied().collect();
        let prune = |environment| self.write(environment, |ledger, now| ledger.prune_events(older_than, now));
        environments.into_iter().map(prune).sum()
    }

    /// The one critical section of a verb. The time is read inside, so that it agrees with the order of the writes.
    fn write<T>(&self, environment: Environment, verb: impl FnOnce(&mut Ledger, Timestamp) -> T) -> T {
        let mut ledgers = self.ledgers();
        let ledger = ledgers.entry(environment).or_insert_with(|| Ledger::new(environment));
        let before = ledger.latest_event();
        let answer = verb(ledger, self.0.clock.now());
        if ledger.latest_event() != before {
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
        let companies: usize = self.ledgers().values().map(Ledger::companies).sum();
        f.debug_struct("MemoryStore")
            .field("clock", &self.0.clock)
            .field("companies", &companies)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn begin_consent(&self, consent: NewConsent) -> Result<(), StoreError> {
        self.write(consent.key.environment, |ledger, now| ledger.begin_consent(consent, now));
        Ok(())
    }

    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        Ok(self.write(take.environment, |ledger, now| ledger.take_consent(take, now)))
    }

    async fn connect(&self, connect: Connect) -> Result<Connected, StoreError> {
        Ok(self.write(connect.key.environment, |ledger, now| ledger.connect(connect, now)))
    }

    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError> {
        Ok(self.write(key.environment, |ledger, now| ledger.snapshot(&key.company, now)))
    }

    async fn claim_refresh(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError> {
        Ok(self.write(claim.key.environment, |ledger, now| ledger.claim_refresh(&claim, now)))
    }

    async fn give_back(&self, give_back: GiveBack) -> Result<Written, StoreError> {
        Ok(self.write(give_back.key.environment, |ledger, now| ledger.give_back(give_back, now)))
    }

    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        Ok(self.write(commit.key.environment, |ledger, now| ledger.commit_refresh(commit, now)))
    }

    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        Ok(self.write(settle.key.environment, |ledger, now| ledger.settle_refresh(settle, now)))
    }

    async fn remove(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError> {
        Ok(self.write(key.environment, |ledger, now| ledger.remove(&key.company, actor, now)))
    }

    async fn mark_unanswered(&self, environment: Environment) -> Result<u64, StoreError> {
        Ok(self.write(environment, |ledger, now| ledger.mark_unanswered(now)))
    }

    async fn record(&self, event: NewEvent) -> Result<EventId, StoreError> {
        Ok(self.write(event.environment, |ledger, now| ledger.record(event, now)))
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        Ok(self.write(query.environment, |ledger, now| ledger.due(&query, now)))
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        self.write(environment, |ledger, now| ledger.record_use(companies, now));
        Ok(())
    }

    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        Ok(self.write(query.environment, |ledger, now| ledger.warn_expiring(&query, now)))
    }

    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        Ok(self.write(query.environment, |ledger, now| ledger.list(&query, now)))
    }

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        self.write(query.environment, |ledger, _| ledger.events(&query))
    }

    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        // Subscribed before looking: what is written in between wakes the wait.
        let mut changed = self.0.changed.subscribe();
        let look = || self.write(environment, |ledger, _| ledger.changes(after));
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
}
