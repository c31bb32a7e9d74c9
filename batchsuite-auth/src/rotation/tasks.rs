//! The tasks of a process: which must finish, which must stop, and in which order.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::timeout};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{Instrument, Span};

use crate::machine::Stopping;

/// The outcome of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Everything has finished and is stored.
    Complete,
    /// The limit was reached. The remaining work continues while the runtime lives, and is lost with the process.
    #[non_exhaustive]
    Incomplete {
        /// How many refreshes, callbacks, imports and deliveries are still under way.
        under_way: usize,
        /// How many of them hold a pair that is not stored: if the process ends now, these companies need a new opt-in, or
        /// their import repeated.
        pairs: usize,
    },
}

impl Shutdown {
    /// Whether everything is stored.
    pub fn is_complete(self) -> bool {
        self == Self::Complete
    }
}

/// The tasks of a process.
#[derive(Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    /// The gate of the simulated process that these tasks belong to.
    #[cfg(feature = "test-util")]
    gate: Option<super::gate::Gate>,
    /// Tasks that must not be lost: flights, callbacks, imports and deliveries. Shutdown waits for them.
    tracker: TaskTracker,
    /// How many pairs are not stored yet.
    pairs_in_hand: AtomicUsize,
    /// How many of them the store has failed to take at least once.
    pairs_not_stored: AtomicUsize,
    /// Cancelled by quiesce: no background work begins any more.
    quiet: CancellationToken,
    /// Cancelled by shutdown: ends the background loops.
    ended: CancellationToken,
    /// Goes up whenever the log may have grown, to wake its readers.
    log_grew: watch::Sender<u64>,
}

/// Counts a pair while it lives; drop it once the pair is stored.
pub(crate) struct InHand<'a>(&'a AtomicUsize);

impl<'a> InHand<'a> {
    fn counted_in(pairs: &'a AtomicUsize) -> Self {
        pairs.fetch_add(1, Relaxed);
        Self(pairs)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Tasks {
    pub(super) fn on(runtime: Handle) -> Self {
        Self {
            runtime,
            #[cfg(feature = "test-util")]
            gate: super::gate::Gate::entered(),
            tracker: TaskTracker::new(),
            pairs_in_hand: AtomicUsize::new(0),
            pairs_not_stored: AtomicUsize::new(0),
            quiet: CancellationToken::new(),
            ended: CancellationToken::new(),
            log_grew: watch::Sender::new(0),
        }
    }

    /// Runs a background loop.
    pub(super) fn spawn_loop(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(self.gated(task)));
    }

    #[cfg(feature = "test-util")]
    fn gated<F: Future>(&self, task: F) -> impl Future<Output = F::Output> + use<F> {
        super::gate::Gated::behind(self.gate.as_ref(), task)
    }

    #[cfg(not(feature = "test-util"))]
    #[expect(clippy::unused_self, reason = "only a simulation has a gate")]
    fn gated<F>(&self, task: F) -> F {
        task
    }

    pub(super) fn quiesce(&self) {
        self.quiet.cancel();
    }

    pub(super) fn end(&self) {
        self.quiet.cancel();
        self.ended.cancel();
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.is_cancelled()
    }

    pub(crate) fn quiet(&self) -> &CancellationToken {
        &self.quiet
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Completes when shutdown begins.
    pub(crate) async fn ending(&self) {
        self.ended.cancelled().await;
    }

    pub(super) fn stopping(&self) -> Stopping {
        if self.is_ended() {
            Stopping::Ended
        } else if self.is_quiet() {
            Stopping::Quiet
        } else {
            Stopping::No
        }
    }

    /// Ends the background loops, stops new work, and waits at most `limit` for the tasks that must not be lost.
    pub(crate) async fn shutdown(&self, limit: Duration) -> Shutdown {
        self.end();
        self.tracker.close();
        if timeout(limit, self.tracker.wait()).await.is_ok() {
            return Shutdown::Complete;
        }
        let (under_way, pairs) = (self.tracker.len(), self.pairs_in_hand.load(Relaxed));
        tracing::error!(
            under_way,
            pairs,
            "the shutdown limit is reached; anything not stored is lost with the process"
        );
        Shutdown::Incomplete { under_way, pairs }
    }

    /// Admits a task that must not be lost, unless shutdown has begun. Hold the token until the task is spawned, so
    /// that a shutdown in between waits for it.
    pub(crate) fn admit(&self) -> Option<TaskTrackerToken> {
        let admitted = self.tracker.token();
        (!self.is_ended()).then_some(admitted)
    }

    /// Runs `task` to its end, even if the caller is dropped.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tracker.spawn_on(self.gated(task.instrument(Span::current())), &self.runtime)
    }

    /// Runs `task` to its end, even if the caller is dropped, and returns its outcome. A panic (in a host's code, for
    /// example) is passed on to the caller. `None`: the runtime is shutting down.
    pub(crate) fn finish<T, F>(&self, task: F) -> impl Future<Output = Option<T>> + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let task = self.spawn(task);
        async {
            match task.await {
                Ok(outcome) => Some(outcome),
                Err(error) => error.try_into_panic().map_or(None, |panic| std::panic::resume_unwind(panic)),
            }
        }
    }

    /// Counts a pair that must be stored before the process ends.
    pub(crate) fn pair_in_hand(&self) -> InHand<'_> {
        InHand::counted_in(&self.pairs_in_hand)
    }

    /// Counts a pair that the store has failed to take.
    pub(super) fn pair_not_stored(&self) -> InHand<'_> {
        InHand::counted_in(&self.pairs_not_stored)
    }

    /// How many pairs the store has failed to take so far.
    pub(super) fn pairs_not_stored(&self) -> usize {
        self.pairs_not_stored.load(Relaxed)
    }

    /// Changes whenever the log may have new events.
    pub(crate) fn log_growth(&self) -> watch::Receiver<u64> {
        self.log_grew.subscribe()
    }

    /// Wakes the readers of the log. The feed reports changes at once, but other events only at intervals.
    pub(crate) fn wrote_events(&self) {
        self.log_grew.send_modify(|times| *times = times.wrapping_add(1));
    }
}
