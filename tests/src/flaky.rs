//! A store whose calls can fail or be held up, before or after they happened.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt, io,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    events::{Event, EventId, Evidence},
    status::CompanyStatus,
    store::{
        Changes, ClaimRefresh, Claimed, CommitRefresh, Committed, Connect, Connected, DueQuery, EventQuery, GiveBack,
        GrantKey, ListQuery, NewConsent, NewEvent, Page, SettleRefresh, Snapshot, Store, StoreError, StoreErrorKind,
        TakeConsent, TakenConsent, WarnExpiring, Written,
    },
};
use batchsuite_store::MemoryStore;

use crate::hold::Hold;

/// A verb of the storage trait, as far as a test troubles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A consent is stored.
    BeginConsent,
    /// A consent is taken.
    TakeConsent,
    /// The first pair of an opt-in is stored.
    Connect,
    /// A grant is read.
    Load,
    /// A refresh token is claimed.
    Claim,
    /// A claim is given back.
    GiveBack,
    /// The new pair of a rotation is stored.
    Commit,
    /// An attempt ends without a pair.
    Settle,
    /// An authorization is removed.
    Remove,
    /// Grants whose refresh is due are handed out.
    Due,
    /// Expiry warnings are raised.
    Warn,
    /// The change feed is read.
    Changes,
    /// The event log is read.
    Events,
    /// An event that changes no grant is written.
    Record,
    /// Uses are remembered.
    RecordUse,
    /// Companies are listed.
    List,
    /// Anything else: the mark after a restored backup.
    Other,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::BeginConsent,
        Self::TakeConsent,
        Self::Connect,
        Self::Load,
        Self::Claim,
        Self::GiveBack,
        Self::Commit,
        Self::Settle,
        Self::Remove,
        Self::Due,
        Self::Warn,
        Self::Changes,
        Self::Events,
        Self::Record,
        Self::RecordUse,
        Self::List,
        Self::Other,
    ];
}

/// What the innermost cause of every failure says.
pub const CAUSE: &str = "25006: the server is read-only";

/// When the trouble comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has happened yet.
    Before,
    /// It has happened; the answer is on its way.
    After,
}

#[derive(Clone, Debug)]
enum Trouble {
    Fail(Moment, StoreErrorKind),
    Hold(Moment, Hold),
    Hang,
    Panic,
}

/// A process's own way to a [`MemoryStore`] that others reach without trouble.
pub struct FlakyStore {
    store: MemoryStore,
    once: Mutex<HashMap<Verb, VecDeque<Trouble>>>,
    always: Mutex<HashMap<Verb, Trouble>>,
    /// Whether it takes only ASCII from UPS.
    only_ascii: AtomicBool,
    calls: Mutex<HashMap<Verb, usize>>,
    /// `Debug` of everything handed in and out, if it is kept.
    witnessed: Option<Mutex<BTreeSet<String>>>,
}

impl FlakyStore {
    /// A way to `store` on which nothing goes wrong yet.
    pub fn over(store: MemoryStore) -> Self {
        Self {
            store,
            once: Mutex::default(),
            always: Mutex::default(),
            only_ascii: AtomicBool::new(false),
            calls: Mutex::default(),
            witnessed: None,
        }
    }

    /// Keeps what is handed in and out, as `Debug` shows it.
    pub fn witnessed(store: MemoryStore) -> Self {
        Self { witnessed: Some(Mutex::default()), ..Self::over(store) }
    }

    /// Everything that was handed in and out since the last call.
    pub fn take_witnessed(&self) -> BTreeSet<String> {
        self.witnessed
            .as_ref()
            .map(|witnessed| std::mem::take(&mut *witnessed.lock().expect("no test panicked here")))
            .unwrap_or_default()
    }

    /// The next call of `verb` fails.
    pub fn fail_once(&self, verb: Verb, moment: Moment) {
        let fails = Trouble::Fail(moment, StoreErrorKind::Unavailable);
        self.once.lock().expect("no test panicked here").entry(verb).or_default().push_back(fails);
    }

    /// The next call of `verb` panics.
    pub fn panic_once(&self, verb: Verb) {
        self.once.lock().expect("no test panicked here").entry(verb).or_default().push_back(Trouble::Panic);
    }

    /// Every call of `verb` fails until [`mend`](Self::mend).
    pub fn fail(&self, verb: Verb, moment: Moment) {
        self.always
            .lock()
            .expect("no test panicked here")
            .insert(verb, Trouble::Fail(moment, StoreErrorKind::Unavailable));
    }

    /// Every call of `verb` fails in this way, until [`mend`](Self::mend).
    pub fn fail_as(&self, verb: Verb, kind: StoreErrorKind) {
        self.always.lock().expect("no test panicked here").insert(verb, Trouble::Fail(Moment::Before, kind));
    }

    /// Every call of `verb` is never answered, until [`mend`](Self::mend) for those that come then.
    pub fn hang(&self, verb: Verb) {
        self.always.lock().expect("no test panicked here").insert(verb, Trouble::Hang);
    }

    /// Like a database in an encoding of few characters: no verdict and no event with others is ever taken.
    pub fn take_only_ascii(&self) {
        self.only_ascii.store(true, Relaxed);
    }

