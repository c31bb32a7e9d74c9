//! A store whose calls can fail or be held up, before or after they happened: the one wrapper around a store.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

use crate::{Hold, mark::Mark};

/// A verb of the storage trait, or a step that it saves: as far as a test troubles it.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Nothing has happened yet.
    Before,
    /// It has happened; the answer is on its way.
    After,
}

#[derive(Clone, Debug)]
enum Trouble {
    Fail(StoreErrorKind),
    Hold(Hold),
    Hang,
    Panic,
}

/// A way to a store that others may reach without trouble.
pub struct FlakyStore {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// For the next calls, one each.
    once: HashMap<(Verb, Moment), VecDeque<Trouble>>,
    always: HashMap<Verb, (Moment, Trouble)>,
    is_away: bool,
    takes_only_ascii: bool,
    calls: HashMap<Verb, usize>,
    failures: HashMap<Verb, usize>,
    successes: HashMap<Verb, Vec<Mark>>,
    /// `Debug` of everything handed in and out, if it is kept.
    witnessed: Option<BTreeSet<String>>,
}

impl FlakyStore {
    /// A way to `store` on which nothing goes wrong yet.
    pub fn over(store: impl Store) -> Self {
        Self { store: Arc::new(store), state: Mutex::default() }
    }

    /// The next call of `verb` fails.
    pub fn fail_once(&self, verb: Verb, moment: Moment) {
        self.once(verb, moment, Trouble::Fail(StoreErrorKind::Unavailable));
    }

    /// The next call of `verb` panics.
    pub fn panic_once(&self, verb: Verb) {
        self.once(verb, Moment::Before, Trouble::Panic);
    }

    /// The next call of `verb` stops there until it is released.
    pub fn hold(&self, verb: Verb, moment: Moment) -> Hold {
        let hold = Hold::default();
        self.once(verb, moment, Trouble::Hold(hold.clone()));
        hold
    }

    /// Every call of `verb` fails until [`mend`](Self::mend).
    pub fn fail(&self, verb: Verb, moment: Moment) {
        self.always(verb, moment, Trouble::Fail(StoreErrorKind::Unavailable));
    }

    /// Every call of `verb` fails in this way, until [`mend`](Self::mend).
    pub fn fail_as(&self, verb: Verb, kind: StoreErrorKind) {
        self.always(verb, Moment::Before, Trouble::Fail(kind));
    }

    /// Every call of `verb` is never answered, until [`mend`](Self::mend) for those that come then.
    pub fn hang(&self, verb: Verb) {
        self.always(verb, Moment::Before, Trouble::Hang);
    }

    /// `verb` works again.
    pub fn mend(&self, verb: Verb) {
        self.state().always.remove(&verb);
    }

    /// Every call of every verb fails until [`come_back`](Self::come_back), and nothing is written.
    pub fn go_away(&self) {
        self.state().is_away = true;
    }

    /// Ends [`go_away`](Self::go_away).
    pub fn come_back(&self) {
        self.state().is_away = false;
    }

    /// Like a database in an encoding of few characters: no verdict and no event with others is ever taken.
    pub fn take_only_ascii(&self) {
        self.state().takes_only_ascii = true;
    }

    /// Keeps everything that is handed in and out from now on, as `Debug` shows it.
    #[must_use]
    pub fn witnessed(self) -> Self {
        self.state().witnessed = Some(BTreeSet::new());
        self
    }

