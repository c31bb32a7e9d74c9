//! What all connections of a pool share, and which of them are used again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{error::chain, store::StoreError};
use deadpool_postgres::{ClientWrapper, Object, Pool};
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

    /// Closes connections that have been idle for too long, now and then.
    pub(super) fn sweep(&self) {
        if self.trust.is_time_to_sweep() {
            let trust = &self.trust;
            self.pool.retain(|_, metrics| trust.includes(metrics.age(), metrics.last_used()));
        }
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
    swept: Instant,
    silent: Instant,
}

impl Trust {
    pub(super) fn new(max_age: Duration, max_idle: Duration) -> Self {
        let now = Instant::now();
        Self { max_age, max_idle, times: Mutex::new(Times { since: now, swept: now, silent: now }) }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn includes(&self, age: Duration, idle: Duration) -> bool {
        age < self.max_age && idle < self.max_idle && age <= self.times().since.elapsed()
    }

    fn renew(&self) {
        self.times().since = Instant::now();
    }

    /// Whether a silence from `began` on is another than the last one.
    fn silence(&self, began: Instant) -> bool {
        let mut times = self.times();
        let is_news = times.silent <= began;
        times.silent = Instant::now();
        is_news
    }

    fn is_time_to_sweep(&self) -> bool {
        let mut times = self.times();
        let is_time = self.max_idle / 4 < times.swept.elapsed();
        if is_time {
            times.swept = Instant::now();
        }
        is_time
    }
}
