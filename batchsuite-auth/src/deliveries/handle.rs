//! The handle of a delivery.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Timestamp, remaining},
    config::Environment,
};

/// A delivery in this process; see [`BatchSuiteAuth::deliver`](crate::BatchSuiteAuth::deliver).
///
/// The delivery ends with the authenticator, or alone by [`stop`](Self::stop). Dropping the handle changes nothing.
#[derive(Clone)]
pub struct DeliveryHandle {
    consumer: Arc<str>,
    environment: Environment,
    clock: Arc<dyn Clock>,
    stopped: CancellationToken,
    progress: watch::Receiver<Progress>,
}

tokio::task_local! {
    /// The consumer whose handler this task is.
    pub(super) static HANDLER_OF: Arc<str>;
}

/// How far a delivery has come in this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The consumer has a cursor in the store.
    pub(super) begun: bool,
    /// The handler of this process; `None`: another process has the delivery.
    pub(super) here: Option<Here>,
    pub(super) ended: Option<DeliveryEnded>,
}

/// How far the handler of this process is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Here {
    /// The time of the first event that it has not done.
    pub(super) waiting_since: Option<Timestamp>,
    pub(super) fails: bool,
}

/// The state of a delivery in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryHealth {
    /// Whether this process has the delivery. Of all processes, one has it, or none for a while after a crash.
    pub is_here: bool,
    /// How old the first event is that the handler has not done yet, by this process's clock. Zero: it has done all that
    /// were read, or another process has the delivery.
    pub lag: Duration,
    /// Whether the handler failed at its last try.
    pub handler_fails: bool,
}

/// Why a delivery has ended in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryEnded {
    /// By [`DeliveryHandle::stop`], or with the authenticator.
    Stopped,
    /// The handler asked for it: [`HandlerError::stop`](super::HandlerError::stop). The log has the reason.
    GivenUp,
}

impl DeliveryHandle {
    pub(super) fn new(
        consumer: Arc<str>,
        environment: Environment,
        clock: Arc<dyn Clock>,
        stopped: CancellationToken,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self { consumer, environment, clock, stopped, progress }
    }

    /// The name of the consumer.
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// The UPS environment whose events it delivers.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The state of the delivery in this process; nothing is asked.
    pub fn health(&self) -> DeliveryHealth {
        let here = self.progress.borrow().here;
        let work = here.unwrap_or_default();
        let lag = work.waiting_since.map_or(Duration::ZERO, |since| remaining(self.clock.now(), since));
        DeliveryHealth { is_here: here.is_some(), lag, handler_fails: work.fails }
    }

    /// Waits until the consumer has a cursor in the store, or the delivery has ended. A new consumer is told of every
    /// event that is written afterwards.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn begun(&self) {
        let mut progress = self.progress.clone();
        // An error: the runtime has ended the delivery.
        let _ = progress.wait_for(|progress| progress.begun || progress.ended.is_some()).await;
    }

    /// Ends the delivery in this process, and waits until the event in progress is handled and the lease is given back.
    /// Another process takes over.
    ///
    /// The delivery's own handler can call it: then it returns at once, and the delivery ends after the event in
    /// progress. (A handler that waits for a task of its own that calls it, or calls [`ended`](Self::ended) or
    /// [`shutdown`](crate::BatchSuiteAuth::shutdown), waits for itself.)
    ///
    /// # Cancellation
    /// The delivery ends all the same.
    pub async fn stop(&self) -> DeliveryEnded {
        self.stopped.cancel();
        if HANDLER_OF.try_with(|consumer| Arc::ptr_eq(consumer, &self.consumer)).unwrap_or(false) {
            return DeliveryEnded::Stopped;
        }
        self.ended().await
    }

    /// Waits until the delivery has ended in this process.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn ended(&self) -> DeliveryEnded {
        let mut progress = self.progress.clone();
        let ended = progress.wait_for(|progress| progress.ended.is_some()).await;
        ended.ok().and_then(|progress| progress.ended).unwrap_or(DeliveryEnded::Stopped)
    }
}

impl fmt::Debug for DeliveryHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryHandle").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}
