//! The in-memory store, for one process.

mod consents;
mod log;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    CompanyId, Environment,
    clock::{Clock, SystemClock, Timestamp},
    events::{Event, EventId},
    ids::{ConsentId, Revision},
    secret::SecretHash,
    store::{
        Changes, ConsentCaps, Delivery, DeliveryEnd, EventContent, EventPage, EventQuery, FoundConsent, ListQuery,
        MOST_LISTED, NewConsent, NewEvent, Page, Prune, Pruned, Row, RowKey, Saved, Store, StoreError, StoredTokens,
        Swap, Tokens,
    },
};
use tokio::{sync::watch, time::timeout};

use self::{
    consents::Consents,
    log::Log,
    rows::{Key, Rows, Stored},
};

type Result<T> = std::result::Result<T, StoreError>;

/// Keeps everything in memory: the whole storage contract, for one process.
///
/// For tests, demonstrations, and a service whose companies can opt in again when its process ends. Clones share their
/// contents.
///
/// - Every verb is one critical section. Only [`changes`](Store::changes) waits; it needs a tokio runtime with its
///   timers enabled.
/// - The two environments are separate. Each has its own event log, numbered from 1. A log keeps its latest 100,000
///   events (about 200 bytes each), delivered or not; [`prune`](Store::prune) deletes more. A reader whose cursor lies
///   below a deleted event gets `Pruned`.
/// - The cost of `changes` grows with the number of changes, that of `wake` with the number of rows it returns; `list`
///   continues from its cursor. None of them sorts or copies all companies.
/// - Tokens are not encrypted: anybody who can read the memory of the process can read them.
///
/// ```
/// use batchsuite_auth::{
///     CompanyId, Environment,
///     ids::Revision,
///     secret::{AccessTokenSecret, RefreshToken},
///     store::{Document, ListedAs, RowKey, Saved, Store, StoredTokens, Swap, TokenChange, Tokens},
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
    records: Mutex<BTreeMap<Environment, Records>>,
    /// Signalled after every event, so that a reader waiting for changes reads the log.
    written: watch::Sender<()>,
}

/// All records of one environment.
struct Records {
    environment: Environment,
    rows: Rows,
    consents: Consents,
    log: Log,
}

impl MemoryStore {
    /// An empty store that uses the system clock.
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// An empty store that uses this clock.
    pub fn with_clock(clock: impl Clock) -> Self {
        Self(Arc::new(Shared { clock: Box::new(clock), records: Mutex::default(), written: watch::Sender::new(()) }))
    }

    /// A snapshot: an independent store with the same rows and events. Pending consents are not copied.
    #[doc(hidden)]
    #[must_use]
    pub fn backup(&self, clock: impl Clock) -> Self {
        let records = self.0.records.lock().unwrap_or_else(PoisonError::into_inner);
        let copies = records.iter().map(|(environment, records)| (*environment, records.backup())).collect();
        Self(Arc::new(Shared { clock: Box::new(clock), records: Mutex::new(copies), written: watch::Sender::new(()) }))
    }

    /// Runs a verb in its critical section. The time is read inside the lock, so that times agree with the order of
    /// writes.
    fn with<T>(&self, environment: Environment, verb: impl FnOnce(&mut Records, Timestamp) -> T) -> T {
        // No verb can panic between two writes that belong together, so a poisoned lock guards consistent data.
        let mut records = self.0.records.lock().unwrap_or_else(PoisonError::into_inner);
        let records = records.entry(environment).or_insert_with(|| Records::new(environment));
        let before = records.log.last;
        let answer = verb(records, self.0.clock.now());
        if records.log.last != before {
            self.0.written.send_replace(());
        }
        answer
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("clock", &self.0.clock).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &RowKey) -> Result<Row> {
        Ok(self.with(key.environment, |records, now| records.load(&key.company, now)))
    }

    async fn save(&self, swap: Swap) -> Result<Saved> {
        swap.refuse_many_events()?;
        Ok(self.with(swap.key.environment, |records, now| records.save(swap, now)))
    }

