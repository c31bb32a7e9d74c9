//! The event log as it grows.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{BatchSuiteAuth, EventFilter};
use crate::{
    events::{Event, EventId},
    steps::{Pace, Trouble},
    store::StoreError,
};

/// Events as they happen; see [`BatchSuiteAuth::event_stream`].
#[derive(Debug)]
pub struct EventStream {
    auth: BatchSuiteAuth,
    news: watch::Receiver<u64>,
    cursor: Option<EventId>,
    read: VecDeque<Event>,
    trouble: Trouble,
    /// After a failure, the log is not read before this.
    retry_at: Option<Instant>,
}

impl EventStream {
    pub(super) fn new(auth: BatchSuiteAuth, cursor: Option<EventId>) -> Self {
        let trouble = Trouble::with("reading the event log");
        Self { news: auth.core.news(), auth, cursor, read: VecDeque::new(), trouble, retry_at: None }
    }

    /// The next event; waits for it. `None` once the authenticator is shut down.
    ///
    /// # Errors
    /// [`StoreError`]; the next call reads from the same place, after a pause: a second at first, growing to
    /// [`Policy::feed_interval`](crate::Policy::feed_interval) while the store is away, and to 30 s where an operator must look.
    /// So a loop that merely calls again is no busy loop. The log says once that it began and once that it is over.
    ///
    /// [`Pruned`](crate::store::StoreErrorKind::Pruned) is a gap: the events up to the number in it were pruned before this
    /// reader saw them. Reading on from the same place finds the gap again: make up for what was missed, e.g. by
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
            if self.auth.core.is_ended() {
                return None;
            }
            if let Some(retry_at) = self.retry_at {
                tokio::select! {
                    () = sleep_until(retry_at) => self.retry_at = None,
                    () = self.auth.core.ending() => return None,
                }
            }
            if let Err(error) = self.read_on().await {
                let pace = Pace::of_reader(self.auth.core.policy.feed_interval);
                self.retry_at = Some(Instant::now() + self.trouble.failed(&error, pace));
                return Some(Err(error));
            }
            self.trouble.over();
            if self.read.is_empty() {
                // News is a hint: not every event comes with it, so the log is read now and then in any case.
                tokio::select! {
                    _ = timeout(self.auth.core.policy.feed_interval, self.news.changed()) => {}
                    () = self.auth.core.ending() => {}
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<(), StoreError> {
        let Some(cursor) = self.cursor else {
            // Not the newest event's number: there is none if all were pruned, and a lower one may still be written.
            let core = &self.auth.core;
            let newest = core.looked(core.store.changes(core.environment, None, Duration::ZERO)).await?;
            self.cursor = Some(newest.cursor);
            return Ok(());
        };
        let page = self.auth.events(EventFilter { after: Some(cursor), ..EventFilter::default() }).await?;
        self.cursor = page.next.or(self.cursor);
        self.read.extend(page.items);
        Ok(())
    }
}
