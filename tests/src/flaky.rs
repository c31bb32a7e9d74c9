//! A store whose calls can fail or be held, before or after they take effect: the only wrapper around a store.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    events::{EventContent, Evidence},
    forward_store,
    store::{Call, Store, StoreError, StoreErrorKind},
};

use crate::{Hold, mark::Mark};

/// A verb of the storage trait, or a saved step, as far as tests interfere with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A consent is stored.
    PutConsent,
    /// A consent is used.
    UseConsent,
    /// The first pair of an opt-in is saved.
    Connect,
    /// Another system's tokens are saved.
    Import,
    /// A company's row is read.
    Load,
    /// A refresh token is claimed.
    Claim,
    /// A claim is released.
    Release,
    /// The new pair of a rotation is saved.
    Commit,
    /// An attempt ends without a pair.
    Verdict,
    /// An authorization is removed.
    Remove,
    /// Woken rows are handed out.
    Wake,
    /// People are told that an opt-in ended.
    Notify,
    /// An unreadable row is postponed.
    Postpone,
    /// The change feed is read.
    Changes,
    /// The event log is read.
    Events,
    /// An event without a row change is written.
    Append,
    /// Uses are recorded.
    RecordUse,
    /// Companies are listed.
    List,
    /// A delivery is taken.
    TakeDelivery,
    /// A delivery's cursor is moved.
    AdvanceDelivery,
    /// Anything else.
    Other,
}

impl Verb {
    fn of(call: Call<'_>) -> Self {
        match call {
            Call::Load(key) if key.company.is_some() => Self::Load,
            Call::Save(swap) => match swap.step {
                "connect" => Self::Connect,
                "import" => Self::Import,
                "claim" => Self::Claim,
                "release" => Self::Release,
                "commit" => Self::Commit,
                "refused" | "unanswered" => Self::Verdict,
                "remove" => Self::Remove,
                "notify" => Self::Notify,
                "postpone" => Self::Postpone,
                _ => Self::Other,
            },
            Call::PutConsent(..) => Self::PutConsent,
            Call::UseConsent(..) => Self::UseConsent,
            Call::Wake => Self::Wake,
            Call::RecordUse(_) => Self::RecordUse,
            Call::List(_) => Self::List,
            Call::Events(_) => Self::Events,
            Call::Append(_) => Self::Append,
            Call::Changes(_) => Self::Changes,
            Call::TakeDelivery(_) => Self::TakeDelivery,
            Call::AdvanceDelivery(..) => Self::AdvanceDelivery,
            _ => Self::Other,
        }
    }

    /// All verbs.
    pub const ALL: [Self; 21] = [
        Self::PutConsent,
        Self::UseConsent,
        Self::Connect,
        Self::Import,
        Self::Load,
        Self::Claim,
        Self::Release,
        Self::Commit,
        Self::Verdict,
        Self::Remove,
        Self::Wake,
        Self::Notify,
        Self::Postpone,
        Self::Changes,
        Self::Events,
        Self::Append,
        Self::RecordUse,
        Self::List,
        Self::TakeDelivery,
        Self::AdvanceDelivery,
        Self::Other,
    ];
}

/// The message of the innermost cause of every failure.
pub const CAUSE: &str = "25006: the server is read-only";

/// When the fault occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Before the call takes effect.
    Before,
    /// After the call took effect, before its answer.
    After,
}

#[derive(Clone, Debug)]
enum Trouble {
    Fail(StoreErrorKind),
    Hold(Hold),
    Hang,
    Panic,
}

/// A connection to a store that others may use without faults.
pub struct FlakyStore {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How long each call travels.
    distance: Duration,
    /// For the next calls, one each.
    once: HashMap<(Verb, Moment), VecDeque<Trouble>>,
    always: HashMap<Verb, (Moment, Trouble)>,
    is_away: bool,
    takes_only_ascii: bool,
    calls: HashMap<Verb, usize>,
    failures: HashMap<Verb, usize>,
    successes: HashMap<Verb, Vec<Mark>>,
    /// The `Debug` output of everything passed in and out, if it is recorded.
    witnessed: Option<BTreeSet<String>>,
}

impl FlakyStore {
    /// A connection to `store` without faults yet.
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

