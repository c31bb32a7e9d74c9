//! What all connections of a pool share, and which of them are used again.

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

/// How long the server is asked to end a statement that nobody waits for.
const CANCELLING: Duration = Duration::from_secs(1);

/// What all connections of a pool share.
pub(in crate::postgres) struct Shared {
    pub(in crate::postgres) pool: Pool,
    pub(in crate::postgres) address: Address,
    pub(in crate::postgres) runtime: ConnectionRuntime,
    pub(in crate::postgres) deadline: Duration,
    /// Whether statements are prepared once a connection and kept; else each is sent without a name.
    pub(in crate::postgres) prepares: bool,
    pub(super) trust: Arc<Trust>,
    /// How many there are at most, and as many turns.
    pub(super) connections: usize,
    pub(super) turns: Arc<Semaphore>,
    /// Told when a connection comes back, or its place becomes free.
    pub(super) returned: Notify,
}

impl Shared {
    /// How long the wait for a connection is at most: longer than a silent statement holds one.
    pub(super) fn longest_wait(&self) -> Duration {
        self.deadline * 3 / 2
    }

    /// Whether somebody else has a connection, or is about to have one, that will become free.
    pub(super) fn has_others_at_work(&self) -> bool {
        self.turns.available_permits() + 1 < self.connections
    }

    /// Takes a connection back that no statement is under way on.
    pub(in crate::postgres) fn take_back(&self, client: Object) {
        drop(client);
        self.returned.notify_one();
    }

    /// Closes a connection, after the server was asked to end what is `under_way` on it. (Before it is closed: a pooler
    /// passes the wish on for a client that is there.)
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

    /// No answer to a statement that began at `began`. Whatever made this connection silent made those silent, too, that
    /// lie idle; those that are in use will answer or not.
    pub(in crate::postgres) fn fell_silent(&self, began: Instant) {
        let idle = self.pool.retain(|_, _| false).removed.len();
        let is_news = self.trust.silence(began);
        if is_news {
            let deadline = self.deadline;
            tracing::warn!(?deadline, idle, "the database does not answer; its silent connections are closed");
        }
    }

    /// The server, or the session, has changed since these connections were made.
    pub(in crate::postgres) fn distrust(&self, error: &StoreError) {
        self.trust.renew();
        let idle = self.pool.retain(|_, _| false).removed.len();
        tracing::warn!(error = %chain(error), idle, "the connections to the database are made anew");
    }
}

/// Which connections are used again.
pub(super) struct Trust {
    max_age: Duration,
    max_idle: Duration,
    times: Mutex<Times>,
}

struct Times {
    /// Connections that were made before are not used again.
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

    /// Closes those that lie idle and are not used again.
    pub(super) fn sweep(&self, pool: &Pool) {
        pool.retain(|_, metrics| self.includes(metrics));
    }

    fn renew(&self) {
        self.times().since = Instant::now();
    }

    /// Whether a silence from `began` on is another than the last one.
    fn silence(&self, began: Instant) -> bool {
        let silent = std::mem::replace(&mut self.times().silent, Instant::now());
        silent <= began
    }
}
