//! A process's view of the store over its own connection: slow, unavailable, silent or late, as the plan says.

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    CompanyId, Environment,
    clock::Timestamp,
    events::EventId,
    ids::ConsentId,
    secret::SecretHash,
    store::{
        Changes, ConsentCaps, Delivery, DeliveryEnd, EventPage, EventQuery, FoundConsent, ListQuery, NewConsent,
        NewEvent, Page, Prune, Pruned, Row, RowKey, Saved, Store, StoreError, StoreErrorKind, Swap,
    },
};
use batchsuite_store::MemoryStore;

use crate::{
    broken::Break,
    faults::Fault,
    ledger::{Incarnation, Landed},
    process::Name,
    world::{World, lock},
};

type Result<T> = std::result::Result<T, StoreError>;
type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A process's connection to the store.
#[derive(Clone)]
pub(crate) struct Database {
    world: Arc<World>,
    slot: usize,
    incarnation: Incarnation,
    /// The companies whose latest claim has an unknown outcome for this process.
    unknown: Arc<Mutex<BTreeSet<Option<usize>>>>,
}

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    /// A write that no reader of the feed waits for.
    QuietWrite,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    Fails {
        before: bool,
    },
    Silent {
        before: bool,
    },
    /// The caller gets an error or no answer, and the call lands later.
    Late {
        by: Duration,
        is_silent: bool,
    },
}

impl Database {
    pub(crate) fn new(world: &Arc<World>, slot: usize, incarnation: Incarnation) -> Self {
        Self { world: Arc::clone(world), slot, incarnation, unknown: Arc::default() }
    }

    fn name(&self) -> Name {
        Name(self.slot, self.incarnation)
    }

