//! Storage: in memory, in an SQLite file, or in a Postgres database shared by any number of instances.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use batchsuite_auth::{
    error::chain,
    store::{Store, StoreError},
};
use batchsuite_store::{
    Keyring, MemoryStore, PostgresStore, SqliteStore,
    keyring::{EnvKeySource, KeySourceError},
};
use secrecy::SecretString;

use crate::{
    config::{KeptIn, Keys, Place},
    database::{Database, DatabaseError},
    demo::{self, SeedError},
    directory::{Directory, DirectoryError, MemoryDirectory, SqlDirectory},
    files::{self, FileError},
    sessions::{MemorySessions, Sessions, SqlSessions},
    upkeep::Upkeep,
};

/// The three stores.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Keeps the opt-ins.
    pub store: Arc<dyn Store>,
    /// Keeps people and companies.
    pub directory: Arc<dyn Directory>,
    /// Keeps the sessions.
    pub sessions: Arc<dyn Sessions>,
    /// The database, if the data is persistent.
    pub database: Option<Database>,
    /// Background maintenance, if the data is persistent.
    pub upkeep: Option<Upkeep>,
    /// The key file, if this start created it.
    pub new_key_file: Option<PathBuf>,
    /// The file of the opt-ins, to be closed at the end.
    pub file: Option<SqliteStore>,
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
        Ok(Self {
            store: Arc::new(store),
            directory: Arc::new(directory),
            sessions,
            database: None,
            upkeep: None,
            new_key_file: None,
            file: None,
        })
    }

    /// In a database: migrates its tables, adds the demo's people and companies if missing, and sets their password.
    /// Data under an old key is re-encrypted, opt-ins in the background ([`Upkeep`]).
    ///
    /// # Errors
    /// [`StorageError`]; running instances are not affected.
    pub async fn kept_in(kept_in: &KeptIn, password: &SecretString) -> Result<Self, StorageError> {
        let (database, store, keyring, new_key_file, file) = match &kept_in.place {
            Place::Postgres { url, keys } => {
                let keyring = keyring_of(keys).await?;
                let (database, store) = in_postgres(url, &keyring).await?;
                (database, store, keyring, None, None)
            }
            Place::File { path, keys } => {
                files::create_directory_of(path)?;
                let (keyring, new_key_file) = match keys {
                    Some(keys) => (keyring_of(keys).await?, None),
                    None => files::keyring_beside(path).await?,
                };
                let (database, file) = in_a_file(path, &keyring).await?;
                let store: Arc<dyn Store> = Arc::new(file.clone());
                (database, store, keyring, new_key_file, Some(file))
            }
        };
        let unreadable = database.reencrypt_access_keys(&keyring).await?;
        if unreadable > 0 {
            tracing::error!(unreadable, "access keys cannot be read with these keys; their companies need new ones");
        }
        let upkeep = Upkeep { primary_key: keyring.keys().primary().to_string(), events_kept: kept_in.events_kept };
        let directory = SqlDirectory::new(database.clone(), keyring);
        demo::welcome(&directory, password).await?;
        let sessions = Arc::new(SqlSessions::new(database.clone()));
        Ok(Self {
            store,
            directory: Arc::new(directory),
            sessions,
            database: Some(database),
            upkeep: Some(upkeep),
            new_key_file,
            file,
        })
    }
}

async fn keyring_of(keys: &Keys) -> Result<Keyring, StorageError> {
    match keys {
        Keys::Environment => Ok(Keyring::load(EnvKeySource::default()).await?),
        Keys::File(path) => Ok(files::keyring_in(path).await?),
    }
}

async fn in_postgres(url: &SecretString, keyring: &Keyring) -> Result<(Database, Arc<dyn Store>), StorageError> {
    let (database, pool) = Database::connect(url).await?;
    database.migrate().await?;
    let store = PostgresStore::builder(pool, keyring.clone()).build()?;
    store.migrate().await?;
    store.check().await?;
    store.introduce_keys().await?;
    Ok((database, Arc::new(store)))
}

async fn in_a_file(path: &Path, keyring: &Keyring) -> Result<(Database, SqliteStore), StorageError> {
    // The store comes first, because it creates the file and rejects a file of another program.
    let store = SqliteStore::open(path, keyring.clone()).await?;
    store.introduce_keys().await?;
    let database = Database::open(path).await?;
    database.migrate().await?;
    Ok((database, store))
}

/// The database is not usable; one line.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The keys are missing or invalid.
    #[error("the keys that encrypt what is kept cannot be used: {}", chain(.0))]
    Keys(Arc<KeySourceError>),
    /// A file cannot be created or used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The application's tables failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The store of the opt-ins failed.
    #[error("the opt-ins cannot be kept: {}", chain(.0))]
    Store(#[from] StoreError),
    /// People and companies could not be added.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<KeySourceError> for StorageError {
    fn from(error: KeySourceError) -> Self {
        Self::Keys(Arc::new(error))
    }
}
