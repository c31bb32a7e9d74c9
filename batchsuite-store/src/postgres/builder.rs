//! How a store is made.

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

/// Sets a [`PostgresStore`] up.
#[derive(Debug)]
#[must_use = "build() makes the store"]
pub struct PostgresStoreBuilder {
    /// That of the host, or what the store's own is made from.
    pool: Result<PostgresPool, PostgresPoolBuilder>,
    keyring: Keyring,
    schema: Result<Schema, StoreError>,
    listens_on: Option<Result<Address, StoreError>>,
}

impl PostgresStore {
    /// Sets a store up with a pool of its own at `url`.
    pub fn at(url: &str, keyring: Keyring) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Err(PostgresPool::at(url)), keyring)
    }

    /// Sets a store up with a pool that the host uses, too.
    pub fn builder(pool: PostgresPool, keyring: Keyring) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(Ok(pool), keyring)
    }
}

impl PostgresStoreBuilder {
    fn new(pool: Result<PostgresPool, PostgresPoolBuilder>, keyring: Keyring) -> Self {
        Self { pool, keyring, schema: Ok(Schema::default()), listens_on: None }
    }

    /// Sets the store's own pool up; a pool of the host's stays as it is.
    fn own(mut self, set_up: impl FnOnce(PostgresPoolBuilder) -> PostgresPoolBuilder) -> Self {
        self.pool = self.pool.map_err(set_up);
        self
    }

    /// The schema that everything is kept in, `batchsuite` if not set: 1 to 50 lower-case ASCII letters, digits and
    /// underscores, a letter first.
    pub fn schema(mut self, name: &str) -> Self {
        let refusal = "a schema is named with lower-case letters, digits and underscores, a letter first";
        self.schema = Schema::new(name).ok_or_else(|| failure::misconfigured(refusal));
        self
    }

    /// [`PostgresPoolBuilder::connections`] of the store's own pool.
    pub fn connections(self, most: usize) -> Self {
        self.own(|pool| pool.connections(most))
    }

    /// [`PostgresPoolBuilder::deadline`] of the store's own pool.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.own(|pool| pool.deadline(deadline))
    }

    /// [`PostgresPoolBuilder::unnamed_statements`] of the store's own pool: for PgBouncer in transaction mode.
    ///
    /// Such a pooler passes no notifications on: [`listens_on`](Self::listens_on) names a way around it.
    pub fn unnamed_statements(self) -> Self {
        self.own(PostgresPoolBuilder::unnamed_statements)
    }

    /// Where one connection for notifications goes: straight to the server. Not set: to the URL of the pool, unless the pool
    /// sends unnamed statements; then there is none, and changes of other processes are heard of within seconds.
    pub fn listens_on(mut self, url: &str) -> Self {
        self.listens_on = Some(Address::new(url));
        self
    }

    /// Makes the store. Nothing is sent yet. To be called in the runtime that shall drive the connections.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured): a URL that cannot be read, a schema name
    /// that may not be, TLS that cannot be set up.
    pub fn build(self) -> Result<PostgresStore, StoreError> {
        let schema = self.schema?;
        let pool = self.pool.or_else(PostgresPoolBuilder::build)?;
        let listens_on = match self.listens_on.transpose()? {
            Some(address) if address.is_pooled => {
                return Err(failure::misconfigured("notifications do not pass the pooler of pgbouncer=true"));
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