    /// Makes a call over the network.
    async fn ask<T: Send + 'static>(
        &self,
        kind: Kind,
        call: impl FnOnce(MemoryStore) -> Answer<T> + Send,
    ) -> Result<T> {
        let (trouble, there, back) = self.trouble(kind);
        let (call, world) = (call(self.world.store()), Arc::clone(&self.world));
        let call = async move {
            let answer = call.await;
            if kind == Kind::Write {
                world.written.notify_waiters();
            }
            answer
        };
        match trouble {
            Trouble::None => {
                tokio::time::sleep(there).await;
                let answer = call.await;
                tokio::time::sleep(back).await;
                answer
            }
            Trouble::Fails { before } => {
                tokio::time::sleep(there).await;
                if !before {
                    let _ = call.await;
                }
                Err(unavailable())
            }
            Trouble::Silent { before } => {
                tokio::time::sleep(there).await;
                if !before {
                    let _ = call.await;
                }
                std::future::pending().await
            }
            Trouble::Late { by, is_silent } => {
                // On the server's side: it continues whatever happens to this process.
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let _ = call.await;
                });
                tokio::time::sleep(there).await;
                if is_silent { std::future::pending().await } else { Err(unavailable()) }
            }
        }
    }

    /// Draws what happens to the next call, and its travel times there and back.
    fn trouble(&self, kind: Kind) -> (Trouble, Duration, Duration) {
        let world = &self.world;
        let (weather, now) = (world.weather().clone(), world.now());
        let mut dice = world.dice();
        let (there, back) = (dice.milliseconds(0..4), dice.milliseconds(0..4));
        if weather.is_calm {
            return (Trouble::None, there, back);
        }
        let (slot, until) = weather.store_away_for;
        if now < weather.store_away_until || (slot == self.slot && now < until) {
            let trouble =
                if dice.chance(0.7) { Trouble::Fails { before: true } } else { Trouble::Silent { before: true } };
            drop(dice);
            world.suffers(Fault::StoreOutage, self.name());
            world.hindered(self.incarnation);
            return (trouble, there, back);
        }
        if !dice.chance(world.plan.store) {
            return (Trouble::None, there, back);
        }
        let slow = dice.milliseconds(100..8000);
        let late = dice.milliseconds(500..90_000);
        let (fault, trouble) = match dice.below(if kind == Kind::Read { 4 } else { 7 }) {
            0 => (Fault::StoreFailsBefore, Trouble::Fails { before: true }),
            1 => (Fault::StoreSilentBefore, Trouble::Silent { before: true }),
            2 | 3 => {
                drop(dice);
                world.suffers(Fault::StoreDelay, self.name());
                return (Trouble::None, there + slow, back);
            }
            4 => (Fault::StoreFailsAfter, Trouble::Fails { before: false }),
            5 => (Fault::StoreSilentAfter, Trouble::Silent { before: false }),
            _ => (Fault::StoreLate, Trouble::Late { by: late, is_silent: dice.chance(0.5) }),
        };
        drop(dice);
        world.suffers(fault, self.name());
        if !matches!(trouble, Trouble::Fails { .. }) {
            world.hindered(self.incarnation);
        }
        (trouble, there, back)
    }

    /// A save on the server's side; the ledger records it when it lands.
    fn save_there(&self, swap: Swap) -> Answer<Saved> {
        let this = self.clone();
        Box::pin(async move {
            let Some(company) = swap.key.company.as_ref().map(|company| this.world.index_of(company)) else {
                return this.world.store().save(swap).await;
            };
            let row = lock(&this.world.held).get(&company).cloned();
            let _held = match row {
                Some(row) => Some(row.lock_owned().await),
                None => None,
            };
            this.swap(swap, company).await
        })
    }

    /// Swaps the row, whose lock is held.
    async fn swap(&self, mut swap: Swap, company: usize) -> Result<Saved> {
        let world = &self.world;
        if world.broken == Some(Break::NoCompare) && swap.step == "claim" {
            swap.expected = world.store().load(&swap.key).await?.number;
        }
        let forgets = match world.broken {
            Some(Break::ForgetsDoubt) => true,
            Some(Break::TrustsImports) => swap.step == "import",
            _ => false,
        };
        if forgets {
            swap.document = crate::broken::without(&swap.document, &["unanswered", "suspect_until"]);
        }
        if world.broken == Some(Break::PublishesFirst) && swap.step == "commit" && world.dice().chance(0.02) {
            let number = swap.expected.next(world.clocks.now());
            return Ok(Saved::Yes { number, change: EventId::START, at: world.clocks.now() });
        }
        let landed = Landed::of(&swap, company);
        let revision = swap.revision;
        let saved = world.store().save(swap).await;
        let outcome = if matches!(saved, Ok(Saved::Yes { .. })) { "lands" } else { "conflicts" };
        world.note(self.name(), format_args!("c{company} {} {revision} {outcome}", landed.step));
        if outcome == "lands" {
            let (now, store_set) = (world.now(), world.clocks.store_set());
            world.ledger(|ledger| ledger.landed(self.incarnation, &landed, now, store_set));
        }
        saved
    }

    /// A save that is judged now and lands when its commit completes. Other saves of the same row wait.
    async fn save_held(&self, swap: Swap, by: Duration) -> Result<Saved> {
        let Some(company) = swap.key.company.as_ref().map(|company| self.world.index_of(company)) else {
            return self.world.store().save(swap).await;
        };
        let row = Arc::clone(lock(&self.world.held).entry(company).or_default());
        let guard = row.lock_owned().await;
        let stored = self.world.store().load(&swap.key).await?;
        let is_good = stored.number == swap.expected && (swap.is_in_time(stored.as_of));
        if !is_good {
            return Ok(Saved::Conflict);
        }
        let this = self.clone();
        let (send, saved) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(by).await;
            let saved = this.swap(Swap { decided_at: None, ..swap }, company).await;
            this.world.written.notify_waiters();
            drop(guard);
            let _ = send.send(saved);
        });
        saved.await.unwrap_or_else(|_| Err(unavailable()))
    }
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable)
}

#[async_trait]
impl Store for Database {
    async fn load(&self, key: &RowKey) -> Result<Row> {
        let key = key.clone();
        self.ask(Kind::Read, |store| Box::pin(async move { store.load(&key).await })).await
    }

