//! The store itself: each verb, and the thread that does it.

use std::{
    path::{PathBuf, absolute},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    CompanyId, Environment,
    clock::{Clock, SystemClock, Timestamp},
    events::{Event, EventId},
    ids::ConsentId,
    secret::SecretHash,
    store::{
        Changes, ConsentCaps, Delivery, DeliveryEnd, EventQuery, FoundConsent, ListQuery, NewConsent, NewEvent, Page,
        Prune, Pruned, Row, RowKey, Saved, Store, StoreError, Swap,
    },
};
use tokio::{sync::watch, task, time};

use super::{Shared, failure, file, worker::Worker};
use crate::keyring::Keyring;

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// How often the feed looks for what other processes wrote.
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
/// - **Transactions**: one thread writes and one reads, so no thread of the runtime waits for the disk. Calls that come at once
///   share one transaction and one fsync, and each of them happens wholly or not at all, also if it is dropped. A write waits up to
///   4 s for another process, a call ends after 8 s.
/// - **Durability**: a write-ahead log (WAL) with `synchronous = FULL`. What was committed outlives a crash and a loss of power.
/// - **Several processes** on one machine may share the file: a row is swapped once between all of them, and each looks every
///   second for what the others have announced. Their clocks are the machine's. Not several machines: a file on NFS, SMB or
///   another network file system is refused. One on FUSE or 9P, which may be local, is warned about in the log.
/// - **Secrets** are in the file, its log and its backups as ciphertext only, each bound to its place: see
///   [`keyring`](crate::keyring). The file is created with mode 0600, and so are the two that SQLite puts beside it (`-wal`,
///   `-shm`). The mode of a file that is there already stays.
/// - **Keys**: a name stands for one key for ever. The file keeps the check value of each key that has encrypted. Another key of
///   that name is refused by [`open`](Self::open), and so are keys without the one that encrypted last, unless that is declared
///   lost. After a reload that brought such keys, nothing is encrypted until they are right; a pair in hand waits for that.
/// - **A file that is not ours** is refused, and not touched: one of another program, of a later release, or a damaged one. A file
///   of at most 64 MiB is read from end to end for that. For a larger one, run `PRAGMA quick_check` from time to time.
/// - **A full disk** fails a save, and nothing is lost by it: it works again when there is room.
/// - **One file serves one client id**, as one schema does in Postgres.
///
/// An operator may look with the `sqlite3` program (3.37 or later) at any time: the view `companies` is for that.
///
/// # Backups
/// Keep a copy of the keys elsewhere, or a backup is of no use.
///
/// - **While a process has the file open**: `sqlite3 batchsuite.db ".backup 'copy.db'"`, or `VACUUM INTO 'copy.db'`. Never copy the
///   file alone, which misses what is still in its log, and may be torn.
/// - **When no process has it open**: copy the file, and `-wal` with it if there is one: a process was killed or ended without
///   [`close`](Self::close), or two ended at the same moment.
/// - **To restore one**: end every process that uses the file; remove the file and its `-wal` and `-shm`; put the copy in its
///   place, with mode 0600; then let [`after_restore`](batchsuite_auth::BatchSuiteAuth::after_restore) run before any process serves. Do not
///   replace or remove the file while a process has it open: what that process writes then is lost. Nor open it in such a process by
///   other means: to close any file drops the locks (POSIX) that the process has on it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    pub(super) writer: Worker,
    pub(super) reader: Worker,
}

impl SqliteStore {
    /// Opens the database at `path`, and creates it if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; its source says in one line what is wrong and what to do, and a file that was there is not touched.
    ///
    /// # Cancellation
    /// The file may be created.
    pub async fn open(path: impl Into<PathBuf>, keyring: Keyring) -> Result<Self, StoreError> {
        Self::open_with_clock(path, keyring, SystemClock).await
    }

    /// The same on this clock.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    ///
    /// # Cancellation
    /// The file may be created.
    pub async fn open_with_clock(
        path: impl Into<PathBuf>,
        keyring: Keyring,
        clock: impl Clock,
    ) -> Result<Self, StoreError> {
        let (path, committed) = (absolute(path.into()).map_err(failure::judge)?, watch::Sender::new(()));
        let shared = Arc::new(Shared { path, clock: Box::new(clock), keyring, committed });
        let here = Arc::clone(&shared);
        let (writer, reader) = task::spawn_blocking(move || file::open(&here.path)).await.map_err(failure::judge)??;
        // The lock comes first, then the time: a decision that waited for another process is judged by its true age.
        let writer = Worker::start(writer, "BEGIN IMMEDIATE", Arc::clone(&shared)).map_err(failure::judge)?;
        let reader = Worker::start(reader, "BEGIN", Arc::clone(&shared)).map_err(failure::judge)?;
        writer.call(|session| session.sealing_keys().map(drop)).await?;
        Ok(Self { shared, writer, reader })
    }

    /// Closes the file, after [`shutdown`](batchsuite_auth::BatchSuiteAuth::shutdown) and before the process ends: if no other process
    /// has it open, everything is in the one file then. What is called after that fails, also on other clones. (To drop the last
    /// clone closes the file as well, a moment later; a process that ends before leaves the log, `-wal`, beside it.)
    ///
    /// # Cancellation
    /// It is closed a moment later.
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

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>> {
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
        // Subscribed before looking: what is committed in between ends the wait.
        let mut committed = self.shared.committed.subscribe();
        loop {
            let changes = self.reader.call(move |session| session.changes(environment, after)).await?;
            let now = time::Instant::now();
            if after != Some(changes.cursor) || !changes.changed.is_empty() || now >= until {
                return Ok(changes);
            }
            // Other processes are not heard, so their changes are looked for.
            let _ = time::timeout_at(until.min(now + LOOK_EVERY), committed.changed()).await;
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
