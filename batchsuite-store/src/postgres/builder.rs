//! How a store is made.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::store::StoreError;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::Config;

use crate::keyring::Keyring;

use super::{
    Inner, PostgresStore, database::Database, failure, feed::Feed, schema::Schema, seal::Vault, statements::Statements,
    tls::Tls,
};

/// Set on every connection of a pool of our own. Another isolation would turn a lost race into an error; a statement that
/// hangs, or a transaction that somebody leaves open, would hold up readers of the log.
const SESSION: &str = "SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '10s';
    SET lock_timeout = '8s';
    SET idle_in_transaction_session_timeout = '10s'";

/// Connections of a pool of our own, if the host does not say.
const CONNECTIONS: usize = 8;
/// How long a call waits for a free connection, and how long connecting takes at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long unanswered bytes keep a connection alive.
const SILENCE: Duration = Duration::from_secs(15);

/// Sets a [`PostgresStore`] up.
#[derive(Debug)]
#[must_use = "build() makes the store"]
pub struct PostgresStoreBuilder {
    source: Source,
    keyring: Keyring,
    schema: Result<Schema, StoreError>,
    prepares: bool,
    listens_on: Option<Result<Box<Config>, StoreError>>,
}

/// Where connections come from.
enum Source {
    /// The host's pool.
    Pool(Pool),
    /// A pool of our own.
    Own { config: Result<Box<Config>, StoreError>, connections: usize },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        Self::new(Source::Own { config: parsed(url), connections: CONNECTIONS }, keyring)
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
        self.listens_on = Some(parsed(url));
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
            Source::Own { config, connections } => {
                let config = config?;
                (own_pool(&config, connections, self.prepares)?, Some(config))
            }
        };
        let listens_on = match self.listens_on {
            Some(config) => Some(config?),
            None => own.filter(|_| self.prepares),
        };
        let address = match listens_on {
            Some(config) => Some((*config.clone(), tls(&config)?)),
            None => None,
        };
        Ok(PostgresStore(Arc::new(Inner {
            database: Database { pool, prepares: self.prepares },
            statements: Statements::new(&schema),
            vault: Vault::new(self.keyring),
            feed: Feed::new(schema.channel(), address),
            schema,
        })))
    }
}

/// What a URL leaves open is set so that nothing waits for long.
fn parsed(url: &str) -> Result<Box<Config>, StoreError> {
    // The parser's error repeats parts of the URL.
    let config: Result<Config, _> = url.parse();
    let mut config = config.map_err(|_| failure::misconfigured("the database's URL is none that can be read"))?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(PATIENCE);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    config.keepalives_idle(SILENCE);
    if config.get_application_name().is_none() {
        config.application_name("batchsuite");
    }
    Ok(Box::new(config))
}

fn tls(config: &Config) -> Result<Tls, StoreError> {
    Tls::new(config.get_ssl_mode()).map_err(|error| failure::misconfigured(format!("TLS cannot be set up: {error}")))
}

fn own_pool(config: &Config, connections: usize, prepares: bool) -> Result<Pool, StoreError> {
    // Fast: a connection that is not known to be closed is used. To ask it first would make two round trips of each.
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config.clone(), tls(config)?, manager);
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
