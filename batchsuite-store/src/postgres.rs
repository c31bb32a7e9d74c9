//! The store of several processes.

mod builder;
mod changes;
mod check;
mod database;
mod feed;
mod keys;
mod migrate;
mod operation;
mod pool;
mod queue;
mod row;
mod schema;
mod sealing;
mod statements;
mod store;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use batchsuite_auth::store::StoreError;

use crate::keyring::Keyring;
use feed::Feed;
use pool::{address, connection, failure, runtime};
use queue::Queue;
use schema::Schema;
use sealing::Sealing;
use statements::Statements;

pub use builder::PostgresStoreBuilder;
pub use operation::Overview;
#[cfg(feature = "test-util")]
pub use pool::address::read_url;
pub use pool::{PostgresPool, PostgresPoolBuilder, connection::PostgresTransaction, failure::PostgresError};

/// Keeps everything in Postgres: the whole storage contract, for any number of processes.
///
/// ```no_run
/// use batchsuite_store::{
///     PostgresStore,
///     keyring::{EnvKeySource, Keyring},
/// };
///
/// # async fn start(url: &str) -> Result<PostgresStore, Box<dyn std::error::Error>> {
/// let keyring = Keyring::load(EnvKeySource::default()).await?;
/// let store = PostgresStore::connect(url, keyring).await?;
/// store.migrate().await?;
/// # Ok(store)
/// # }
/// ```
///
/// - **One statement a verb**: a row, its tokens and its events are written together, compared inside the write; no transaction is
///   open between two round trips, no lock outlives a statement. A call that is dropped leaves nothing behind. (Reading the log
///   forward, and taking a delivery, take two statements.)
/// - **The server's clock** tells every time.
/// - **A look from outside**: the view `companies` shows a row's columns and its state; each statement begins with its name
///   (`/* batchsuite save */`), as `pg_stat_activity` shows it.
/// - **Secrets** reach the server as ciphertext only, each bound to its place: see [`keyring`](crate::keyring).
/// - **The change feed** is read from the table. A writer announces itself before it draws a number, so that a reader's
///   cursor never passes a number that may still come; other transactions of the database do not matter. Notifications
///   are a hint: sent after the commit, some at once, on a connection of their own.
/// - **Durability** does not depend on the server's `synchronous_commit`: each writing statement turns it on for its own
///   transaction, also behind a pooler. `fsync` must be on; [`check`](Self::check) looks.
/// - **Isolation** must be *read committed*, the default of Postgres; [`check`](Self::check) looks.
/// - **Connections** are those of a [`PostgresPool`], which says how long a call takes at most, what becomes of a connection
///   that is silent or broken, and what the URL may say. A pair that could not be stored over one connection is stored
///   over another within seconds.
/// - **PgBouncer** in session mode: as without it. In transaction mode: `pgbouncer=true` in the URL, or
///   [`unnamed_statements`](PostgresStoreBuilder::unnamed_statements).
/// - **Keys**: a name stands for one key for ever. The schema keeps the check value of each key that has encrypted; another key of
///   that name is refused by [`connect`](Self::connect), [`migrate`](Self::migrate) and [`check`](Self::check), and before
///   anything is read or encrypted. A value that cannot be decrypted is reported as unreadable, and nothing else suffers from it.
/// - **Rolling deploys**: migrate first, with the new release; a migration only adds, so that the release before goes on beside
///   it. What is no longer needed goes with the release after the one that stopped using it. Going back a release needs nothing.
/// - **Rights**: who migrates owns the schema (or may create it); who serves needs `USAGE` on it, `SELECT`, `INSERT`,
///   `UPDATE`, `DELETE` on its tables (of `migrations`, `SELECT` alone), `SELECT`, `USAGE` on its sequences, and `EXECUTE` on
///   its functions, which everybody has unless it was revoked from `PUBLIC`. [`check`](Self::check) names what is missing.
/// - **TLS** by `sslmode` in the [URL](PostgresPool#the-url).
///
/// Needs Postgres 13 or later. A time before 1970, or thousands of years ahead, is cut to that.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    pool: PostgresPool,
    statements: Statements,
    schema: Schema,
    keyring: Keyring,
    sealing: Mutex<Option<Sealing>>,
    feed: Feed,
    queue: Queue,
}

impl PostgresStore {
    /// A store with a pool of its own at `url` (`postgres://user:password@host/database?sslmode=require`), once a
    /// connection could be made.
    ///
    /// # Errors
    /// [`StoreError`]: the URL cannot be read, the database cannot be reached, or a key is another one than the key that this
    /// database knows by its name.
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn connect(url: &str, keyring: Keyring) -> Result<Self, StoreError> {
        let store = Self::at(url, keyring).build()?;
        drop(store.0.pool.connection().await?);
        store.0.compare_keys_if_there_are_any().await?;
        Ok(store)
    }

    /// Creates the schema, or brings it up to date.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed. [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured), with the
    /// schema up to date, if a key is another one than the key that this database knows by its name.
    ///
    /// # Cancellation
    /// All of it happened, or nothing.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.0.migrate().await?;
        self.0.introduce_keys().await
    }

    /// Makes sure that the keys are those of this database, and that it knows the primary one. The store does so by itself before
    /// it encrypts; this is for a host that encrypts secrets of its own with the same keyring, to be called before that.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured) if a key is another one than the key that this
    /// database knows by its name, else any other [`StoreError`].
    ///
    /// # Cancellation
    /// The key may be known.
    pub async fn introduce_keys(&self) -> Result<(), StoreError> {
        self.0.ready_to_seal().await.map(drop)
    }

    /// Whether the database can be reached and is what this release needs: its schema; the role's rights on each object; a
    /// server that keeps what was committed (no `fsync = off`), takes every character (UTF-8) and can be written to (no
    /// standby); the isolation; and the keys, of which the one that encrypted last must be there. It writes nothing.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured) if it is not; its source says in one line what
    /// is missing and what to set.
    /// [`Unavailable`](batchsuite_auth::store::StoreErrorKind::Unavailable) if it cannot be asked.
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.0.check().await?;
        self.0.check_keys().await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("schema", &self.0.schema)
            .field("pool", &self.0.pool)
            .field("feed", &self.0.feed)
            .finish_non_exhaustive()
    }
}
