//! The builder of a store.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use batchsuite_auth::store::StoreError;

use crate::keyring::Keyring;

use super::{
    Inner, PostgresStore,
    address::Address,
    failure,
    feed::Feed,
    pool::{PostgresPool, PostgresPoolBuilder},
    queue::Queue,
    schema::Schema,
    statements::Statements,
};

/// Configures a [`PostgresStore`].
#[derive(Debug)]
#[must_use = "build() makes the store"]
pub struct PostgresStoreBuilder {
    /// The host's pool, or the builder of the store's own.
    pool: Result<PostgresPool, PostgresPoolBuilder>,
    keyring: Keyring,
    schema: Result<Schema, StoreError>,
    listens_on: Option<Result<Address, StoreError>>,
}

impl PostgresStore {
    /// Configures a store with its own pool at `url`.
    pub fn at(url: &str, keyring: Keyring) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Err(PostgresPool::at(url)), keyring)
    }

    /// Configures a store with a pool that the host uses, too.
    pub fn builder(pool: PostgresPool, keyring: Keyring) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Ok(pool), keyring)
    }
}

impl PostgresStoreBuilder {
    fn new(pool: Result<PostgresPool, PostgresPoolBuilder>, keyring: Keyring) -> Self {
        Self { pool, keyring, schema: Ok(Schema::default()), listens_on: None }
    }

    /// Configures the store's own pool; a pool of the host stays as it is.
    fn own(mut self, set_up: impl FnOnce(PostgresPoolBuilder) -> PostgresPoolBuilder) -> Self {
        self.pool = self.pool.map_err(set_up);
        self
    }

    /// The schema for everything, by default `batchsuite`: 1 to 50 lower-case ASCII letters, digits and underscores,
    /// beginning with a letter.
    pub fn schema(mut self, name: &str) -> Self {
        let refusal = "a schema is named with lower-case letters, digits and underscores, a letter first";
        self.schema = Schema::new(name).ok_or_else(|| failure::misconfigured(refusal));
        self
    }

    /// [`PostgresPoolBuilder::connections`] for the store's own pool.
    pub fn connections(self, most: usize) -> Self {
        self.own(|pool| pool.connections(most))
    }

    /// [`PostgresPoolBuilder::deadline`] for the store's own pool.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.own(|pool| pool.deadline(deadline))
    }

    /// [`PostgresPoolBuilder::unnamed_statements`] for the store's own pool: for PgBouncer in transaction mode.
    ///
    /// Such a pooler does not forward notifications; [`listens_on`](Self::listens_on) connects around it.
    pub fn unnamed_statements(self) -> Self {
        self.own(PostgresPoolBuilder::unnamed_statements)
    }

    /// The URL of the single connection for notifications, straight to the server. By default the pool's URL, unless
    /// the pool sends unnamed statements: then there is no such connection, and changes of other processes are seen
    /// within seconds.
    pub fn listens_on(mut self, url: &str) -> Self {
        self.listens_on = Some(Address::new(url));
        self
    }

    /// Builds the store without sending anything. Call it in the runtime that will drive the connections.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured): the URL cannot be parsed, the schema
    /// name is invalid, or TLS cannot be set up.
    pub fn build(self) -> Result<PostgresStore, StoreError> {
        let schema = self.schema?;
        let pool = self.pool.or_else(PostgresPoolBuilder::build)?;
        let listens_on = match self.listens_on.transpose()? {
            Some(address) if address.is_pooled => {
                return Err(failure::misconfigured("a pooler with pgbouncer=true does not forward notifications"));
            }
            Some(address) => Some(address),
            None => pool.0.prepares.then(|| pool.0.address.clone()),
        };
        let feed = Feed::new(schema.channel(), listens_on, &pool.0);
        Ok(PostgresStore(Arc::new(Inner {
            pool,
            statements: Statements::new(&schema),
            keyring: self.keyring,
            sealing: Mutex::new(None),
            feed,
            queue: Queue::default(),
            schema,
        })))
    }
}
