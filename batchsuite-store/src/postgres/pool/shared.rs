//! State shared by all connections of a pool, and the decision which of them are reused.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{error::chain, store::StoreError};
use deadpool_postgres::{ClientWrapper, Metrics, Object, Pool};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};

use super::{address::Address, runtime::ConnectionRuntime};

/// The time limit for asking the server to cancel an abandoned statement.
const CANCELLING: Duration = Duration::from_secs(1);

/// State shared by all connections of a pool.
pub(in crate::postgres) struct Shared {
    pub(in crate::postgres) pool: Pool,
    pub(in crate::postgres) address: Address,
    pub(in crate::postgres) runtime: ConnectionRuntime,
    pub(in crate::postgres) deadline: Duration,
    /// Whether statements are prepared once per connection; otherwise they are sent unnamed.
    pub(in crate::postgres) prepares: bool,
    pub(super) trust: Arc<Trust>,
    /// The maximum number of connections, and the number of permits.
    pub(super) connections: usize,
    pub(super) turns: Arc<Semaphore>,
    /// Notified when a connection returns or its slot becomes free.
    pub(super) returned: Notify,
}

impl Shared {
    /// The maximum wait for a connection: longer than a silent statement holds one.
    pub(super) fn longest_wait(&self) -> Duration {
        self.deadline.mul_f32(1.5)
    }

    /// Whether another caller has a connection, or is about to get one, that will become free.
    pub(super) fn has_others_at_work(&self) -> bool {
        self.turns.available_permits() + 1 < self.connections
    }

    /// Returns a connection on which no statement is running.
    pub(in crate::postgres) fn take_back(&self, client: Object) {
        drop(client);
        self.returned.notify_one();
    }

    /// Closes a connection, after asking the server to cancel the statement `under_way` on it. (In this order, because
    /// a pooler forwards a cancel request only for a connected client.)
    pub(in crate::postgres) fn close(&self, client: Object, under_way: bool) {
        let client: ClientWrapper = Object::take(client);
        self.returned.notify_one();
        if !under_way || client.is_closed() {
            return;
        }
        let (token, tls) = (client.cancel_token(), self.address.tls.clone());
        self.runtime.spawn(async move {
            let _ = timeout(CANCELLING, token.cancel_query(tls)).await;
            drop(client);
        });
    }

    /// Called when a statement that began at `began` was not answered. The cause affects idle connections, too, so they
    /// are closed; connections in use will answer or time out.
    pub(in crate::postgres) fn fell_silent(&self, began: Instant) {
        let idle = self.pool.retain(|_, _| false).removed.len();
        let is_news = self.trust.silence(began);
        if is_news {
            let deadline = self.deadline;
            tracing::warn!(?deadline, idle, "the database does not answer; its silent connections are closed");
        }
    }

    /// The server or the session has changed since these connections were made.
    pub(in crate::postgres) fn distrust(&self, error: &StoreError) {
        self.trust.renew();
        let idle = self.pool.retain(|_, _| false).removed.len();
        tracing::warn!(error = %chain(error), idle, "the connections to the database are replaced");
    }
}

/// Decides which connections are reused.
pub(super) struct Trust {
    max_age: Duration,
    max_idle: Duration,
    times: Mutex<Times>,
}

struct Times {
    /// Connections made before this time are not reused.
    since: Instant,
    /// When the last silence ended.
    silent: Instant,
}

impl Trust {
    pub(super) fn new(max_age: Duration, max_idle: Duration) -> Self {
        let now = Instant::now();
        Self { max_age, max_idle, times: Mutex::new(Times { since: now, silent: now }) }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn includes(&self, metrics: Metrics) -> bool {
        let age = metrics.age();
        age < self.max_age && metrics.last_used() < self.max_idle && age <= self.times().since.elapsed()
    }

    /// Closes idle connections that may not be reused.
    pub(super) fn sweep(&self, pool: &Pool) {
        pool.retain(|_, metrics| self.includes(metrics));
    }

    fn renew(&self) {
        self.times().since = Instant::now();
    }

    /// Whether a silence that began at `began` is a new one.
    fn silence(&self, began: Instant) -> bool {
        let silent = std::mem::replace(&mut self.times().silent, Instant::now());
        silent <= began
    }
}
