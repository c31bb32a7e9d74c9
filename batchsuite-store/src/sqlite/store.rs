//! The store's verbs, each run on a thread of the store.

use std::{
    path::{PathBuf, absolute},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    CompanyId, Environment,
    clock::{Clock, SystemClock, Timestamp},
    events::EventId,
    ids::ConsentId,
    secret::SecretHash,
    store::{
        Changes, ConsentCaps, Delivery, DeliveryEnd, EventPage, EventQuery, FoundConsent, ListQuery, NewConsent,
        NewEvent, Page, Prune, Pruned, Row, RowKey, Saved, Store, StoreError, Swap,
    },
};
use tokio::{sync::watch, task, time};

use super::{Shared, failure, file, worker::Worker};
use crate::{keyring::Keyring, overview::Overview};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// How often the change feed checks for other processes' writes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps everything in one SQLite file: the whole storage contract, for any number of processes on one machine.
///
/// ```no_run
/// use batchsuite_store::{
///     SqliteStore,
///     keyring::{FileKeySource, Keyring},
/// };
///
/// # async fn start() -> Result<SqliteStore, Box<dyn std::error::Error>> {
/// let keyring = Keyring::load(FileKeySource::new("batchsuite.keys")).await?;
/// let store = SqliteStore::open("batchsuite.db", keyring).await?;
/// # Ok(store)
/// # }
/// ```
///
/// - **Transactions**: one thread writes and one reads, so no thread of the runtime waits for the disk. Concurrent
///   calls share one transaction and one fsync; each call happens completely or not at all, also if it is dropped. A
///   write waits up to 4 s for another process, and a call ends after 8 s.
/// - **Durability**: a write-ahead log (WAL) with `synchronous = FULL`. Committed data survive a crash and a power
///   loss.
/// - **Several processes** on one machine may share the file. Swaps are atomic across all of them, and each process
///   checks every second for the others' announcements. All use the machine's clock. Several machines cannot share the
///   file: a file on NFS, SMB or another network file system is refused. A file on FUSE or 9P, which may be local,
///   causes a warning in the log.
/// - **Secrets** are in the file, its log and its backups only as ciphertext, each bound to its row and field: see
///   [`keyring`](crate::keyring). The file is created with mode 0600, and so are the two that SQLite puts beside it
///   (`-wal`, `-shm`). The mode of an existing file is not changed.
/// - **Keys**: a name always stands for the same key. The file keeps the check value of the key that created it and of
///   each key that has encrypted data. A process that only reads records nothing. [`open`](Self::open) refuses a
///   different key of the same name, and keys without the latest encryption key unless that is declared lost. After a
///   reload that brought such keys, nothing is encrypted until they are corrected; a pair in hand waits for that.
/// - **A foreign file** is refused and not touched: a file of another program or of a later release, or a damaged file.
///   A file of at most 64 MiB is checked completely for damage. For a larger file, run `PRAGMA quick_check` from time
///   to time.
/// - **A full disk** makes saves fail and loses nothing: saves succeed again when there is room.
/// - **One file serves one client id**, as one schema does in Postgres.
///
/// Operators may inspect the file with the `sqlite3` program (3.37 or later) at any time, for example through the view
/// `companies`.
///
/// # Backups
/// Keep a copy of the keys elsewhere; a backup is useless without them.
///
/// - **While a process has the file open**: `sqlite3 batchsuite.db ".backup 'copy.db'"` or `VACUUM INTO 'copy.db'`.
///   Never copy the file alone: the copy misses the data still in the log and may be torn.
/// - **While no process has it open**: copy the file, and `-wal` with it if it exists (because a process was killed or
///   ended without [`close`](Self::close), or two processes ended at the same moment).
/// - **To restore**: stop every process that uses the file; remove the file and its `-wal` and `-shm`; put the copy in
///   its place with mode 0600; then run [`after_restore`](batchsuite_auth::BatchSuiteAuth::after_restore) before any
///   process serves. Do not replace or remove the file while a process has it open: that process's later writes would
///   be lost. Do not open the file in such a process by other means: closing any descriptor drops the process's POSIX
///   locks on the file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    pub(super) writer: Worker,
    pub(super) reader: Worker,
}

impl SqliteStore {
    /// Opens the database at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    /// [`StoreError`]; its source says in one line what is wrong and what to do. An existing file is not touched.
    ///
    /// # Cancellation
    /// The file may have been created.
    pub async fn open(path: impl Into<PathBuf>, keyring: Keyring) -> Result<Self, StoreError> {
        Self::open_with_clock(path, keyring, SystemClock).await
    }