    /// Everything that was handed in and out since the last call.
    pub fn take_witnessed(&self) -> BTreeSet<String> {
        self.state().witnessed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How often `verb` was called.
    pub fn calls(&self, verb: Verb) -> usize {
        self.state().calls.get(&verb).copied().unwrap_or_default()
    }

    /// How often `verb` failed here.
    pub fn failures(&self, verb: Verb) -> usize {
        self.state().failures.get(&verb).copied().unwrap_or_default()
    }

    /// When the store had done `verb`, each time.
    pub fn successes(&self, verb: Verb) -> Vec<Mark> {
        self.state().successes.get(&verb).cloned().unwrap_or_default()
    }

    fn once(&self, verb: Verb, moment: Moment, trouble: Trouble) {
        self.state().once.entry((verb, moment)).or_default().push_back(trouble);
    }

    fn always(&self, verb: Verb, moment: Moment, trouble: Trouble) {
        self.state().always.insert(verb, (moment, trouble));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<I: fmt::Debug, O: fmt::Debug, F: Future<Output = Result<O, StoreError>> + Send>(
        &self,
        verb: Verb,
        input: I,
        happens: impl FnOnce(I) -> F,
    ) -> Result<O, StoreError> {
        *self.state().calls.entry(verb).or_default() += 1;
        self.state().witness(&input);
        let happens = happens(input);
        self.suffer(verb, Moment::Before).await?;
        let answer = happens.await;
        self.state().witness(&answer);
        if answer.is_ok() {
            self.state().successes.entry(verb).or_default().push(Mark::here());
        }
        self.suffer(verb, Moment::After).await?;
        answer
    }

    async fn suffer(&self, verb: Verb, moment: Moment) -> Result<(), StoreError> {
        let trouble = self.state().trouble(verb, moment);
        match trouble {
            None => Ok(()),
            Some(Trouble::Panic) => panic!("the store has a bug"),
            Some(Trouble::Hang) => std::future::pending().await,
            Some(Trouble::Fail(kind)) => {
                *self.state().failures.entry(verb).or_default() += 1;
                Err(failure(kind))
            }
            Some(Trouble::Hold(hold)) => {
                hold.pass().await;
                Ok(())
            }
        }
    }

    fn judge<'a>(&self, evidence: impl IntoIterator<Item = &'a Evidence>) -> Result<(), StoreError> {
        let is_ascii = |text: &Option<String>| text.as_ref().is_none_or(|text| text.is_ascii());
        let is_taken = |evidence: &Evidence| is_ascii(&evidence.code) && is_ascii(&evidence.message);
        if self.state().takes_only_ascii && !evidence.into_iter().all(is_taken) {
            return Err(failure(StoreErrorKind::Rejected));
        }
        Ok(())
    }
}

impl State {
    /// What a call of `verb` comes upon at this moment.
    fn trouble(&mut self, verb: Verb, moment: Moment) -> Option<Trouble> {
        if self.is_away && moment == Moment::Before {
            return Some(Trouble::Fail(StoreErrorKind::Unavailable));
        }
        let once = self.once.get_mut(&(verb, moment)).and_then(VecDeque::pop_front);
        once.or_else(|| self.always.get(&verb).filter(|(when, _)| *when == moment).map(|(_, trouble)| trouble.clone()))
    }

    fn witness(&mut self, shown: &impl fmt::Debug) {
        if let Some(witnessed) = &mut self.witnessed {
            witnessed.insert(format!("{shown:?}"));
        }
    }
}

/// With causes, as a database's driver has them.
fn failure(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind).with_source(io::Error::other(io::Error::other(CAUSE)))
}

impl fmt::Debug for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlakyStore").field("store", &self.store).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for FlakyStore {
    async fn begin_consent(&self, consent: NewConsent) -> Result<(), StoreError> {
        self.call(Verb::BeginConsent, consent, |consent| self.store.begin_consent(consent)).await
    }

    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        self.call(Verb::TakeConsent, take, |take| self.store.take_consent(take)).await
    }

    async fn connect(&self, connect: Connect) -> Result<Connected, StoreError> {
        self.call(Verb::Connect, connect, |connect| self.store.connect(connect)).await
    }

    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError> {
        self.call(Verb::Load, key, |key| self.store.load(key)).await
    }

    async fn claim_refresh(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError> {
        self.call(Verb::Claim, claim, |claim| self.store.claim_refresh(claim)).await
    }

    async fn give_back(&self, give_back: GiveBack) -> Result<Written, StoreError> {
        let taken = self.judge(give_back.event.as_ref().map(|(_, evidence)| evidence));
        let happens = |give_back| async move {
            taken?;
            self.store.give_back(give_back).await
        };
        self.call(Verb::GiveBack, give_back, happens).await
    }

    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        self.call(Verb::Commit, commit, |commit| self.store.commit_refresh(commit)).await
    }

    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        let taken = self.judge([&settle.evidence]);
        let happens = |settle| async move {
            taken?;
            self.store.settle_refresh(settle).await
        };
        self.call(Verb::Settle, settle, happens).await
    }

    async fn remove(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError> {
        self.call(Verb::Remove, (key, actor), |(key, actor)| self.store.remove(key, actor)).await
    }

    async fn mark_unanswered(&self, environment: Environment) -> Result<u64, StoreError> {
        self.call(Verb::Other, environment, |environment| self.store.mark_unanswered(environment)).await
    }

    async fn record(&self, event: NewEvent) -> Result<EventId, StoreError> {
        let taken = self.judge(&event.evidence);
        let happens = |event| async move {
            taken?;
            self.store.record(event).await
        };
        self.call(Verb::Record, event, happens).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        self.call(Verb::Due, query, |query| self.store.due(query)).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        let happens = |companies| self.store.record_use(environment, companies);
        self.call(Verb::RecordUse, companies, happens).await
    }

    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        self.call(Verb::Warn, query, |query| self.store.warn_expiring(query)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        self.call(Verb::List, query, |query| self.store.list(query)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        self.call(Verb::Events, query, |query| self.store.events(query)).await
    }

    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        self.call(Verb::Changes, after, |after| self.store.changes(environment, after, wait)).await
    }
}
