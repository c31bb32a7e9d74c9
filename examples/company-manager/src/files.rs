//! The files that everything is kept in where there is no database server: the database, and beside it the keys that encrypt what
//! is in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use batchsuite_auth::{
    clock::{Clock, SystemClock},
    error::chain,
    store::StoreError,
};
use batchsuite_store::{
    Keyring, SqliteStore,
    keyring::{FileKeySource, KeySet, KeySourceError, StaticKeySource},
};
use secrecy::zeroize::Zeroizing;

/// A file cannot be created or used, in one line.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A file or a directory cannot be created.
    #[error("{} cannot be created: {reason}", .path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: Arc<io::Error>,
    },
    /// A key file does not hold keys.
    #[error("the keys in {} cannot be used: {reason}", .path.display())]
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        reason: Arc<KeySourceError>,
    },
    /// The database is there without its keys.
    #[error("the opt-ins cannot be kept: {}; and there is no key file {}", chain(.reason), .key_file.display())]
    NoKeyFile {
        /// Why it cannot be used so.
        reason: StoreError,
        /// Where its keys would be.
        key_file: PathBuf,
    },
}

impl FileError {
    fn create(path: &Path, reason: io::Error) -> Self {
        Self::Create { path: path.to_owned(), reason: Arc::new(reason) }
    }
}

/// The keys in a file.
pub(crate) async fn keyring_in(file: &Path) -> Result<Keyring, FileError> {
    let loaded = Keyring::load(FileKeySource::new(file)).await;
    loaded.map_err(|reason| FileError::Keys { path: file.to_owned(), reason: Arc::new(reason) })
}

/// The directory that a file is in; that of a bare name is where the program was started.
fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where the keys of a database are that has none from elsewhere.
pub fn key_file(database: &Path) -> PathBuf {
    with_ending(database, ".keys")
}

/// Creates the directory of a database, closed to others, if it is not there; the one above it must be.
pub(crate) fn create_directory_of(database: &Path) -> Result<(), FileError> {
    let directory = directory_of(database);
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(FileError::create(directory, error)),
        _ => Ok(()),
    }
}

/// Closes a database that was put in place by hand, and what SQLite keeps beside it, to others.
pub fn close_to_others(database: &Path) -> Result<(), FileError> {
    for ending in ["", "-wal", "-shm"] {
        let file = with_ending(database, ending);
        match fs::set_permissions(&file, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(FileError::create(&file, error)),
            _ => {}
        }
    }
    Ok(())
}

/// The keys in the file beside a database. At the first start that file is created, mode 0600; then it is named, too.
pub(crate) async fn keyring_beside(database: &Path) -> Result<(Keyring, Option<PathBuf>), FileError> {
    let file = key_file(database);
    // In this order: another instance that begins now creates the keys first, and then the database.
    let (is_there, has_keys) = (database.exists(), file.exists());
    if !has_keys {
        let keys = new_keys();
        if is_there {
            refuse_without_keys(database, &file, &keys).await?;
        }
        create(&file, &keys).map_err(|error| FileError::create(&file, error))?;
    }
    let keyring = keyring_in(&file).await?;
    Ok((keyring, (!has_keys).then_some(file)))
}

/// Refuses a database whose keys are missing, unless nothing was ever encrypted in it. The store also says if it is damaged, or
/// another program's.
async fn refuse_without_keys(database: &Path, key_file: &Path, keys: &str) -> Result<(), FileError> {
    let new_keys = async { Keyring::load(StaticKeySource::new(KeySet::parse(keys)?)).await };
    let keyring =
        new_keys.await.map_err(|reason| FileError::Keys { path: key_file.to_owned(), reason: Arc::new(reason) })?;
    let opened = SqliteStore::open(database, keyring).await;
    opened.map(drop).map_err(|reason| FileError::NoKeyFile { reason, key_file: key_file.to_owned() })
}

/// A new key, as a line of a key file. Its name is no other key's.
fn new_keys() -> Zeroizing<String> {
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    let key = Zeroizing::new(STANDARD.encode(*key));
    let month = SystemClock.now().format("%Y-%m");
    Zeroizing::new(format!("{month}-{:04x}:{}\n", rand::random::<u16>(), *key))
}

/// Creates a key file, whole or not at all. One that is there by now is another instance's, and stays.
fn create(file: &Path, keys: &str) -> io::Result<()> {
    let draft = with_ending(file, &format!(".{:08x}", rand::random::<u32>()));
    let mut new = OpenOptions::new();
    let written = new.write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut draft| {
        draft.write_all(keys.as_bytes())?;
        draft.sync_all()
    });
    // A link, unlike a move, never replaces a file.
    let linked = written.and_then(|()| fs::hard_link(&draft, file));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        // What is encrypted with the key must not outlive it after a loss of power.
        _ => File::open(directory_of(file))?.sync_all(),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}
