//! The common setup of the tests: a store, processes over it, and handlers that write down what they are given.
//!
//! The tests run on tokio's paused time. [`Stage::live`] lets the wall clock pass with it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    Client, DeliveryHandle, Event, EventHandler, EventId, EventKind, Gap, HandlerError, Policy, async_trait,
    fake_ups::FakeUps,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{FlakyStore, Gate, HOUR, Hold, Process, ada, company, eventually, seconds};
use tokio::time::sleep;

pub(crate) const CONSUMER: &str = "billing-mails";

pub(crate) struct Stage {
    pub(crate) ups: FakeUps,
    pub(crate) store: MemoryStore,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let ups = FakeUps::start().await;
        Self { store: MemoryStore::with_clock(ups.clock()), ups }
    }

    /// A process without a keeper. A held call of the store stands for a stopped process, so no deadline ends it.
    pub(crate) fn process(&self) -> Process {
        let mut policy = Policy::default();
        policy.feed_interval = seconds(1);
        policy.store_deadline = HOUR;
        let client = Client::new(self.ups.client_id(), self.ups.client_secret());
        let store = Arc::new(FlakyStore::over(self.store.clone()));
        let http = Arc::new(Gate::before(self.ups.in_process()));
        Process::start(&self.ups, client, store, http, |builder| builder.without_keeper().policy(policy))
    }

    /// A process that delivers to `handler` as [`CONSUMER`], once it has seen the consumer's cursor.
    pub(crate) async fn delivering(&self, handler: &Notes) -> (Process, DeliveryHandle) {
        let process = self.process();
        let delivery = begun(&process, CONSUMER, handler).await;
        (process, delivery)
    }

    /// Lets time pass on the wall clock and on tokio's.
    pub(crate) async fn live(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.ups.clock().advance(seconds(1));
            sleep(seconds(1)).await;
        }
    }
}

/// Begins a delivery in `process`.
pub(crate) async fn begun(process: &Process, consumer: &str, handler: &Notes) -> DeliveryHandle {
    let delivery = process.auth.deliver(consumer, handler.clone()).unwrap();
    delivery.begun().await;
    delivery
}

/// Writes one event for each of these companies.
pub(crate) async fn happen(process: &Process, names: &[&str]) {
    for name in names {
        process.auth.authenticate(&company(name), &ada()).await.unwrap();
    }
}

/// What a handler was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Event(Event),
    Gap(Gap),
}

/// How a handler answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Fail,
    RetryAfter(Duration),
    Panic,
    Stop,
    Wait(Hold),
}

/// A handler that writes down what it is given when it begins. Clones share the notes.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    notes: Vec<Note>,
    answers: Vec<Answer>,
    always: Option<Answer>,
    wanted: Option<EventKind>,
    working: usize,
    overlaps: usize,
}

impl Notes {
    /// A handler that wants only this kind.
    pub(crate) fn wanting(kind: EventKind) -> Self {
        let notes = Self::default();
        notes.state().wanted = Some(kind);
        notes
    }

    /// Answers so to the next calls, one each.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state().answers.extend(answers);
    }

    /// Answers so to all calls, or succeeds again.
    pub(crate) fn always(&self, answer: Option<Answer>) {
        self.state().always = answer;
    }

    pub(crate) fn all(&self) -> Vec<Note> {
        self.state().notes.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state().notes.len()
    }

    /// The companies of the events.
    pub(crate) fn companies(&self) -> Vec<String> {
        self.events().iter().map(|event| event.company.as_ref().unwrap().to_string()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<EventId> {
        self.events().iter().map(|event| event.id).collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let event = |note| match note {
            Note::Event(event) => Some(event),
            Note::Gap(_) => None,
        };
        self.all().into_iter().filter_map(event).collect()
    }

    /// Waits until the handler has been given this many events and gaps.
    pub(crate) async fn reach(&self, count: usize) {
        eventually(&format!("{count} calls of the handler"), async || self.count() >= count).await;
    }

    /// How many calls are under way.
    pub(crate) fn working(&self) -> usize {
        self.state().working
    }

    /// How often a call began while another was under way.
    pub(crate) fn overlaps(&self) -> usize {
        self.state().overlaps
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn given(&self, note: Note) -> Result<(), HandlerError> {
        let (answer, _working) = {
            let mut state = self.state();
            state.notes.push(note);
            state.overlaps += usize::from(state.working > 0);
            state.working += 1;
            let next = (!state.answers.is_empty()).then(|| state.answers.remove(0));
            (next.or_else(|| state.always.clone()), Working(self.clone()))
        };
        match answer {
            None => Ok(()),
            Some(Answer::Fail) => Err(HandlerError::new("the mail server is away")),
            Some(Answer::RetryAfter(pause)) => Err(HandlerError::new("busy").with_retry_after(pause)),
            Some(Answer::Panic) => panic!("the handler has a bug"),
            Some(Answer::Stop) => Err(HandlerError::stop("nobody listens any more")),
            Some(Answer::Wait(hold)) => {
                hold.pass().await;
                Ok(())
            }
        }
    }
}

/// A call of a handler that is under way.
struct Working(Notes);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.state().working -= 1;
    }
}

#[async_trait]
impl EventHandler for Notes {
    fn wants(&self, event: &Event) -> bool {
        self.state().wanted.is_none_or(|kind| event.kind == kind)
    }

    async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
        self.given(Note::Event(event.clone())).await
    }

    async fn missed(&self, gap: Gap) -> Result<(), HandlerError> {
        self.given(Note::Gap(gap)).await
    }
}
