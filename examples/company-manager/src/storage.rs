//! Where everything is kept: in memory, or in a database that any number of instances share.

use std::sync::Arc;

use batchsuite_auth::{
    error::chain,
    store::{Store, StoreError},
};
use batchsuite_store::{
    Keyring, MemoryStore, PostgresStore,
    keyring::{EnvKeySource, FileKeySource, KeySourceError},
};
use secrecy::SecretString;

use crate::{
    config::{KeptIn, Keys},
    database::{Database, DatabaseError},
    demo::{self, SeedError},
    directory::{Directory, DirectoryError, MemoryDirectory, PostgresDirectory},
    sessions::{MemorySessions, PostgresSessions, Sessions},
    upkeep::Upkeep,
};

/// The three that keep something.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Keeps the opt-ins.
    pub store: Arc<dyn Store>,
    /// Keeps people and companies.
    pub directory: Arc<dyn Directory>,
    /// Keeps who is signed in.
    pub sessions: Arc<dyn Sessions>,
    /// What is to be done beside all other work, if it outlives the program.
    pub upkeep: Option<Upkeep>,
}

impl Storage {
    /// In memory: the demo's people and companies, and the opt-ins in `store`.
    ///
    /// # Errors
    /// [`SeedError`]
    pub async fn in_memory(
        store: MemoryStore,
        company_admin_password: &SecretString,
        admin_user_password: &SecretString,
    ) -> Result<Self, SeedError> {
        let directory = MemoryDirectory::new();
        demo::seed(&directory, company_admin_password, admin_user_password).await?;
        let sessions = Arc::new(MemorySessions::new());
        Ok(Self { store: Arc::new(store), directory: Arc::new(directory), sessions, upkeep: None })
    }

    /// In a database: brings its tables up to date, adds the demo's people and companies if they are not there, and gives
    /// its people this password. What is under an old key is encrypted anew, opt-ins by and by.
    ///
    /// # Errors
    /// [`StorageError`]; the instances that run are not affected.
    pub async fn in_postgres(kept_in: &KeptIn, password: &SecretString) -> Result<Self, StorageError> {
        let keyring = match &kept_in.keys {
            Keys::Environment => Keyring::load(EnvKeySource::default()).await,
            Keys::File(path) => Keyring::load(FileKeySource::new(path)).await,
        }
        .map_err(|error| StorageError::Keys(Arc::new(error)))?;
        let database = Database::connect(&kept_in.url).await?;
        database.migrate().await?;
        let store = PostgresStore::builder(database.pool(), keyring.clone()).build()?;
        store.migrate().await?;
        store.check().await?;
        store.introduce_keys().await?;
        let unreadable = database.reencrypt_access_keys(&keyring).await?;
        if unreadable > 0 {
            tracing::error!(unreadable, "access keys cannot be read with these keys; their companies need new ones");
        }
        let key = keyring.keys().primary().to_string();
        let directory = PostgresDirectory::new(database.clone(), keyring);
        demo::welcome(&directory, password).await?;
        let sessions = Arc::new(PostgresSessions::new(database));
        let upkeep = Some(Upkeep { primary_key: key, events_kept: kept_in.events_kept });
        Ok(Self { store: Arc::new(store), directory: Arc::new(directory), sessions, upkeep })
    }
}

/// The database cannot be used, in one line.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There are no keys.
    #[error("the keys that encrypt what is kept cannot be used: {0}")]
    Keys(#[source] Arc<KeySourceError>),
    /// The application's own part.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The opt-ins' part.
    #[error("the opt-ins cannot be kept: {}", chain(.0))]
    Store(#[from] StoreError),
    /// People and companies could not be added.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}
