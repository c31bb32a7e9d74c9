//! The steps of the guide, one file a step. Each reads "load, ask the machine, do what it says, store".

mod access_token;
mod authenticate;
mod background;
mod callback;
mod flight;
mod refresh;
mod remove_auth;
mod repeats;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tracing::{Instrument, Span};
use url::Url;

pub(crate) use self::authenticate::Options as AuthenticateOptions;
use self::flight::Flights;
use crate::{
    authenticator::OptInCheck,
    cache::Cache,
    clock::{Clock, Timestamp, later},
    config::{Environment, Policy},
    events::{EventKind, Evidence},
    ids::{CompanyId, Revision},
    machine::{Breaker, CLOCK_DISAGREEMENT},
    secret::AccessToken,
    store::{GrantKey, NewEvent, NewPair, Snapshot, Store, StoreError},
    telemetry,
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
    flights: Flights,
    rejections: access_token::Rejections,
    repeats: repeats::Repeats,
    /// Goes up whenever the feed told of changes: whoever follows the event log reads on.
    news: watch::Sender<u64>,
    runtime: Handle,
    /// What must not be lost: flights and callbacks. Shutdown waits for them.
    tasks: TaskTracker,
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
            flights: Flights::default(),
            rejections: access_token::Rejections::default(),
            repeats: repeats::Repeats::default(),
            news: watch::Sender::new(0),
            runtime,
            tasks: TaskTracker::new(),
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

    /// Ends the background loops, lets nothing new begin, and waits for what must not be lost.
    pub(crate) async fn shutdown(&self) {
        self.ended.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Completes when [`shutdown`](Self::shutdown) begins.
    pub(crate) async fn ending(&self) {
        self.ended.cancelled().await;
    }

    /// Hears whenever the feed told of changes.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
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

    /// A pair that arrived `age` ago, with its early window. The window begins at a random moment of its first tenth, so
    /// that companies that opted in together are not refreshed together.
    fn dated(&self, pair: &Pair, age: Duration) -> NewPair {
        let lifetime = pair.access_lifetime;
        let window = (lifetime / 4).min(self.policy.early_window);
        let jitter = window.mul_f64(0.1 * rand::random::<f64>());
        let mut stored = pair.to_store(lifetime.saturating_sub(window) + jitter, age);
        if pair.issued_at.is_some_and(|issued| issued > later(self.now(), CLOCK_DISAGREEMENT)) {
            // Our clock is behind (or UPS's is ahead): an end that is dated by it would come too soon.
            stored.refresh_lifetime = None;
        }
        stored
    }

    /// Writes an event that changes nothing. It is worth less than the step that it tells of: a failure is only logged.
    async fn record(&self, company: Option<&CompanyId>, kind: EventKind, evidence: Evidence) {
        let event = NewEvent {
            environment: self.environment,
            company: company.cloned(),
            actor: None,
            kind,
            evidence: Some(evidence),
        };
        if let Err(error) = self.store.record(event).await {
            tracing::warn!(%kind, %error, "an event could not be written");
        }
    }

    /// Repeats a write until the store says how it went: giving up would lose what was brought home.
    async fn persist<T, F>(&self, what: &'static str, write: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            if let Some(written) = self.tried(what, write()).await {
                return written;
            }
            sleep(self.policy.commit_retry).await;
        }
    }

    async fn tried<T>(&self, what: &'static str, write: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let tried = write.await.inspect_err(|error| {
            tracing::warn!(what, %error, "the store did not take it; it is kept and tried again");
            telemetry::not_stored(self.environment, what);
        });
        tried.ok()
    }

    /// The same for what is only worth less work later: it does not hold up a shutdown. (A write under way is not cut off.)
    async fn persist_until_shutdown<T, F>(&self, what: &'static str, write: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            if let Some(written) = self.tried(what, write()).await {
                return Some(written);
            }
            if timeout(self.policy.commit_retry, self.ending()).await.is_ok() {
                return None;
            }
        }
    }
}

impl Drop for Core {
    /// The last handle is gone: whatever runs beside the callers ends at once, and lets go of the store.
    fn drop(&mut self) {
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
