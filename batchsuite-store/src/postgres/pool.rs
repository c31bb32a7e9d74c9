//! Connections to one database: a pool for the store's statements and the host's own.

pub(super) mod address;
pub(super) mod connection;
pub(super) mod failure;
pub(super) mod runtime;
mod shared;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use batchsuite_auth::store::StoreError;
use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Pool, PoolConfig, PoolError, QueueMode, RecyclingMethod,
};
use futures_util::future::BoxFuture;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{Client, Row, types::Type};
use tokio_util::task::AbortOnDropHandle;

use self::{
    address::Address,
    connection::{Connection, Parameter, PostgresTransaction},
    failure::Result,
    runtime::ConnectionRuntime,
    shared::Trust,
};
use super::schema::IS_CARELESS;

pub(super) use shared::Shared;

/// The default maximum number of connections.
const CONNECTIONS: usize = 8;
/// The default deadline of a statement. The wait for a connection takes half as long again at most.
const DEADLINE: Duration = Duration::from_secs(8);
/// The default maximum age of a connection: after a fail-over or a DNS change, all connections move within this time.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// The default time for which an unused connection is kept.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);
/// How often the pool retries a server that had no room, unless a connection becomes free first.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// Connections to one database, shared by a [`PostgresStore`](crate::PostgresStore) and the host's own statements.
///
/// ```no_run
/// use batchsuite_store::{Keyring, PostgresPool, PostgresStore};
///
/// # async fn start(url: &str, keyring: Keyring) -> Result<PostgresStore, Box<dyn std::error::Error>> {
/// let pool = PostgresPool::connect(url).await?;
/// let store = PostgresStore::builder(pool.clone(), keyring).build()?;
/// store.migrate().await?;
/// let rows = pool.rows("SELECT now()", &[], &[]).await?;
/// # let _ = rows;
/// # Ok(store)
/// # }
/// ```
///
/// - **No unbounded wait.** A statement and the wait for a connection have a
///   [`deadline`](PostgresPoolBuilder::deadline) by this process's clock, longer than the server's own limits. A
///   connection that has not answered by then is closed, along with all idle connections.
/// - **A dropped call** closes its connection if its statement is running, and asks the server to cancel the statement.
///   The statement may have been executed.
/// - **A connection error** (the server became read-only or is shutting down, a prepared statement is gone) closes the
///   connection and all others made before the error. An invalidated plan is prepared again without an error.
/// - **A server or pooler without room** (`max_connections`, `max_client_conn`): the call waits for a connection of the
///   pool.
/// - **Session settings**, made by statements: `statement_timeout` 5 s, `lock_timeout` 4 s and
///   `idle_in_transaction_session_timeout` 8 s (5/8, 4/8 and 8/8 of the deadline), isolation *read committed*, and
///   `synchronous_commit` on if the server's default is weaker, so the host's writes are durable, too.
/// - **Connections end** after 30 minutes, or after 5 minutes without use. They are driven by the runtime in which the
///   pool was built; that runtime should live as long as the pool.
///
/// # The URL
/// `postgres://user:password@host:port/database?name=value&…`, or libpq's keyword/value format (`host=… user=…`).
/// Parameters:
///
/// | parameter | default |
/// |---|---|
/// | `sslmode`: `disable`, `prefer` (encrypts if the server offers it; checks no certificate), `require`, `verify-ca`, `verify-full` (all three check the certificate and the name in it) | `prefer` |
/// | `sslrootcert`: a PEM file | the platform's roots |
/// | `channel_binding`: `disable`, `prefer`, `require` | `prefer` |
/// | `target_session_attrs`: `read-write`, `read-only`, `any` | `read-write` |
/// | `pgbouncer`: `true` behind a pooler that may run each transaction on a different server connection; see [`unnamed_statements`](PostgresPoolBuilder::unnamed_statements) | `false` |
/// | `connect_timeout`, `tcp_user_timeout`, `keepalives_idle` (seconds) | 5, 15, 15 |
/// | `application_name` | `batchsuite` |
/// | `user`, `password`, `dbname`, `host`, `hostaddr`, `port`, `options`, `sslnegotiation`, `keepalives`, `keepalives_interval`, `keepalives_retries`, `load_balance_hosts` | as libpq |
///
/// Any other parameter is an error that names it. So is a parameter given twice, including once in the address.
#[derive(Clone)]
pub struct PostgresPool(pub(super) Arc<Shared>);

