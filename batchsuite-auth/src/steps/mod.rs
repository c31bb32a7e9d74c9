//! The steps of the guide, one file a step. Each reads "load, ask the machine, do what it says, store".

mod access_token;
mod authenticate;
mod background;
mod callback;
mod flight;
mod outage;
mod permit;
mod persist;
mod refresh;
mod remove_auth;
mod repeats;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{Instrument, Span};
use url::Url;

pub(crate) use self::{
    authenticate::Options as AuthenticateOptions,
    outage::{Outage, backoff_of_reader},
};
use self::{flight::Flights, persist::PairsInHand};
use crate::{
    authenticator::{OptInCheck, Shutdown},
    cache::Cache,
    clock::{Clock, Timestamp, later},
    config::{Environment, Policy},
    error::chain,
    events::{EventKind, Evidence},
    ids::{CompanyId, Revision},
    machine::{Breaker, CLOCK_DISAGREEMENT},
    secret::AccessToken,
    store::{GrantKey, NewEvent, NewPair, Snapshot, Store, StoreErrorKind},
    ups::{Pair, Ups},
};

/// What the steps share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) environment: Environment,
    pub(crate) client_id: String,
    pub(crate) redirect_uri: Url,
    pub(crate) policy: Policy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ups: Ups,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) opt_in_check: Option<Arc<dyn OptInCheck>>,
    pub(crate) cache: Cache,
    breaker: Mutex<Breaker>,
    /// Wakes the requests that the breaker lets wait for others.
    request_ended: Notify,
    flights: Flights,
    rejections: access_token::Rejections,
    repeats: repeats::Repeats,
    /// Goes up whenever the feed told of something, or this process wrote an event: readers of the log read on.
    news: watch::Sender<u64>,
    runtime: Handle,
    /// What must not be lost: flights and callbacks. Shutdown waits for them.
    tasks: TaskTracker,
    pairs_in_hand: PairsInHand,
    /// Nothing begins by itself any more.
    quiet: CancellationToken,
    /// Ends the background loops.
    ended: CancellationToken,
}

/// The parts of a [`Core`] that a host decides on.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) environment: Environment,
    pub(crate) client_id: String,
    pub(crate) redirect_uri: Url,
    pub(crate) policy: Policy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ups: Ups,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) opt_in_check: Option<Arc<dyn OptInCheck>>,
    pub(crate) cache: Cache,
    pub(crate) keeper: bool,
}

impl Core {
    /// Begins, with its background loops, on `runtime`.
    pub(crate) fn start(parts: Parts, runtime: Handle) -> Arc<Self> {
        let keeper = parts.keeper;
        let core = Arc::new(Self {
            breaker: Mutex::new(Breaker::new(parts.policy.breaker_pause)),
            request_ended: Notify::new(),
            flights: Flights::default(),
            rejections: access_token::Rejections::default(),
            repeats: repeats::Repeats::default(),
            news: watch::Sender::new(0),
            runtime,
            tasks: TaskTracker::new(),
            pairs_in_hand: PairsInHand::default(),
            quiet: CancellationToken::new(),
            ended: CancellationToken::new(),
            environment: parts.environment,
            client_id: parts.client_id,
            redirect_uri: parts.redirect_uri,
            policy: parts.policy,
            store: parts.store,
            ups: parts.ups,
            clock: parts.clock,
            opt_in_check: parts.opt_in_check,
            cache: parts.cache,
        });
        core.runtime.spawn(background::feed(Arc::downgrade(&core)));
        if keeper {
            core.runtime.spawn(background::keeper(Arc::downgrade(&core)));
        }
        core
    }

    /// Lets nothing begin by itself any more. Callers are served as before.
    pub(crate) fn quiesce(&self) {
        // One that is being begun at this moment has begun when this returns, or does not begin.
        self.flights.between_two(|| self.quiet.cancel());
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.is_cancelled()
    }