    fn judge<'a>(&self, evidence: impl IntoIterator<Item = &'a Evidence>) -> Result<(), StoreError> {
        let is_ascii = |text: &Option<String>| text.as_ref().is_none_or(|text| text.is_ascii());
        let is_taken = |evidence: &Evidence| is_ascii(&evidence.code) && is_ascii(&evidence.message);
        if self.only_ascii.load(Relaxed) && !evidence.into_iter().all(is_taken) {
            return Err(failure(StoreErrorKind::Rejected));
        }
        Ok(())
    }

    /// `verb` works again.
    pub fn mend(&self, verb: Verb) {
        self.always.lock().expect("no test panicked here").remove(&verb);
    }

    /// The next call of `verb` stops there until it is released.
    pub fn hold(&self, verb: Verb, moment: Moment) -> Hold {
        let hold = Hold::default();
        self.once
            .lock()
            .expect("no test panicked here")
            .entry(verb)
            .or_default()
            .push_back(Trouble::Hold(moment, hold.clone()));
        hold
    }

    /// How often `verb` was called.
    pub fn calls(&self, verb: Verb) -> usize {
        self.calls.lock().expect("no test panicked here").get(&verb).copied().unwrap_or_default()
    }

    fn witness(&self, shown: &impl fmt::Debug) {
        if let Some(witnessed) = &self.witnessed {
            witnessed.lock().expect("no test panicked here").insert(format!("{shown:?}"));
        }
    }

    async fn call<T: fmt::Debug>(
        &self,
        verb: Verb,
        happens: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        *self.calls.lock().expect("no test panicked here").entry(verb).or_default() += 1;
        let once = self.once.lock().expect("no test panicked here").get_mut(&verb).and_then(VecDeque::pop_front);
        let trouble = once.or_else(|| self.always.lock().expect("no test panicked here").get(&verb).cloned());
        suffer(trouble.as_ref(), Moment::Before).await?;
        let answer = happens.await;
        self.witness(&answer);
        suffer(trouble.as_ref(), Moment::After).await?;
        answer
    }
}

impl fmt::Debug for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlakyStore").field("store", &self.store).finish_non_exhaustive()
    }
}

/// With causes, as a database's driver has them.
fn failure(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind).with_source(io::Error::other(io::Error::other(CAUSE)))
}

async fn suffer(trouble: Option<&Trouble>, now: Moment) -> Result<(), StoreError> {
    match trouble {
        Some(Trouble::Panic) => panic!("the store has a bug"),
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Fail(moment, kind)) if *moment == now => Err(failure(*kind)),
        Some(Trouble::Hold(moment, hold)) if *moment == now => {
            hold.pass().await;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Store for FlakyStore {
    async fn begin_consent(&self, consent: NewConsent) -> Result<(), StoreError> {
        self.witness(&consent);
        self.call(Verb::BeginConsent, self.store.begin_consent(consent)).await
    }

    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        self.witness(&take);
        self.call(Verb::TakeConsent, self.store.take_consent(take)).await
    }

    async fn connect(&self, connect: Connect) -> Result<Connected, StoreError> {
        self.witness(&connect);
        self.call(Verb::Connect, self.store.connect(connect)).await
    }

    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError> {
        self.call(Verb::Load, self.store.load(key)).await
    }

    async fn claim_refresh(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError> {
        self.witness(&claim);
        self.call(Verb::Claim, self.store.claim_refresh(claim)).await
    }

    async fn give_back(&self, give_back: GiveBack) -> Result<Written, StoreError> {
        self.witness(&give_back);
        let taken = self.judge(give_back.event.as_ref().map(|(_, evidence)| evidence));
        let happens = async {
            taken?;
            self.store.give_back(give_back).await
        };
        self.call(Verb::GiveBack, happens).await
    }

    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        self.witness(&commit);
        self.call(Verb::Commit, self.store.commit_refresh(commit)).await
    }

    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        self.witness(&settle);
        let taken = self.judge([&settle.evidence]);
        let happens = async {
            taken?;
            self.store.settle_refresh(settle).await
        };
        self.call(Verb::Settle, happens).await
    }

    async fn remove(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError> {
        self.call(Verb::Remove, self.store.remove(key, actor)).await
    }

    async fn mark_unanswered(&self, environment: Environment) -> Result<u64, StoreError> {
        self.witness(&environment);
        self.call(Verb::Other, self.store.mark_unanswered(environment)).await
    }

    async fn record(&self, event: NewEvent) -> Result<EventId, StoreError> {
        self.witness(&event);
        let taken = self.judge(&event.evidence);
        let happens = async {
            taken?;
            self.store.record(event).await
        };
        self.call(Verb::Record, happens).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        self.witness(&query);
        self.call(Verb::Due, self.store.due(query)).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        self.call(Verb::RecordUse, self.store.record_use(environment, companies)).await
    }

    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        self.witness(&query);
        self.call(Verb::Warn, self.store.warn_expiring(query)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        self.witness(&query);
        self.call(Verb::List, self.store.list(query)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        self.witness(&query);
        self.call(Verb::Events, self.store.events(query)).await
    }

    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        self.call(Verb::Changes, self.store.changes(environment, after, wait)).await
    }
}