    /// [`open`](Self::open) with this clock.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Cancellation
    /// The file may have been created.
    pub async fn open_with_clock(
        path: impl Into<PathBuf>,
        keyring: Keyring,
        clock: impl Clock,
    ) -> Result<Self, StoreError> {
        let (path, committed) = (absolute(path.into()).map_err(failure::judge)?, watch::Sender::new(()));
        let shared = Arc::new(Shared { path, clock: Box::new(clock), keyring, committed });
        let here = Arc::clone(&shared);
        let (writer, reader) = task::spawn_blocking(move || file::open(&here.path)).await.map_err(failure::judge)??;
        // The lock comes first, then the time, so that a decision that waited for another process is judged by its true
        // age.
        let writer = Worker::start(writer, "BEGIN IMMEDIATE", Arc::clone(&shared)).map_err(failure::judge)?;
        let reader = Worker::start(reader, "BEGIN", Arc::clone(&shared)).map_err(failure::judge)?;
        // A process that only reads must not lock out processes without its primary key, so only a new file records it.
        if reader.call(|session| Ok(session.compare_keys()?.1.is_empty())).await? {
            writer.call(|session| session.sealing_keys().map(drop)).await?;
        }
        Ok(Self { shared, writer, reader })
    }

    /// Verifies that the keys are those of this file and records the primary key in it. The store does so by itself
    /// before it encrypts. A host that encrypts its own secrets with the same keyring calls this first.
    ///
    /// # Errors
    /// [`Misconfigured`](batchsuite_auth::store::StoreErrorKind::Misconfigured) if a key differs from the one that this
    /// file knows by the same name, or the latest encryption key is missing; otherwise any other [`StoreError`].
    ///
    /// # Cancellation
    /// The key may have been recorded.
    pub async fn introduce_keys(&self) -> Result<(), StoreError> {
        self.writer.call(|session| session.sealing_keys().map(drop)).await
    }

    /// Whether a call of this store failed because another program held the file's lock for longer than a call waits.
    #[must_use]
    pub fn is_locked(error: &StoreError) -> bool {
        failure::is_locked(error)
    }

    /// Counts the companies by status.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn overview(&self, environment: Environment) -> Result<Overview, StoreError> {
        self.reader.call(move |session| session.overview(environment)).await
    }

    /// Closes the file, after [`shutdown`](batchsuite_auth::BatchSuiteAuth::shutdown) and before the process ends. If
    /// no other process has the file open, the one file then contains everything. Later calls fail, on other clones as
    /// well. (Dropping the last clone also closes the file, a moment later; a process that ends before that leaves the
    /// log, `-wal`, beside it.)
    ///
    /// # Cancellation
    /// The file is closed a moment later.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, key: &RowKey) -> Result<Row> {
        let key = key.clone();
        self.reader.call(|session| session.load(key)).await
    }

    async fn save(&self, swap: Swap) -> Result<Saved> {
        self.writer.call(move |session| session.save(swap)).await
    }

    async fn put_consent(&self, consent: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<()> {
        self.writer.call(move |session| session.put_consent(consent, caps, event)).await
    }

    async fn find_consent(&self, environment: Environment, state: &SecretHash) -> Result<Option<FoundConsent>> {
        let state = *state;
        self.reader.call(move |session| session.find_consent(environment, state)).await
    }

    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>> {
        self.writer.call(move |session| session.use_consent(environment, id, event)).await
    }

    async fn wake(&self, environment: Environment, limit: usize) -> Result<Vec<Row>> {
        self.writer.call(move |session| session.wake(environment, limit)).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<()> {
        let companies = companies.to_vec();
        self.writer.call(move |session| session.record_use(environment, &companies)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>> {
        self.reader.call(move |session| session.list(&query)).await
    }

    async fn events(&self, query: EventQuery) -> Result<EventPage> {
        self.reader.call(move |session| session.events(&query)).await
    }

    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId> {
        self.writer.call(move |session| session.append(environment, event)).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned> {
        self.writer.call(move |session| session.prune(prune)).await
    }

    async fn changes(&self, environment: Environment, after: Option<EventId>, wait: Duration) -> Result<Changes> {
        let until = time::Instant::now() + wait;
        // Subscribe before reading, so that a commit in between ends the wait.
        let mut committed = self.shared.committed.subscribe();
        loop {
            let changes = self.reader.call(move |session| session.changes(environment, after)).await?;
            let now = time::Instant::now();
            if after != Some(changes.cursor) || !changes.changed.is_empty() || now >= until {
                return Ok(changes);
            }
            // Other processes send no signal, so check for their changes.
            let _ = time::timeout(LOOK_EVERY.min(until - now), committed.changed()).await;
        }
    }

    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>> {
        let delivery = delivery.clone();
        self.writer.call(move |session| session.take_delivery(environment, &delivery, lease)).await
    }

    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool> {
        let delivery = delivery.clone();
        self.writer.call(move |session| session.advance_delivery(environment, &delivery, cursor, then)).await
    }
}
