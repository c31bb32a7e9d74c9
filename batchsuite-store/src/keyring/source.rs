//! Sources of keys.

use std::{
    env,
    error::Error,
    fmt,
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use secrecy::zeroize::Zeroizing;

use super::key::{InvalidKeys, KeyId, KeySet};

/// Loads keys, the primary first: from the environment, a file, or a key management service.
///
/// # Contract
/// - Every call reads the source anew; only [`Keyring::reload`](super::Keyring::reload) repeats it.
/// - A name always stands for the same key.
/// - Neither `Debug` nor an error shows a key.
///
/// # Cancellation
/// Implementations must be cancel-safe.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync + 'static {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeySourceError`]; [`KeySourceError::Unavailable`] if the source cannot be reached.
    async fn load(&self) -> Result<KeySet, KeySourceError>;
}

#[async_trait]
impl<S: KeySource + ?Sized> KeySource for Arc<S> {
    async fn load(&self) -> Result<KeySet, KeySourceError> {
        (**self).load().await
    }
}

/// Keys could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySourceError {
    /// The environment variable is not set or is not text.
    #[error("the environment variable {variable} holds no keys; set it to name:key,name:key with the primary first")]
    Unset {
        /// The variable's name.
        variable: &'static str,
    },
    /// The file cannot be read or is not text.
    #[error("the key file cannot be read; check its path and its owner")]
    Unreadable(#[source] io::Error),
    /// The path names a directory, a pipe, a socket or a device.
    #[error("the key file is not a regular file; check its path")]
    NotAFile,
    /// The file is too large to be a key file.
    #[error("the key file is larger than 64 KiB; check its path")]
    TooLarge,
    /// The file's group or others can read or write it.
    #[error(
        "the key file is open to others than its owner (mode {mode:04o}); chmod 600 it, and replace the keys if others saw them"
    )]
    Exposed {
        /// The file's permission bits.
        mode: u32,
    },
    /// The source's content is not a usable set of keys.
    #[error(transparent)]
    Invalid(#[from] InvalidKeys),
    /// A name stands for a different key than before.
    #[error("the name {id} stands for another key now; restore the old key, and give the new one a new name")]
    Exchanged {
        /// The key's name.
        id: KeyId,
    },
    /// The source is unreachable, perhaps only now. The source of this error must not show a key.
    #[error("the key source cannot be reached; try again")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// Keys in an environment variable, in the format of [`KeySet::parse`]: `2026-11:<base64>,2026-05:<base64>`, the
/// primary first.
///
/// The environment of a running process cannot be changed from outside, so a new key takes effect after a restart.
#[derive(Clone, Debug)]
pub struct EnvKeySource {
    variable: &'static str,
}

impl EnvKeySource {
    /// The variable that [`EnvKeySource::default`] reads.
    pub const DEFAULT_VARIABLE: &'static str = "BATCHSUITE_KEYS";

    /// Reads this variable instead.
    #[must_use]
    pub fn new(variable: &'static str) -> Self {
        Self { variable }
    }
}

impl Default for EnvKeySource {
    fn default() -> Self {
        Self::new(Self::DEFAULT_VARIABLE)
    }
}

#[async_trait]
impl KeySource for EnvKeySource {
    async fn load(&self) -> Result<KeySet, KeySourceError> {
        let unset = |_| KeySourceError::Unset { variable: self.variable };
        let text = Zeroizing::new(env::var(self.variable).map_err(unset)?);
        Ok(KeySet::parse(&text)?)
    }
}

/// Keys in a file, one `name:base64` per line, the primary first; `#` begins a comment line ([`KeySet::parse`]).
///
/// On Unix the file must not be accessible to group and others (`chmod 600`; on Kubernetes `defaultMode: 0400`), or it
/// is refused. To replace it, write a new file beside it and rename that, so that no reader sees a partial file.
#[derive(Clone)]
pub struct FileKeySource {
    path: PathBuf,
}

/// A hundred keys take 8 KiB.
const MAX_FILE: usize = 64 * 1024;

impl FileKeySource {
    /// Reads this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn read(&self) -> Result<KeySet, KeySourceError> {
        let file = open(&self.path).map_err(KeySourceError::Unreadable)?;
        // Check the open file, not its path, which may name another file by now.
        let metadata = file.metadata().map_err(KeySourceError::Unreadable)?;
        if !metadata.is_file() {
            return Err(KeySourceError::NotAFile);
        }
        refuse_exposed(&metadata)?;
        // Full capacity from the start: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE + 1));
        file.take(MAX_FILE as u64 + 1).read_to_string(&mut text).map_err(KeySourceError::Unreadable)?;
        if text.len() > MAX_FILE {
            return Err(KeySourceError::TooLarge);
        }
        Ok(KeySet::parse(&text)?)
    }
}

/// Non-blocking: opening a pipe would hang until somebody writes to it.
#[cfg(unix)]
pub(super) fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};

    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?
        .into())
}

#[cfg(not(unix))]
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn refuse_exposed(file: &Metadata) -> Result<(), KeySourceError> {
    use std::os::unix::fs::PermissionsExt;

    let mode = file.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeySourceError::Exposed { mode }) }
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Metadata) -> Result<(), KeySourceError> {
    Ok(())
}

#[async_trait]
impl KeySource for FileKeySource {
    async fn load(&self) -> Result<KeySet, KeySourceError> {
        let source = self.clone();
        tokio::task::spawn_blocking(move || source.read())
            .await
            .map_err(|error| KeySourceError::Unavailable(error.into()))?
    }
}

impl fmt::Debug for FileKeySource {
    /// Omits the path: somebody may have set a key there by mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKeySource").finish_non_exhaustive()
    }
}

/// Keys that never change, for tests.
#[derive(Clone, Debug)]
pub struct StaticKeySource {
    keys: KeySet,
}

impl StaticKeySource {
    /// Always returns these keys.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self { keys }
    }
}

#[async_trait]
impl KeySource for StaticKeySource {
    async fn load(&self) -> Result<KeySet, KeySourceError> {
        Ok(self.keys.clone())
    }
}
