//! The connections to one database: a pool for the store's statements and the host's own.

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

/// Connections of a pool, if the host does not say.
const CONNECTIONS: usize = 8;
/// How long a statement and the wait for a connection take at most, if the host does not say.
const DEADLINE: Duration = Duration::from_secs(8);
/// How old a connection becomes: after a fail-over, or a change of a name's address, all of them move within this time.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// How long a connection is kept that nobody uses.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);
/// How often a server that had no room is asked again, unless a connection becomes free before.
const ASKED_AGAIN: Duration = Duration::from_millis(100);

/// Connections to one database, which a [`PostgresStore`](crate::PostgresStore) and the host's own statements share.
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
/// - **No wait without an end.** A statement, and the wait for a connection, have a
///   [`deadline`](PostgresPoolBuilder::deadline) by this process's clock, above the server's own limits. A connection that
///   has not answered by then is closed, and so are those that lie idle beside it.
/// - **A call that is dropped** while its statement is under way closes its connection, and asks the server to end the
///   statement. The statement may have been done.
/// - **An error that concerns the connection** (a server that became read-only or shuts down, a prepared statement that is
///   gone) closes it, and with it all connections that are as old. A plan that is gone is made anew without an error.
/// - **A server or a pooler without room** (`max_connections`, `max_client_conn`): the call waits for a connection of the pool.
/// - **Settings** of each session, made by statements: `statement_timeout` 5 s, `lock_timeout` 4 s and
///   `idle_in_transaction_session_timeout` 8 s (5/8, 4/8 and 8/8 of the deadline), isolation *read committed*, and
///   `synchronous_commit` on if the server's default is weaker: the writes of the host's statements are on the disk, too.
/// - **Connections end** after 30 minutes, or 5 minutes without use. They are driven on the runtime in which the pool was
///   built; it should live as long as the pool.
///
/// # The URL
/// `postgres://user:password@host:port/database?name=value&…`, or libpq's words (`host=… user=…`). The parameters:
///
/// | parameter | if it is not given |
/// |---|---|
/// | `sslmode`: `disable`, `prefer` (encrypts if the server offers it and looks at no certificate), `require`, `verify-ca`, `verify-full` (all three check the certificate and the name in it) | `prefer` |
/// | `sslrootcert`: a PEM file | the platform's roots |
/// | `channel_binding`: `disable`, `prefer`, `require` | `prefer` |
/// | `target_session_attrs`: `read-write`, `read-only`, `any` | `read-write` |
/// | `pgbouncer`: `true` behind a pooler that hands each transaction to another server; see [`unnamed_statements`](PostgresPoolBuilder::unnamed_statements) | `false` |
/// | `connect_timeout`, `tcp_user_timeout`, `keepalives_idle` (seconds) | 5, 15, 15 |
/// | `application_name` | `batchsuite` |
/// | `user`, `password`, `dbname`, `host`, `hostaddr`, `port`, `options`, `sslnegotiation`, `keepalives`, `keepalives_interval`, `keepalives_retries`, `load_balance_hosts` | as libpq |
///
/// Any other parameter is an error that names it, and so is one that is said twice, also once in the address.
#[derive(Clone)]
pub struct PostgresPool(pub(super) Arc<Shared>);

/// Sets a [`PostgresPool`] up.
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
    /// A pool at `url`, once a connection could be made.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured): the URL cannot be read, or the server
    /// refuses its user, password or database. [`Unavailable`](batchsuite_auth::store::StoreErrorKind::Unavailable): the
    /// server cannot be reached.
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = Self::at(url).build()?;
        drop(pool.connection().await?);
        Ok(pool)
    }

    /// Sets a pool at `url` up.
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

    /// Runs one statement, which is one transaction. `types` are those of its parameters, `$1` first.
    ///
    /// # Errors
    /// [`StoreError`], whose source is a [`PostgresError`](crate::PostgresError).
    ///
    /// # Cancellation
    /// The statement may have been done.
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

    /// Begins a transaction. Each of its statements has the deadline of the pool.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn begin(&self) -> Result<PostgresTransaction, StoreError> {
        let turn = self.turn().await?;
        self.connection().await?.begin(turn).await
    }

    /// Begins a transaction whose statements may take any time: for statements that touch every row, or wait for another process.
    /// If a statement has no answer by the deadline, the server is asked over another connection whether it is at work; if it is
    /// not, the connection is closed.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn begin_without_time_limit(&self) -> Result<PostgresTransaction, StoreError> {
        let mut transaction = self.begin().await?;
        transaction.remove_time_limits().await?;
        Ok(transaction)
    }

    /// A turn to take a connection. There are no more turns than connections, so that only the statement of a pair waits in line at
    /// the pool itself.
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
            let next = end.min(Instant::now() + ASKED_AGAIN);
            let _ = timeout_at(next, shared.returned.notified()).await;
        }
    }
}

fn none_free() -> StoreError {
    failure::unavailable("no connection to the database was to be had in time")
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
    /// How many connections there are at most (8 if not set).
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How long a statement takes at most (8 seconds if not set; 10 milliseconds to an hour). The wait for a connection is half
    /// as long again at most, so that it outlasts a silent statement. The server's own limits follow the deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.clamp(Duration::from_millis(10), Duration::from_secs(3600));
        self
    }

    /// How old a connection becomes at most (30 minutes if not set). After a fail-over, or when the address of the host's
    /// name has changed, all connections follow within this time.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// How long a connection is kept that nobody uses (5 minutes if not set).
    pub fn max_idle(mut self, idle: Duration) -> Self {
        self.max_idle = idle;
        self
    }

    /// Sends statements without a name, and makes no settings of a session: for a pooler that hands each transaction to
    /// another server (PgBouncer in transaction mode), where a prepared statement would be missed, and a setting would
    /// become another client's. The server plans each statement anew. `pgbouncer=true` in the URL says the same.
    ///
    /// The deadline ends a statement that hangs, at the server too. For the server to end it by itself:
    /// `ALTER ROLE … SET statement_timeout = '5s'`, `lock_timeout = '4s'` and `idle_in_transaction_session_timeout = '8s'`.
    /// The store's writes, and transactions, are durable here as well, whatever the server's default is; a single statement of
    /// the host's is if the server's `synchronous_commit` is on, or `ALTER ROLE … SET synchronous_commit = on` says so.
    pub fn unnamed_statements(mut self) -> Self {
        self.prepares = false;
        self
    }

    /// Makes the pool. Nothing is sent yet. To be called in the runtime that shall drive the connections.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured): a URL that cannot be read, TLS that cannot
    /// be set up.
    pub fn build(self) -> Result<PostgresPool, StoreError> {
        let address = self.address?;
        let (runtime, trust) = (ConnectionRuntime::here(), Arc::new(Trust::new(self.max_age, self.max_idle)));
        let session = self.prepares.then(|| session(self.deadline));
        let connector =
            Connector { address: address.clone(), runtime: runtime.clone(), session: session.map(Arc::from) };
        // Fast: a connection that is not known to be closed is used. To ask it first would make two round trips of each.
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(address.config.clone(), connector, manager);
        let trusted = Arc::clone(&trust);
        // The one used last goes first: the others become idle, and their statements are prepared seldom.
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

/// Another isolation would turn a lost race into an error; a statement that hangs, or a transaction that somebody leaves
/// open, would hold up readers of the log. By statement: PgBouncer refuses `options` in the start-up packet.
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