    /// Ends the background loops, lets nothing new begin, and waits at most `limit` for the tasks that must not be lost.
    pub(crate) async fn shutdown(&self, limit: Duration) -> Shutdown {
        self.quiesce();
        self.ended.cancel();
        self.tasks.close();
        if timeout(limit, self.tasks.wait()).await.is_ok() {
            return Shutdown::Complete;
        }
        let (under_way, pairs) = (self.tasks.len(), self.pairs_in_hand.count());
        tracing::error!(
            under_way,
            pairs,
            "the time for the shutdown is over; what is not stored is lost with the process"
        );
        Shutdown::Incomplete { under_way, pairs }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Completes when [`shutdown`](Self::shutdown) begins.
    pub(crate) async fn ending(&self) {
        self.ended.cancelled().await;
    }

    /// Hears whenever there may be something new in the log.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Wakes the readers of the log. The feed brings changes at once, but events that change nothing only at intervals.
    pub(crate) fn wrote_events(&self) {
        self.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    pub(crate) fn key(&self, company: &CompanyId) -> GrantKey {
        GrantKey { environment: self.environment, company: company.clone() }
    }

    /// Lets something begin that must not be lost, unless a shutdown has begun. Held until it is spawned, so that a shutdown
    /// at this very moment waits for it.
    fn admit(&self) -> Option<TaskTrackerToken> {
        let admitted = self.tasks.token();
        (!self.is_ended()).then_some(admitted)
    }

    /// Runs `task` to its end, whatever becomes of the caller.
    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
        self.tasks.spawn_on(task.instrument(Span::current()), &self.runtime)
    }

    /// Runs `task` to its end, whatever becomes of the caller, and brings its outcome. A panic (of a host's own code that is
    /// called in it) goes on to the caller; `None`: the runtime is going away.
    fn finish<T, F>(&self, task: F) -> impl Future<Output = Option<T>> + use<T, F>
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

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A pair whose request was sent `age` ago, with its early window. The window begins at a random moment of its first tenth, so
    /// that companies that opted in together are not refreshed together. `before` is what was stored, if it is known.
    fn dated(&self, pair: &Pair, age: Duration, before: Option<&Snapshot>) -> NewPair {
        let lifetime = pair.access_lifetime;
        let window = (lifetime / 4).min(self.policy.early_window);
        let jitter = window.mul_f64(0.1 * rand::random::<f64>());
        let mut stored = pair.to_store(lifetime.saturating_sub(window) + jitter, age);
        if self.is_ahead(pair.issued_at) && before.is_some_and(|before| self.is_ahead(before.latest_time())) {
            // UPS's date alone may be wrong. But the row has seen a later time than ours as well: our clock went back, and an
            // end that is dated by it would come too soon.
            stored.refresh_lifetime = None;
        }
        stored
    }

    fn is_ahead(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| time > later(self.now(), CLOCK_DISAGREEMENT))
    }

    /// Writes an event that changes nothing. It is worth less than the step that it tells of: a failure is only logged.
    async fn record(&self, company: Option<&CompanyId>, kind: EventKind, evidence: Evidence) {
        let event = |evidence| NewEvent {
            environment: self.environment,
            company: company.cloned(),
            actor: None,
            kind,
            evidence: Some(evidence),
        };
        let mut recorded = self.in_time(self.store.record(event(evidence.clone()))).await;
        if recorded.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Rejected) {
            tracing::warn!(%kind, "the store will never take UPS's words; the event is written without them");
            recorded = self.in_time(self.store.record(event(evidence.without_words()))).await;
        }
        match recorded {
            Ok(_) => self.wrote_events(),
            Err(error) => tracing::warn!(%kind, error = %chain(&error), "an event could not be written"),
        }
    }
}

impl Drop for Core {
    /// The last handle is gone: whatever runs beside the callers ends at once, and lets go of the store.
    fn drop(&mut self) {
        self.quiet.cancel();
        self.ended.cancel();
    }
}

/// The access token of a snapshot, ready to send; `None` if it cannot be used.
fn token_of(snapshot: &Snapshot) -> Option<AccessToken> {
    let tokens = snapshot.tokens.as_ref()?;
    AccessToken::new(tokens.access_token.as_ref()?, tokens.access_expires_at, snapshot.opt_in.revision)
}

/// Jitter for a back-off.
fn jitter() -> f64 {
    rand::random()
}

/// The revision's epoch and version, for a span.
fn shown(revision: Revision) -> tracing::field::DisplayValue<Revision> {
    tracing::field::display(revision)
}
