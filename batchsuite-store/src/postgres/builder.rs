//! How a store is made.

use std::{fmt, sync::Arc};

use batchsuite_auth::store::StoreError;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};

use crate::keyring::Keyring;

use super::{
    Inner, PostgresStore,
    address::{Address, PATIENCE},
    database::Database,
    failure,
    feed::Feed,
    schema::Schema,
    seal::Vault,
    statements::Statements,
};

/// Set on every connection of a pool of our own. Another isolation would turn a lost race into an error; a statement that
/// hangs, or a transaction that somebody leaves open, would hold up readers of the log.
const SESSION: &str = "SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '10s';
    SET lock_timeout = '8s';
    SET idle_in_transaction_session_timeout = '10s'";

/// Connections of a pool of our own, if the host does not say.
const CONNECTIONS: usize = 8;
/// Sets a [`PostgresStore`] up.
#[must_use = "build() makes the store"]
pub struct PostgresStoreBuilder {
    source: Source,
    keyring: Keyring,
    schema: Result<Schema, StoreError>,
    prepares: bool,
    listens_on: Option<Result<Address, StoreError>>,
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("source", &self.source)
            .field("schema", &self.schema)
            .field("prepares", &self.prepares)
            .finish_non_exhaustive()
    }
}

/// Where connections come from.
enum Source {
    /// The host's pool.
    Pool(Pool),
    /// A pool of our own.
    Own { address: Result<Box<Address>, StoreError>, connections: usize },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool(_) => "Pool",
            Self::Own { .. } => "Own",
        })
    }
}

impl PostgresStoreBuilder {
    pub(super) fn of_pool(pool: Pool, keyring: Keyring) -> Self {
        Self::new(Source::Pool(pool), keyring)
    }

    pub(super) fn of_url(url: &str, keyring: Keyring) -> Self {
        Self::new(Source::Own { address: Address::new(url).map(Box::new), connections: CONNECTIONS }, keyring)
    }

    fn new(source: Source, keyring: Keyring) -> Self {
        Self { source, keyring, schema: Ok(Schema::default()), prepares: true, listens_on: None }
    }

    /// The schema that everything is kept in, `batchsuite` if not set: 1 to 50 lower-case ASCII letters, digits and
    /// underscores, a letter first.
    pub fn schema(mut self, name: &str) -> Self {
        let refusal = "a schema is named with lower-case letters, digits and underscores, a letter first";
        self.schema = Schema::new(name).ok_or_else(|| failure::misconfigured(refusal));
        self
    }

    /// How many connections a pool of the store's own has at most (8 if not set). A pool of the host's keeps its size.
    pub fn connections(mut self, most: usize) -> Self {
        if let Source::Own { connections, .. } = &mut self.source {
            *connections = most.max(1);
        }
        self
    }

    /// Sends statements without a name, so that a pooler that hands each transaction to another server (PgBouncer in
    /// transaction mode) does not miss a prepared one. The server plans each statement anew.
    ///
    /// Such a pooler passes no notifications on: [`listens_on`](Self::listens_on) names a way around it. Nor does it keep
    /// settings of a session: `ALTER ROLE … SET statement_timeout = '10s'` sets them where they belong.
    pub fn unnamed_statements(mut self) -> Self {
        self.prepares = false;
        self
    }

    /// Where one connection for notifications goes: straight to the server. Not set: to the URL that the store was made
    /// from, if statements are prepared; else there is none, and changes of other processes are heard of within seconds.
    pub fn listens_on(mut self, url: &str) -> Self {
        self.listens_on = Some(Address::new(url));
        self
    }

    /// Makes the store. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured): a URL that is none, a schema name that may
    /// not be, TLS that cannot be set up.
    pub fn build(self) -> Result<PostgresStore, StoreError> {
        let schema = self.schema?;
        let (pool, own) = match self.source {
            Source::Pool(pool) => (pool, None),
            Source::Own { address, connections } => {
                let address = address?;
                (own_pool(&address, connections, self.prepares)?, Some(*address))
            }
        };
        let listens_on = self.listens_on.transpose()?.or_else(|| own.filter(|_| self.prepares));
        Ok(PostgresStore(Arc::new(Inner {
            database: Database::new(pool, self.prepares),
            statements: Statements::new(&schema),
            vault: Vault::new(self.keyring),
            feed: Feed::new(schema.channel(), listens_on),
            schema,
        })))
    }
}

fn own_pool(address: &Address, connections: usize, prepares: bool) -> Result<Pool, StoreError> {
    // Fast: a connection that is not known to be closed is used. To ask it first would make two round trips of each.
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(address.config.clone(), address.tls.clone(), manager);
    let mut pool = Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(PATIENCE))
        .create_timeout(Some(2 * PATIENCE))
        .recycle_timeout(Some(PATIENCE));
    if prepares {
        pool = pool.post_create(Hook::async_fn(|client, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        }));
    }
    pool.build().map_err(|_| failure::misconfigured("the pool cannot be set up"))
}