/// Configures a [`PostgresPool`].
#[derive(Debug)]
#[must_use = "build() makes the pool"]
pub struct PostgresPoolBuilder {
    address: Result<Address, StoreError>,
    connections: usize,
    deadline: Duration,
    max_age: Duration,
    max_idle: Duration,
    prepares: bool,
}

impl PostgresPool {
    /// Creates a pool at `url` and makes a first connection.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured): the URL cannot be parsed, or the
    /// server refuses the user, password or database.
    /// [`Unavailable`](batchsuite_auth::store::StoreErrorKind::Unavailable): the server cannot be reached.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = Self::at(url).build()?;
        drop(pool.connection().await?);
        Ok(pool)
    }

    /// Configures a pool at `url`.
    pub fn at(url: &str) -> PostgresPoolBuilder {
        let address = Address::new(url);
        let prepares = !address.as_ref().is_ok_and(|address| address.is_pooled);
        PostgresPoolBuilder {
            address,
            connections: CONNECTIONS,
            deadline: DEADLINE,
            max_age: MAX_AGE,
            max_idle: MAX_IDLE,
            prepares,
        }
    }

    /// Runs one statement as one transaction. `types` are the types of its parameters, `$1` first.
    ///
    /// # Errors
    /// [`StoreError`], whose source is a [`PostgresError`](crate::PostgresError).
    ///
    /// # Cancellation
    /// The statement may have been executed.
    pub async fn rows(&self, sql: &str, types: &[Type], parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let _turn = self.turn().await?;
        self.rows_ahead(sql, types, parameters).await
    }

    /// [`rows`](Self::rows) for a statement that must not wait in line.
    pub(super) async fn rows_ahead(&self, sql: &str, types: &[Type], parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        let mut is_first = true;
        loop {
            let answer = self.connection().await?.rows(sql, types, parameters).await;
            match answer {
                Err(error) if is_first && failure::is_worth_another_connection(&error) => is_first = false,
                answer => return answer,
            }
        }
    }

    /// Begins a transaction. Each of its statements has the pool's deadline.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn begin(&self) -> Result<PostgresTransaction, StoreError> {
        let turn = self.turn().await?;
        self.connection().await?.begin(turn).await
    }

    /// Begins a transaction whose statements may take any time: for statements that touch every row or wait for another
    /// process. If a statement is not answered by the deadline, the pool asks the server over another connection
    /// whether the statement is still running, and closes the connection if not.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn begin_without_time_limit(&self) -> Result<PostgresTransaction, StoreError> {
        let mut transaction = self.begin().await?;
        transaction.remove_time_limits().await?;
        Ok(transaction)
    }

    /// Waits for permission to take a connection. There are no more permits than connections, so only a statement that
    /// stores a pair queues in the pool itself.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let turn = timeout(self.0.longest_wait(), Arc::clone(&self.0.turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(none_free)
    }

    pub(super) async fn connection(&self) -> Result<Connection> {
        let shared = &self.0;
        shared.trust.sweep(&shared.pool);
        let end = Instant::now() + shared.longest_wait();
        let mut refusal = None;
        loop {
            let error = match timeout_at(end, shared.pool.get()).await {
                Ok(Ok(client)) => return Ok(Connection::new(client, Arc::clone(shared))),
                Ok(Err(error)) => error,
                Err(_) => return Err(refusal.unwrap_or_else(none_free)),
            };
            let PoolError::Backend(cause) = &error else { return Err(failure::of_pool(&error)) };
            let waits =
                failure::is_refused_for_now(cause) || (failure::is_refused(cause) && shared.has_others_at_work());
            if !waits {
                return Err(failure::of_pool(&error));
            }
            refusal = Some(failure::of_pool(&error));
            let _ = timeout_at(end, timeout(ASKED_AGAIN, shared.returned.notified())).await;
        }
    }
}

fn none_free() -> StoreError {
    failure::unavailable("no connection to the database became available in time")
}

impl fmt::Debug for PostgresPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresPool")
            .field("connections", &self.0.pool.status().size)
            .field("deadline", &self.0.deadline)
            .field("prepares", &self.0.prepares)
            .finish_non_exhaustive()
    }
}

