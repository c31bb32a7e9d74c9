//! The files used without a database server: the database, and beside it the keys that encrypt its contents.

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
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: Arc<io::Error>,
    },
    /// A key file does not hold keys.
    #[error("the keys in {} cannot be used: {}", .path.display(), chain(.reason))]
    Keys {
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: Arc<KeySourceError>,
    },
    /// The database exists without its keys.
    #[error("the opt-ins cannot be kept: {}; and there is no key file {}", chain(.reason), .key_file.display())]
    NoKeyFile {
        /// The store's error.
        reason: StoreError,
        /// The expected path of the keys.
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

/// The directory of a file; for a bare file name, the working directory at start.
fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The default key file of a database.
pub fn key_file(database: &Path) -> PathBuf {
    with_ending(database, ".keys")
}

/// Creates a database's directory, with access for the owner only, if it does not exist; its parent must exist.
pub(crate) fn create_directory_of(database: &Path) -> Result<(), FileError> {
    let directory = directory_of(database);
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(FileError::create(directory, error)),
        _ => Ok(()),
    }
}

/// Restricts a database that was put in place by hand, and SQLite's files beside it, to the owner.
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

/// The keys in the file beside a database. The first start creates that file with mode 0600 and also returns its path.
pub(crate) async fn keyring_beside(database: &Path) -> Result<(Keyring, Option<PathBuf>), FileError> {
    let file = key_file(database);
    // In this order: an instance that starts concurrently creates the keys first, then the database.
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

/// Rejects a database without its keys, unless nothing in it was ever encrypted. The store also detects damage and
/// files of other programs.
async fn refuse_without_keys(database: &Path, key_file: &Path, keys: &str) -> Result<(), FileError> {
    let new_keys = async { Keyring::load(StaticKeySource::new(KeySet::parse(keys)?)).await };
    let keyring =
        new_keys.await.map_err(|reason| FileError::Keys { path: key_file.to_owned(), reason: Arc::new(reason) })?;
    let opened = SqliteStore::open(database, keyring).await;
    opened.map(drop).map_err(|reason| FileError::NoKeyFile { reason, key_file: key_file.to_owned() })
}

/// A new key, as a line of a key file, with a unique name.
fn new_keys() -> Zeroizing<String> {
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    let key = Zeroizing::new(STANDARD.encode(*key));
    let month = SystemClock.now().format("%Y-%m");
    Zeroizing::new(format!("{month}-{:04x}:{}\n", rand::random::<u16>(), *key))
}

/// Creates a key file atomically. A file that exists by now belongs to another instance and is kept.
fn create(file: &Path, keys: &str) -> io::Result<()> {
    let draft = with_ending(file, &format!(".{:08x}", rand::random::<u32>()));
    let mut new = OpenOptions::new();
    let written = new.write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut draft| {
        draft.write_all(keys.as_bytes())?;
        draft.sync_all()
    });
    // Unlike a rename, a hard link never replaces a file.
    let linked = written.and_then(|()| fs::hard_link(&draft, file));
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        // After a power loss, encrypted data must not outlive its key.
        _ => File::open(directory_of(file))?.sync_all(),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}
