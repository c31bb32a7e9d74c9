//! A store whose calls can fail or be held up, before or after they happened.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::Mutex,
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    events::{Event, EventId},
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
pub(crate) enum Verb {
    BeginConsent,
    TakeConsent,
    Connect,
    Load,
    Claim,
    GiveBack,
    Commit,
    Settle,
    Remove,
    Due,
    Warn,
    Changes,
    Events,
    Other,
}

/// When the trouble comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing has happened yet.
    Before,
    /// It has happened; the answer is on its way.
    After,
}

#[derive(Clone, Debug)]
enum Trouble {
    Fail(Moment),
    Hold(Moment, Hold),
    Panic,
}

/// A process's own way to a [`MemoryStore`] that others reach without trouble.
pub(crate) struct Flaky {
    store: MemoryStore,
    once: Mutex<HashMap<Verb, VecDeque<Trouble>>>,
    always: Mutex<HashMap<Verb, Moment>>,
    calls: Mutex<HashMap<Verb, usize>>,
    /// `Debug` of everything handed in and out, if it is kept.
    witnessed: Option<Mutex<BTreeSet<String>>>,
}

impl Flaky {
    pub(crate) fn over(store: MemoryStore) -> Self {
        Self { store, once: Mutex::default(), always: Mutex::default(), calls: Mutex::default(), witnessed: None }
    }

    /// Keeps what is handed in and out, as `Debug` shows it.
    #[allow(dead_code, reason = "the canary's")]
    pub(crate) fn witnessed(store: MemoryStore) -> Self {
        Self { witnessed: Some(Mutex::default()), ..Self::over(store) }
    }

    #[allow(dead_code, reason = "the canary's")]
    pub(crate) fn take_witnessed(&self) -> BTreeSet<String> {
        self.witnessed.as_ref().map(|witnessed| std::mem::take(&mut *witnessed.lock().unwrap())).unwrap_or_default()
    }

    /// The next call of `verb` fails.
    pub(crate) fn fail_once(&self, verb: Verb, moment: Moment) {
        self.once.lock().unwrap().entry(verb).or_default().push_back(Trouble::Fail(moment));
    }

    /// The next call of `verb` panics.
    pub(crate) fn panic_once(&self, verb: Verb) {
        self.once.lock().unwrap().entry(verb).or_default().push_back(Trouble::Panic);
    }

    /// Every call of `verb` fails until [`mend`](Self::mend).
    pub(crate) fn fail(&self, verb: Verb, moment: Moment) {
        self.always.lock().unwrap().insert(verb, moment);
    }

    /// `verb` works again.
    pub(crate) fn mend(&self, verb: Verb) {
        self.always.lock().unwrap().remove(&verb);
    }

    /// The next call of `verb` stops there until it is released.
    pub(crate) fn hold(&self, verb: Verb, moment: Moment) -> Hold {
        let hold = Hold::default();
        self.once.lock().unwrap().entry(verb).or_default().push_back(Trouble::Hold(moment, hold.clone()));
        hold
    }

    /// How often `verb` was called.
    pub(crate) fn calls(&self, verb: Verb) -> usize {
        self.calls.lock().unwrap().get(&verb).copied().unwrap_or_default()
    }

    fn witness(&self, shown: &impl fmt::Debug) {
        if let Some(witnessed) = &self.witnessed {
            witnessed.lock().unwrap().insert(format!("{shown:?}"));
        }
    }

    async fn call<T: fmt::Debug>(
        &self,
        verb: Verb,
        happens: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        *self.calls.lock().unwrap().entry(verb).or_default() += 1;
        let once = self.once.lock().unwrap().get_mut(&verb).and_then(VecDeque::pop_front);
        let trouble = once.or_else(|| self.always.lock().unwrap().get(&verb).copied().map(Trouble::Fail));
        suffer(trouble.as_ref(), Moment::Before).await?;
        let answer = happens.await;
        self.witness(&answer);
        suffer(trouble.as_ref(), Moment::After).await?;
        answer
    }
}

impl fmt::Debug for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flaky").field("store", &self.store).finish_non_exhaustive()
    }
}

async fn suffer(trouble: Option<&Trouble>, now: Moment) -> Result<(), StoreError> {
    match trouble {
        Some(Trouble::Panic) => panic!("the store has a bug"),
        Some(Trouble::Fail(moment)) if *moment == now => Err(StoreError::new(StoreErrorKind::Unavailable)),
        Some(Trouble::Hold(moment, hold)) if *moment == now => {
            hold.pass().await;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Store for Flaky {
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
        self.call(Verb::GiveBack, self.store.give_back(give_back)).await
    }

    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        self.witness(&commit);
        self.call(Verb::Commit, self.store.commit_refresh(commit)).await
    }

    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        self.witness(&settle);
        self.call(Verb::Settle, self.store.settle_refresh(settle)).await
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
        self.call(Verb::Other, self.store.record(event)).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        self.witness(&query);
        self.call(Verb::Due, self.store.due(query)).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        self.call(Verb::Other, self.store.record_use(environment, companies)).await
    }

    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        self.witness(&query);
        self.call(Verb::Warn, self.store.warn_expiring(query)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        self.witness(&query);
        self.call(Verb::Other, self.store.list(query)).await
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