    async fn save(&self, swap: Swap) -> Result<Saved> {
        let world = &self.world;
        if swap.key.company.is_none() {
            let mut swap = swap;
            if world.broken == Some(Break::ForgetsOutages) {
                swap.document = crate::broken::without(&swap.document, &["out_of_reach_since"]);
            }
            return self.ask(Kind::Write, |store| Box::pin(async move { store.save(swap).await })).await;
        }
        let is_commit = swap.step == "commit";
        let before = if is_commit { Fault::KilledWithPair } else { Fault::KilledBeforeSave };
        world.befalls(self.slot, self.incarnation, before).await;
        let company = swap.key.company.as_ref().map(|company| world.index_of(company));
        let is_fenced = matches!(swap.step, "fence" | "release") && lock(&self.unknown).remove(&company);
        if world.broken == Some(Break::Unfenced) && is_fenced {
            let number = swap.expected.next(world.clocks.now());
            return Ok(Saved::Yes { number, change: EventId::START, at: world.clocks.now() });
        }
        let is_claim = swap.step == "claim";
        if swap.step == "import" {
            let sent = company.map(|company| Landed::of(&swap, company));
            world.ledger(|ledger| sent.iter().for_each(|sent| ledger.import_is_sent(sent)));
        }
        let held = {
            let mut dice = world.dice();
            let is_held = !is_commit && dice.chance(world.plan.store / 8.0);
            is_held.then(|| dice.milliseconds(500..90_000))
        };
        let saved = match held.filter(|_| !world.weather().is_calm) {
            Some(by) => {
                world.suffers(Fault::StoreHeldCommit, self.name());
                world.hindered(self.incarnation);
                self.save_held(swap, by).await
            }
            None => {
                let there = self.save_there(swap);
                self.ask(Kind::Write, |_| there).await
            }
        };
        world.befalls(self.slot, self.incarnation, Fault::KilledAfterSave).await;
        if is_claim && saved.is_err() {
            lock(&self.unknown).insert(company);
        }
        saved
    }

    async fn put_consent(&self, consent: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<()> {
        self.ask(Kind::Write, |store| Box::pin(async move { store.put_consent(consent, caps, event).await })).await
    }

    async fn find_consent(&self, environment: Environment, state: &SecretHash) -> Result<Option<FoundConsent>> {
        let state = *state;
        self.ask(Kind::Read, |store| Box::pin(async move { store.find_consent(environment, &state).await })).await
    }

    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>> {
        self.ask(Kind::Write, |store| Box::pin(async move { store.use_consent(environment, id, event).await })).await
    }

    async fn wake(&self, environment: Environment, limit: usize) -> Result<Vec<Row>> {
        self.ask(Kind::Read, |store| Box::pin(async move { store.wake(environment, limit).await })).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<()> {
        let companies = companies.to_vec();
        self.ask(Kind::Read, |store| Box::pin(async move { store.record_use(environment, &companies).await })).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>> {
        self.ask(Kind::Read, |store| Box::pin(async move { store.list(query).await })).await
    }

    async fn events(&self, query: EventQuery) -> Result<EventPage> {
        self.ask(Kind::Read, |store| Box::pin(async move { store.events(query).await })).await
    }

    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId> {
        self.ask(Kind::Write, |store| Box::pin(async move { store.append(environment, event).await })).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        self.ask(Kind::Read, |store| Box::pin(async move { store.prune(prune).await })).await
    }

    async fn changes(&self, environment: Environment, after: Option<EventId>, wait: Duration) -> Result<Changes> {
        let world = Arc::clone(&self.world);
        let answer = self.ask(Kind::Read, |store| {
            Box::pin(async move {
                let mut changes = world.changes(&store, environment, after, wait).await?;
                if world.broken == Some(Break::DeafFeed) {
                    changes.changed.clear();
                }
                Ok((changes, world.now()))
            })
        });
        let (changes, as_of) = answer.await?;
        // A call without a cursor reports no changes.
        if after.is_some() {
            self.world.ledger(|ledger| ledger.heard(self.incarnation, as_of));
        }
        Ok(changes)
    }

    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>> {
        let delivery = delivery.clone();
        self.ask(Kind::QuietWrite, |store| {
            Box::pin(async move { store.take_delivery(environment, &delivery, lease).await })
        })
        .await
    }

    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool> {
        let delivery = delivery.clone();
        let skips = self.world.broken == Some(Break::SkipsEvents) && self.world.dice().chance(0.02);
        let cursor = EventId::new(cursor.number() + u64::from(skips));
        self.ask(Kind::QuietWrite, |store| {
            Box::pin(async move { store.advance_delivery(environment, &delivery, cursor, then).await })
        })
        .await
    }
}

impl World {
    /// The store's feed. A store in memory wakes its readers in an order that tokio draws; here they wake in the order
    /// in which they came.
    async fn changes(
        &self,
        store: &MemoryStore,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let written = self.written.notified();
            let changes = store.changes(environment, after, Duration::ZERO).await?;
            if after != Some(changes.cursor) || tokio::time::timeout_at(until, written).await.is_err() {
                return Ok(changes);
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("slot", &self.slot).finish_non_exhaustive()
    }
}