    async fn put_consent(&self, consent: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<()> {
        self.with(consent.consent.environment, |records, now| {
            records.rows.see(&consent.consent.company);
            records.consents.put(consent, caps, now);
            records.append(event, now);
        });
        Ok(())
    }

    async fn find_consent(&self, environment: Environment, state: &SecretHash) -> Result<Option<FoundConsent>> {
        Ok(self.with(environment, |records, now| records.consents.find(state, now)))
    }

    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>> {
        Ok(self.with(environment, |records, now| {
            let is_used = records.consents.use_once(id, event.is_some(), now);
            if let Some(event) = event.filter(|_| is_used) {
                records.append(event, now);
            }
            is_used.then_some(now)
        }))
    }

    async fn wake(&self, environment: Environment, limit: usize) -> Result<Vec<Row>> {
        Ok(self.with(environment, |records, now| {
            let woken = records.rows.wake(limit, now);
            woken.iter().map(|key| records.load(key, now)).collect()
        }))
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<()> {
        self.with(environment, |records, now| records.rows.record_use(companies, now));
        Ok(())
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>> {
        Ok(self.with(query.environment, |records, now| records.list(query, now)))
    }

    async fn events(&self, query: EventQuery) -> Result<EventPage> {
        self.with(query.environment, |records, _| records.log.read(&query))
    }

    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId> {
        Ok(self.with(environment, |records, now| records.append(event, now)))
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        Ok(self.with(prune.environment, |records, now| records.log.prune(prune, now)))
    }

    async fn changes(&self, environment: Environment, after: Option<EventId>, wait: Duration) -> Result<Changes> {
        // Subscribe before reading, so that a write in between ends the wait.
        let mut written = self.0.written.subscribe();
        let look = || {
            self.with(environment, |Records { rows, log, .. }, _| Changes {
                changed: after.map(|after| rows.changed_after(Changes::begin(after, log.last))).unwrap_or_default(),
                cursor: log.last,
            })
        };
        let changed = async {
            loop {
                let changes = look();
                if after != Some(changes.cursor) || written.changed().await.is_err() {
                    return changes;
                }
            }
        };
        Ok(timeout(wait, changed).await.unwrap_or_else(|_| look()))
    }

    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>> {
        Ok(self.with(environment, |records, now| records.log.take(delivery, lease, now)))
    }

    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool> {
        Ok(self.with(environment, |records, now| records.log.advance(delivery, cursor, then, now)))
    }
}

impl Records {
    fn new(environment: Environment) -> Self {
        Self { environment, rows: Rows::default(), consents: Consents::default(), log: Log::default() }
    }

    fn backup(&self) -> Self {
        let (environment, rows, log) = (self.environment, self.rows.clone(), self.log.clone());
        Self { environment, rows, consents: Consents::default(), log }
    }

    fn load(&self, key: &Key, now: Timestamp) -> Row {
        let nothing = Stored::default();
        self.row(key, self.rows.find(key).unwrap_or(&nothing), |tokens| StoredTokens::Readable(tokens.clone()), now)
    }

    fn save(&mut self, mut swap: Swap, now: Timestamp) -> Saved {
        let number = self.rows.find(&swap.key.company).map(|row| row.number).unwrap_or_default();
        if number != swap.expected || !swap.is_in_time(now) {
            return Saved::Conflict;
        }
        let mut announced = None;
        for event in mem::take(&mut swap.events) {
            let id = self.write(swap.key.company.clone(), event, swap.revision, now);
            announced = swap.announce.then_some(id);
        }
        let number = number.next(now);
        Saved::Yes { number, change: self.rows.replace(swap, number, announced), at: now }
    }

    fn list(&self, query: ListQuery, now: Timestamp) -> Page<Row, CompanyId> {
        let is_listed = |row: &Stored| {
            let wakes = row.wake_at.is_some_and(|at| at <= now);
            query.listed_as.as_ref().is_none_or(|listed_as| wakes || listed_as.contains(&row.listed_as))
        };
        let (mut items, mut last) = (Vec::new(), &query.after);
        for (read, (key, row)) in self.rows.after(&query.after).enumerate() {
            if read == MOST_LISTED || items.len() == query.limit {
                return Page { items, next: last.clone() };
            }
            if is_listed(row) {
                items.push(self.row(key, row, |_| StoredTokens::Sealed { with_older_key: false }, now));
            }
            last = key;
        }
        Page { items, next: None }
    }

    fn row(&self, key: &Key, stored: &Stored, show: impl FnOnce(&Tokens) -> StoredTokens, now: Timestamp) -> Row {
        Row {
            key: RowKey { environment: self.environment, company: key.clone() },
            number: stored.number,
            revision: stored.revision,
            document: stored.document.clone(),
            tokens: stored.tokens.as_ref().map_or(StoredTokens::None, show),
            change: stored.change,
            wake_at: stored.wake_at,
            used_at: stored.used_at,
            consents: key.as_ref().map(|company| self.consents.pending(company, now)).unwrap_or_default(),
            as_of: now,
        }
    }

    fn append(&mut self, NewEvent { company, event }: NewEvent, now: Timestamp) -> EventId {
        let revision = self.rows.find(&company).map(|row| row.revision).unwrap_or_default();
        self.write(company, event, revision, now)
    }

    fn write(&mut self, company: Key, event: EventContent, revision: Revision, now: Timestamp) -> EventId {
        let environment = self.environment;
        self.log.append(|id| Event::new(id, now, environment, company, revision, event))
    }
}
