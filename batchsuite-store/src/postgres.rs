//! The Postgres store, for several processes.

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
/// - **One statement per verb**: a row, its tokens and its events are compared and written together. No transaction
///   stays open between round trips, and no lock outlives a statement. A dropped call leaves nothing behind. (Reading
///   the log forward and taking a delivery use two statements.)
/// - **Times** come from the server's clock.
/// - **Inspection**: the view `companies` shows a row's columns and its state. Each statement begins with its name (`/*
///   batchsuite save */`), visible in `pg_stat_activity`.
/// - **Secrets** reach the server only as ciphertext, each bound to its row and field: see [`keyring`](crate::keyring).
/// - **The change feed** is read from the table. A writer announces itself before it draws an event number, so a
///   reader's cursor never passes a number that may still be committed; other transactions in the database do not delay
///   readers. Notifications are only hints: they are sent after the commit, coalesced, on a connection of their own.
/// - **Durability** does not depend on the server's `synchronous_commit`: each writing statement turns it on for its
///   own transaction, also behind a pooler. `fsync` must be on; [`check`](Self::check) verifies that.
/// - **Isolation** must be *read committed*, the Postgres default; [`check`](Self::check) verifies that.
/// - **Connections** come from a [`PostgresPool`], which documents the maximum duration of a call, the handling of
///   silent or broken connections, and the URL. A pair that could not be stored over one connection is stored over
///   another within seconds.
/// - **PgBouncer** in session mode needs no setting. In transaction mode, put `pgbouncer=true` in the URL or call
///   [`unnamed_statements`](PostgresStoreBuilder::unnamed_statements).
/// - **Keys**: a name always stands for the same key. The schema keeps the check value of each key that has encrypted
///   data. [`connect`](Self::connect), [`migrate`](Self::migrate) and [`check`](Self::check) refuse a different key of
///   the same name, and so does every call before it reads or encrypts. A value that cannot be decrypted is reported as
///   unreadable and affects nothing else.
/// - **Rolling deploys**: migrate first, with the new release. Migrations only add, so the previous release keeps
///   working beside the new one. An object that is no longer used is dropped one release after the release that stopped
///   using it. Going back one release needs no step.
/// - **Rights**: the migrating role owns the schema (or may create it). The serving role needs `USAGE` on the schema;
///   `SELECT`, `INSERT`, `UPDATE`, `DELETE` on its tables (on `migrations` only `SELECT`); `SELECT`, `USAGE` on its
///   sequences; and `EXECUTE` on its functions, which every role has unless it was revoked from `PUBLIC`.
///   [`check`](Self::check) names a missing right.
/// - **TLS** follows `sslmode` in the [URL](PostgresPool#the-url).
///
/// Needs Postgres 13 or later. Times before 1970 or thousands of years ahead are clamped to that range.
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
    /// Creates a store with its own pool at `url` (`postgres://user:password@host/database?sslmode=require`) and makes
    /// a first connection.
    ///
    /// # Errors
    /// [`StoreError`]: the URL cannot be parsed, the database cannot be reached, or a key differs from the one that
    /// this database knows by the same name.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn connect(url: &str, keyring: Keyring) -> Result<Self, StoreError> {
        let store = Self::at(url, keyring).build()?;
        drop(store.0.pool.connection().await?);
        store.0.compare_keys_if_there_are_any().await?;
        Ok(store)
    }

    /// Creates the schema or brings it up to date.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed. [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured),
    /// with the schema up to date, if a key differs from the one that this database knows by the same name.
    ///
    /// # Cancellation
    /// The migration is applied either completely or not at all.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.0.migrate().await?;
        self.0.introduce_keys().await
    }

    /// Verifies that the keys are those of this database and records the primary key in it. The store does so by itself
    /// before it encrypts. A host that encrypts its own secrets with the same keyring calls this first.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured) if a key differs from the one that this
    /// database knows by the same name; otherwise any other [`StoreError`].
    ///
    /// # Cancellation
    /// The key may have been recorded.
    pub async fn introduce_keys(&self) -> Result<(), StoreError> {
        self.0.ready_to_seal().await.map(drop)
    }

    /// Verifies that the database can be reached and meets this release's requirements: the schema; the role's rights
    /// on each object; a server that keeps committed data (no `fsync = off`), stores every character (UTF-8) and
    /// accepts writes (no standby); the isolation level; and the keys, including the one that encrypted last. It writes
    /// nothing.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured) if a requirement is not met; its source
    /// says in one line what is missing and what to set.
    /// [`Unavailable`](batchsuite_auth::store::StoreErrorKind::Unavailable) if the database cannot be asked.
    ///
    /// # Cancellation
    /// Cancel-safe.
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