impl PostgresPoolBuilder {
    /// The maximum number of connections (default 8).
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// The maximum duration of a statement (default 8 seconds; 10 milliseconds to one hour). The wait for a connection
    /// takes at most half as long again, so it outlasts a silent statement. The server's own limits follow the
    /// deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.clamp(Duration::from_millis(10), Duration::from_secs(3600));
        self
    }

    /// The maximum age of a connection (default 30 minutes). After a fail-over, or when the host name's address has
    /// changed, all connections move within this time.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// How long an unused connection is kept (default 5 minutes).
    pub fn max_idle(mut self, idle: Duration) -> Self {
        self.max_idle = idle;
        self
    }

    /// Sends unnamed statements and makes no session settings: for a pooler that may run each transaction on a
    /// different server connection (PgBouncer in transaction mode). There, a prepared statement would be missing, and a
    /// session setting would affect other clients. The server plans each statement anew. `pgbouncer=true` in the URL
    /// has the same effect.
    ///
    /// The deadline still cancels a statement that hangs, at the server too. For the server to do so by itself: `ALTER
    /// ROLE … SET statement_timeout = '5s'`, `lock_timeout = '4s'` and `idle_in_transaction_session_timeout = '8s'`.
    /// The store's writes and all transactions are durable in this mode as well, whatever the server's default. A
    /// single statement of the host is durable if the server's `synchronous_commit` is on, or after `ALTER ROLE … SET
    /// synchronous_commit = on`.
    pub fn unnamed_statements(mut self) -> Self {
        self.prepares = false;
        self
    }

    /// Builds the pool without sending anything. Call it in the runtime that will drive the connections.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured): the URL cannot be parsed, or TLS
    /// cannot be set up.
    pub fn build(self) -> Result<PostgresPool, StoreError> {
        let address = self.address?;
        let (runtime, trust) = (ConnectionRuntime::here(), Arc::new(Trust::new(self.max_age, self.max_idle)));
        let session = self.prepares.then(|| session(self.deadline));
        let connector =
            Connector { address: address.clone(), runtime: runtime.clone(), session: session.map(Arc::from) };
        // Fast: only a connection known to be closed is skipped. Verifying it first would double the round trips.
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(address.config.clone(), connector, manager);
        let trusted = Arc::clone(&trust);
        // The most recently used connection goes first: the others become idle, and statements are prepared on few
        // connections.
        let pool = Pool::builder(manager)
            .config(PoolConfig { queue_mode: QueueMode::Lifo, ..PoolConfig::new(self.connections) })
            .pre_recycle(Hook::sync_fn(move |_, metrics| {
                let is_trusted = trusted.includes(*metrics);
                is_trusted.then_some(()).ok_or_else(|| HookError::message("a connection in doubt"))
            }))
            .build()
            .map_err(|_| failure::misconfigured("the pool cannot be set up"))?;
        Ok(PostgresPool(Arc::new(Shared {
            pool,
            address,
            runtime,
            trust,
            deadline: self.deadline,
            prepares: self.prepares,
            connections: self.connections,
            turns: Arc::new(Semaphore::new(self.connections)),
            returned: Notify::new(),
        })))
    }
}

/// Another isolation level would turn a lost race into an error. A hanging statement, or a transaction left open, would
/// hold up readers of the log. Set by statement, because PgBouncer refuses `options` in the start-up packet.
fn session(deadline: Duration) -> String {
    let deadline = deadline.as_millis();
    format!(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE {IS_CARELESS};
        SET default_transaction_isolation = 'read committed'; SET statement_timeout = {}; SET lock_timeout = {};
        SET idle_in_transaction_session_timeout = {deadline}",
        (deadline * 5 / 8).max(1),
        (deadline / 2).max(1)
    )
}

/// Makes connections, with all their tasks on one runtime.
struct Connector {
    address: Address,
    runtime: ConnectionRuntime,
    session: Option<Arc<str>>,
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let connect = || {
            let (address, session) = (self.address.clone(), self.session.clone());
            async move {
                let (client, driver) = address.connect().await?;
                let driver = AbortOnDropHandle::new(driver);
                if let Some(session) = session {
                    client.batch_execute(&session).await?;
                }
                Ok((client, driver.detach()))
            }
        };
        Box::pin(self.runtime.run(connect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_docs() {
        let pool = PostgresPool::at("postgres://u@h/d");
        let seconds = [pool.deadline, pool.max_age, pool.max_idle].map(|time| time.as_secs());

        assert_eq!((pool.connections, seconds), (8, [8, 30 * 60, 5 * 60]));
    }
}
