//! The service's database.

use std::{path::Path, sync::Arc};

use batchsuite_auth::{Environment, StoreError, store::Store};
use batchsuite_store::{Keyring, Overview, PostgresStore, SqliteStore};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    failure::Failure,
    settings::{Place, Settings},
};

/// The service's database, open.
#[derive(Debug)]
pub(crate) enum Database {
    Postgres(PostgresStore),
    Sqlite(SqliteStore),
}

impl Database {
    /// Opens a database that is set up, and checks whether it can be used.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let keyring = settings.keyring().await?;
        match &settings.place {
            Place::Postgres(url) => {
                let store = postgres(url, settings, keyring)?;
                store.check().await?;
                Ok(Self::Postgres(store))
            }
            Place::Sqlite(path) => {
                refuse_missing(path)?;
                Ok(Self::Sqlite(SqliteStore::open(path, keyring).await?))
            }
        }
    }

    /// Sets up a database, or brings it up to date.
    pub(crate) async fn migrate(settings: &Settings) -> Result<Self, Failure> {
        let keyring = settings.keyring().await?;
        match &settings.place {
            Place::Postgres(url) => {
                let store = postgres(url, settings, keyring)?;
                store.migrate().await?;
                Ok(Self::Postgres(store))
            }
            Place::Sqlite(path) => Ok(Self::Sqlite(SqliteStore::open(path, keyring).await?)),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Postgres(store) => Arc::new(store.clone()),
            Self::Sqlite(store) => Arc::new(store.clone()),
        }
    }

    pub(crate) async fn overview(&self, environment: Environment) -> Result<Overview, Failure> {
        Ok(match self {
            Self::Postgres(store) => store.overview(environment).await?,
            Self::Sqlite(store) => store.overview(environment).await?,
        })
    }

    /// Records the first key as the one that encrypts, also if there is nothing to encrypt.
    pub(crate) async fn introduce_keys(&self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(store) => store.introduce_keys().await,
            Self::Sqlite(store) => store.introduce_keys().await,
        }
    }

    /// The kind of database.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Closes a file, so that no log stays beside it.
    pub(crate) async fn close(self) {
        if let Self::Sqlite(store) = self {
            store.close().await;
        }
    }
}

fn postgres(url: &SecretString, settings: &Settings, keyring: Keyring) -> Result<PostgresStore, Failure> {
    let store = PostgresStore::at(url.expose_secret(), keyring);
    let store = settings.schema.iter().fold(store, |store, schema| store.schema(schema));
    store.build().map_err(|error| {
        let is_of_database = false;
        Failure { is_of_database, ..error.into() }
    })
}

/// Opening a file would create it: a typing error in its path would look like a service without companies.
fn refuse_missing(path: &Path) -> Result<(), Failure> {
    let is_there = path.metadata().is_ok_and(|file| !file.is_file() || file.len() > 0);
    let line =
        || format!("there is no database at {}; check DATABASE_URL, or run `batchsuite migrate`", path.display());
    if is_there { Ok(()) } else { Err(Failure::new(line()).of_database()) }
}
