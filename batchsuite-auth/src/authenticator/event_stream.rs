//! The event log as it grows.

use std::{collections::VecDeque, time::Duration};

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

/// Events as they happen; see [`BatchSuiteAuth::event_stream`].
#[derive(Debug)]
pub struct EventStream {
    auth: BatchSuiteAuth,
    growth: watch::Receiver<u64>,
    cursor: Option<EventId>,
    read: VecDeque<Event>,
    outage: Outage,
    /// After a failure, the log is not read before this.
    retry_at: Option<Instant>,
}

impl BatchSuiteAuth {
    /// Events as they happen, of all processes, from after `after` on; `None`: from the first call of
    /// [`next`](EventStream::next) on.
    ///
    /// It reads the log by its cursor, so it misses none and tells each once. An event that this process writes is told at
    /// once, others at the latest after [`Policy::feed_interval`](crate::Policy::feed_interval).
    pub fn event_stream(&self, after: Option<EventId>) -> EventStream {
        EventStream::new(self.clone(), after)
    }
}

impl EventStream {
    fn new(auth: BatchSuiteAuth, cursor: Option<EventId>) -> Self {
        let outage = Outage::during("reading the event log");
        Self { growth: auth.engine.tasks.log_growth(), auth, cursor, read: VecDeque::new(), outage, retry_at: None }
    }

    /// The next event; waits for it. `None` once the authenticator is shut down.
    ///
    /// # Errors
    /// [`StoreError`]; the next call reads from the same place, after a pause: a second at first, growing to
    /// [`Policy::feed_interval`](crate::Policy::feed_interval) while the store is away, and to 30 s where an operator must look.
    /// So a loop that merely calls again is no busy loop. The log has one line when the outage begins and one when it is over.
    ///
    /// [`Pruned`](crate::store::StoreErrorKind::Pruned) is a gap: the events up to the number in it were pruned before this
    /// reader saw them, and reading from the same place finds the gap again. Make up for the missed events, e.g. by
    /// [`companies`](BatchSuiteAuth::companies), and go on with another [`event_stream`](BatchSuiteAuth::event_stream) after
    /// that number.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Event, StoreError>> {
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
                // That the log grew is a hint: not every event comes with it, so the log is read now and then in any case.
                tokio::select! {
                    _ = timeout(self.auth.engine.rotation.policy.feed_interval, self.growth.changed()) => {}
                    () = self.auth.engine.tasks.ending() => {}
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<(), StoreError> {
        let Some(cursor) = self.cursor else {
            // Not the newest event's number: there is none if all were pruned, and a lower one may still be written.
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