    /// The next call of `verb` stops at this moment until it is released.
    pub fn hold(&self, verb: Verb, moment: Moment) -> Hold {
        let hold = Hold::default();
        self.once(verb, moment, Trouble::Hold(hold.clone()));
        hold
    }

    /// Every call of `verb` fails until [`mend`](Self::mend).
    pub fn fail(&self, verb: Verb, moment: Moment) {
        self.always(verb, moment, Trouble::Fail(StoreErrorKind::Unavailable));
    }

    /// Every call of `verb` fails with this kind, until [`mend`](Self::mend).
    pub fn fail_as(&self, verb: Verb, kind: StoreErrorKind) {
        self.always(verb, Moment::Before, Trouble::Fail(kind));
    }

    /// No call of `verb` is answered, until [`mend`](Self::mend) for later calls.
    pub fn hang(&self, verb: Verb) {
        self.always(verb, Moment::Before, Trouble::Hang);
    }

    /// `verb` works again.
    pub fn mend(&self, verb: Verb) {
        self.state().always.remove(&verb);
    }

    /// From now on each call takes this long.
    pub fn set_distance(&self, distance: Duration) {
        self.state().distance = distance;
    }

    /// Every call of every verb fails until [`come_back`](Self::come_back), and nothing is written.
    pub fn go_away(&self) {
        self.state().is_away = true;
    }

    /// Ends [`go_away`](Self::go_away).
    pub fn come_back(&self) {
        self.state().is_away = false;
    }

    /// Behaves like a database with a small character set: rejects verdicts and events with other characters.
    pub fn take_only_ascii(&self) {
        self.state().takes_only_ascii = true;
    }

    /// From now on records everything passed in and out, as `Debug` shows it.
    #[must_use]
    pub fn witnessed(self) -> Self {
        self.state().witnessed = Some(BTreeSet::new());
        self
    }

    /// Everything passed in and out since the last call.
    pub fn take_witnessed(&self) -> BTreeSet<String> {
        self.state().witnessed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How often `verb` was called.
    pub fn calls(&self, verb: Verb) -> usize {
        self.state().calls.get(&verb).copied().unwrap_or_default()
    }

    /// How often `verb` failed in this wrapper.
    pub fn failures(&self, verb: Verb) -> usize {
        self.state().failures.get(&verb).copied().unwrap_or_default()
    }

    /// When the store completed `verb`, each time.
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

    /// A call begins: returns its verb, and whether the store ever accepts its characters.
    fn begins(&self, call: Call<'_>) -> (Verb, Result<(), StoreError>) {
        let verb = Verb::of(call);
        let mut state = self.state();
        *state.calls.entry(verb).or_default() += 1;
        state.witness(&call);
        let events: Vec<_> = match call {
            Call::Save(swap) => swap.events.iter().collect(),
            Call::Append(event) => vec![&event.event],
            _ => Vec::new(),
        };
        let is_rejected = state.takes_only_ascii && !events.into_iter().all(is_ascii);
        (verb, if is_rejected { Err(failure(StoreErrorKind::Rejected)) } else { Ok(()) })
    }

    async fn answer<T: fmt::Debug>(
        &self,
        (verb, taken): (Verb, Result<(), StoreError>),
        happens: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let distance = self.state().distance;
        if !distance.is_zero() {
            tokio::time::sleep(distance).await;
        }
        self.suffer(verb, Moment::Before).await?;
        taken?;
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
}

fn is_ascii(event: &EventContent) -> bool {
    let is_ascii = |text: &Option<String>| text.as_ref().is_none_or(|text| text.is_ascii());
    event.evidence.as_ref().is_none_or(|evidence: &Evidence| is_ascii(&evidence.code) && is_ascii(&evidence.message))
}

impl State {
    /// The fault for a call of `verb` at this moment.
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

/// With nested causes, like a database driver's error.
fn failure(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind).with_source(io::Error::other(io::Error::other(CAUSE)))
}

impl fmt::Debug for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlakyStore").field("store", &self.store).finish_non_exhaustive()
    }
}

forward_store! {
    impl [] Store for FlakyStore;
    |this| &*this.store;
    |this, call| this.begins(call);
    |this, begun, answer| this.answer(begun, answer).await
}
