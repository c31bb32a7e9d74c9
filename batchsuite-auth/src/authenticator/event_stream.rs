//! Streams the event log.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{BatchSuiteAuth, EventFilter};
use crate::{
    events::{Event, EventId},
    rotation::{Outage, backoff_of_reader},
    store::StoreError,
};

/// A stream of events as they are written; see [`BatchSuiteAuth::event_stream`].
///
/// Implements [`Stream`] for combinators; [`next`](Self::next) needs no import. After the first `None`, every item is
/// `None`.
///
/// # Errors
/// [`StoreError`]; the next item is read from the same position after a pause. The pause starts at 1 s and grows to
/// [`Policy::feed_interval`](crate::Policy::feed_interval) while the store is unavailable, and to 30 s if an operator
/// must act, so a loop that ignores errors does not spin. The log gets one line when the outage begins and one when it
/// ends.
///
/// [`Pruned`](crate::store::StoreErrorKind::Pruned) reports a gap: the events up to the number in it were pruned before
/// this reader saw them. Reading from the same position reports the gap again. Make up for the missed events, e.g. with
/// [`companies`](BatchSuiteAuth::companies), then start another [`event_stream`](BatchSuiteAuth::event_stream) after
/// that number.
///
/// # Cancellation
/// No event is lost: the next call returns the item of a cancelled wait. A stream that is kept but not polled may hold
/// one of the store's connections.
#[must_use = "streams do nothing unless polled"]
pub struct EventStream {
    state: State,
}

enum State {
    /// Not reading; the buffer may hold events.
    Idle(Box<Reader>),
    /// Fetching the next item.
    Reading(BoxFuture<'static, (Box<Reader>, Item)>),
    Ended,
}

type Item = Option<Result<Event, StoreError>>;

/// Reads the log by its cursor.
struct Reader {
    auth: BatchSuiteAuth,
    growth: watch::Receiver<u64>,
    cursor: Option<EventId>,
    read: VecDeque<Event>,
    outage: Outage,
    /// Earliest time of the next read after a failure.
    retry_at: Option<Instant>,
}

impl BatchSuiteAuth {
    /// Streams every process's events after `after`; `None`: events written after the first poll.
    ///
    /// Reads the log with a cursor, so it returns every event exactly once. It returns an event of this process at
    /// once, and another process's event after at most [`Policy::feed_interval`](crate::Policy::feed_interval).
    ///
    /// A reader that must miss no event, even while it is not running, stores the id of its last handled event, one per
    /// environment, and begins with [`EventId::START`].
    ///
    /// ```
    /// # use batchsuite_auth::{ActorId, CompanyId, events::{EventId, EventKind}, fake_ups::FakeUps};
    /// # use batchsuite_store::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ups = FakeUps::start().await;
    /// # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    /// # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    /// let mut events = auth.event_stream(Some(EventId::START));
    /// auth.authenticate(&company, &actor).await?;
    ///
    /// let event = events.next().await.expect("the authenticator is not shut down")?;
    /// assert_eq!(event.kind, EventKind::Started);
    /// let cursor = event.id; // to be kept, once the event is handled
    /// # assert!(cursor > EventId::START);
    /// # Ok(())
    /// # }
    /// ```
    pub fn event_stream(&self, after: Option<EventId>) -> EventStream {
        EventStream { state: State::Idle(Box::new(Reader::new(self.clone(), after))) }
    }
}

impl EventStream {
    /// Waits for the next event and returns it. `None` once the authenticator is shut down.
    ///
    /// # Errors
    /// [`StoreError`], see [`EventStream`]; a later call continues.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Event, StoreError>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for EventStream {
    type Item = Result<Event, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(mut reader) => {
                    if let Some(event) = reader.read.pop_front() {
                        self.state = State::Idle(reader);
                        return Poll::Ready(Some(Ok(event)));
                    }
                    State::Reading(Box::pin(async move {
                        let item = reader.next().await;
                        (reader, item)
                    }))
                }
                State::Reading(mut reading) => {
                    let Poll::Ready((reader, item)) = reading.as_mut().poll(context) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    if item.is_some() {
                        self.state = State::Idle(reader);
                    }
                    return Poll::Ready(item);
                }
            };
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Idle(_) => "idle",
            State::Reading(_) => "reading",
            State::Ended => "ended",
        };
        f.debug_struct("EventStream").field("state", &state).finish_non_exhaustive()
    }
}

impl Reader {
    fn new(auth: BatchSuiteAuth, cursor: Option<EventId>) -> Self {
        let outage = Outage::during("reading the event log");
        Self { growth: auth.engine.tasks.log_growth(), auth, cursor, read: VecDeque::new(), outage, retry_at: None }
    }

    async fn next(&mut self) -> Item {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(Ok(event));
            }
            if self.auth.engine.tasks.is_ended() {
                return None;
            }
            if let Some(retry_at) = self.retry_at {
                tokio::select! {
                    () = sleep_until(retry_at) => self.retry_at = None,
                    () = self.auth.engine.tasks.ending() => return None,
                }
            }
            if let Err(error) = self.read_on().await {
                let backoff = backoff_of_reader(self.auth.engine.rotation.policy.feed_interval);
                self.retry_at = Some(Instant::now() + self.outage.failed(&error, backoff));
                return Some(Err(error));
            }
            self.outage.over();
            if self.read.is_empty() {
                // Growth of the log is only a hint: some events don't signal it, so the log is also read periodically.
                tokio::select! {
                    _ = timeout(self.auth.engine.rotation.policy.feed_interval, self.growth.changed()) => {}
                    () = self.auth.engine.tasks.ending() => {}
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<(), StoreError> {
        let Some(cursor) = self.cursor else {
            // Not the newest event's number: all events may be pruned, and a lower number may still be written.
            let rotation = &self.auth.engine.rotation;
            let newest =
                rotation.read_for_caller(rotation.store.changes(rotation.environment, None, Duration::ZERO)).await?;
            self.cursor = Some(newest.cursor);
            return Ok(());
        };
        let page = self.auth.events(EventFilter { after: Some(cursor), ..EventFilter::default() }).await?;
        self.cursor = page.next.or(self.cursor);
        self.read.extend(page.items);
        Ok(())
    }
}
