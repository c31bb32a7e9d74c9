use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use batchsuite_auth::{
    Environment,
    clock::{Clock, Timestamp},
    store::{StoreError, StoreErrorKind},
};
use batchsuite_store::Keyring;
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::spawn_blocking};

type Result<T> = std::result::Result<T, StoreError>;

/// Keeps opt-ins in its own directory, for one process. Clones share their contents.
#[derive(Clone)]
pub struct FileStore(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    keyring: Keyring,
    clock: Box<dyn Clock>,
    /// `None` after a failed write: only the file then knows the stored state.
    records: Mutex<Option<Records>>,
    /// Signalled after every write.
    written: watch::Sender<()>,
}

/// A verb in progress. It reads the records as of its start and collects its writes.
struct Verb<'a> {
    records: &'a BTreeMap<String, Value>,
    batch: Batch,
    keyring: &'a Keyring,
    environment: Environment,
    now: Timestamp,
}

impl FileStore {
    pub fn open(directory: impl Into<PathBuf>, keyring: Keyring, clock: impl Clock) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        let records = Mutex::new(Some(Records::open(&directory)?));
        let (clock, written) = (Box::new(clock), watch::Sender::new(()));
        Ok(Self(Arc::new(Shared { directory, keyring, clock, records, written })))
    }

    /// Runs a verb on a thread that may block on the disk. If the caller is dropped, the verb still runs to its end.
    async fn run<T: Send + 'static>(
        &self,
        environment: Environment,
        verb: impl FnOnce(&mut Verb<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.0);
        let answer = spawn_blocking(move || shared.run(environment, verb)).await;
        answer.unwrap_or_else(|panicked| Err(failed(io::Error::other(panicked))))
    }
}

impl Shared {
    fn run<T>(&self, environment: Environment, verb: impl FnOnce(&mut Verb<'_>) -> Result<T>) -> Result<T> {
        let mut place = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = match place.take().filter(|records| !records.is_worn()) {
            Some(records) => records,
            None => Records::open(&self.directory).map_err(failed)?,
        };
        // The time is read under the lock, so that a save that waited is judged by its true age.
        let (batch, keyring, now) = (Batch::new(), &self.keyring, self.clock.now());
        let mut work = Verb { records: &records.by_key, batch, keyring, environment, now };
        let answer = verb(&mut work);
        let batch = work.batch;
        if answer.is_ok() && !batch.is_empty() {
            // If this fails, the records are not put back, and the next verb reads the file again.
            records.write(batch).map_err(failed)?;
            self.written.send_replace(());
        }
        *place = Some(records);
        answer
    }
}

impl Verb<'_> {
    /// The record of this kind and name. Environments have separate records.
    fn find<T: DeserializeOwned>(&self, sort: &str, name: &str) -> Result<Option<T>> {
        let record = self.records.get(&self.key(sort, name));
        record.map(|record| T::deserialize(record).map_err(|error| failed(error.into()))).transpose()
    }

    /// All records of this kind, by name.
    fn all<T: DeserializeOwned>(&self, sort: &str) -> impl DoubleEndedIterator<Item = (&str, T)> {
        // '0' is the character after '/'.
        let (first, end) = (self.key(sort, ""), format!("{}/{sort}0", self.environment.name()));
        let length = first.len();
        let records = self.records.range(first..end);
        records.filter_map(move |(key, record)| Some((&key[length..], T::deserialize(record).ok()?)))
    }

    fn put(&mut self, sort: &str, name: &str, record: &impl Serialize) -> Result<()> {
        let record = serde_json::to_value(record).map_err(|error| failed(error.into()))?;
        self.batch.push((self.key(sort, name), record));
        Ok(())
    }

    fn erase(&mut self, sort: &str, name: &str) {
        self.batch.push((self.key(sort, name), Value::Null));
    }

    fn key(&self, sort: &str, name: &str) -> String {
        format!("{}/{sort}/{name}", self.environment.name())
    }
}

/// Converts an I/O error to the store's error.
fn failed(error: io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreErrorKind::Corrupt,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Misconfigured,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind).with_source(error)
}
