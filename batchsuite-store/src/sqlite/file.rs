//! The database file: created with mode 0600; refused and left untouched if it is not ours.

#[cfg(unix)]
use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::Seek as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt},
};
use std::{
    fs,
    io::Read as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::store::{StoreError, StoreErrorKind};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};
#[cfg(unix)]
use rustix::fs::{Access, access};

use super::failure::{self, Result};

/// "BaSu": distinguishes our files from those of other programs.
const APPLICATION_ID: usize = 0x4261_5375;
/// One script per schema version, the first version first. A released script never changes.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/V1.sql")];

/// How long a statement waits while another process writes. Less than the 5 s after which a decision is too old.
const BUSY: Duration = Duration::from_secs(4);
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
/// Committed data survive a power loss (on macOS this needs fullfsync), erased data are overwritten, and a large log
/// shrinks again.
const SETTINGS: &str = "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
    PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 67108864;
    PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY";
/// Larger files are not checked completely when opened.
const READ_AT_ONCE: u64 = 64 << 20;

/// Serializes creating and closing files in this process. Closing the newly created file drops all POSIX locks that the
/// process holds on it, so no connection may exist yet. And the last connection checkpoints and removes the log: if two
/// closed at once, each would leave that to the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn one_at_a_time() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens or creates the file: one connection that writes and one that reads.
pub(super) fn open(path: &Path) -> Result<(Connection, Connection), StoreError> {
    connections(path).map_err(|error| failure::of_file(path, &failure::judge(error)))
}

fn connections(path: &Path) -> Result<(Connection, Connection)> {
    let guard = one_at_a_time();
    create(path)?;
    refuse_foreign(path)?;
    drop(guard);
    let writer = connect(path)?;
    // On close, a damaged file and its log stay as they are.
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    refuse_damaged(&writer, path)?;
    migrate(&writer)?;
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    use_log(&writer, BUSY)?;
    let reader = connect(path)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok((writer, reader))
}

/// Switches to the write-ahead log. If two processes do that at once, SQLite ends one's wait for the lock at once, because
/// each waits for the other: so it is tried again, for as long as is `left`.
fn use_log(writer: &Connection, mut left: Duration) -> Result<()> {
    loop {
        match writer.pragma_update(None, "journal_mode", "wal") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && !left.is_zero() => {
                std::thread::sleep(BETWEEN_TRIES);
                left = left.saturating_sub(BETWEEN_TRIES);
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Closes a connection.
pub(super) fn close(connection: Connection) {
    let _guard = one_at_a_time();
    drop(connection);
}

/// Creates an empty file with mode 0600. The files that SQLite puts beside it inherit the mode.
fn create(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    #[cfg(target_os = "linux")]
    refuse_network(rustix::fs::statfs(directory)?.f_type as u32)?;
    let mut new = fs::OpenOptions::new();
    #[cfg(unix)]
    OpenOptionsExt::mode(&mut new, 0o600);
    match new.write(true).create_new(true).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ if fs::metadata(path)?.is_file() => {}
        _ => return Err("it is no file".into()),
    }
    #[cfg(unix)]
    access(path, Access::READ_OK | Access::WRITE_OK).and_then(|()| access(directory, Access::WRITE_OK))?;
    Ok(())
}

/// Reads the header without a lock or a side effect, so that a foreign file is not touched. Our files have had their
/// header since the transaction that created them. (An SQLite connection without locks would not do: during another
/// connection's checkpoint it reports the file as malformed.)
fn refuse_foreign(path: &Path) -> Result<()> {
    let header = header(path)?;
    if header.len() < HEADER || !header.starts_with(b"SQLite format 3\0") {
        // The file is new or not a database. SQLite detects the latter without touching it.
        return Ok(());
    }
    let number = |at: usize| header[at..at + 4].iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    known_version(number(68), number(60), number(40)).map(drop)
}

/// Reads the header through a file that stays open: closing it would drop all POSIX locks that other connections of
/// this process hold.
#[cfg(unix)]
fn header(path: &Path) -> Result<Vec<u8>> {
    static KEPT: Mutex<BTreeMap<(u64, u64), fs::File>> = Mutex::new(BTreeMap::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let found = fs::metadata(path)?;
    let file = match kept.entry((found.dev(), found.ino())) {
        Entry::Occupied(kept) => kept.into_mut(),
        Entry::Vacant(new) => new.insert(fs::File::open(path)?),
    };
    let mut header = Vec::with_capacity(HEADER);
    file.rewind()?;
    file.take(HEADER as u64).read_to_end(&mut header)?;
    Ok(header)
}

#[cfg(not(unix))]
fn header(path: &Path) -> Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER);
    fs::File::open(path)?.take(HEADER as u64).read_to_end(&mut header)?;
    Ok(header)
}

/// The header's length (SQLite file format §1.3).
const HEADER: usize = 100;

/// The schema's version; 0: there is no schema yet.
fn version(file: &Connection) -> Result<usize> {
    let number = |pragma| file.pragma_query_value(None, pragma, |row| row.get::<_, usize>(0));
    known_version(number("application_id")?, number("user_version")?, number("schema_version")?)
}

fn known_version(application: usize, version: usize, schema: usize) -> Result<usize> {
    match (application, version, schema) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, version, _) if version <= MIGRATIONS.len() => Ok(version),
        (APPLICATION_ID, ..) => Err("it was written by a later release; use that one".into()),
        _ => Err("it is a database of another program".into()),
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

fn refuse_damaged(file: &Connection, path: &Path) -> Result<()> {
    let is_small = fs::metadata(path)?.len() <= READ_AT_ONCE;
    if is_small && file.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))? != "ok" {
        let what_to_do = "it is damaged; put a backup in its place, remove its -wal and -shm, then call after_restore";
        return Err(failure::new(StoreErrorKind::Corrupt, what_to_do).into());
    }
    Ok(())
}

/// Creates the schema or brings it up to date: one process at a time, all or nothing.
fn migrate(file: &Connection) -> Result<()> {
    let transaction = rusqlite::Transaction::new_unchecked(file, TransactionBehavior::Immediate)?;
    for (version, migration) in MIGRATIONS.iter().enumerate().skip(version(&transaction)?) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
    }
    Ok(transaction.commit()?)
}

/// On a network file system, SQLite's locks and shared memory do not work between machines.
#[cfg(target_os = "linux")]
fn refuse_network(magic: u32) -> Result<()> {
    // The numbers from statfs(2): NFS, SMB (three), AFS (two), Ceph, Lustre, GFS2, OCFS2, Coda, NCP.
    const NETWORK: [u32; 12] = [
        0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x5346414F, 0x6B414653, 0x00C36400, 0x0BD00BD0, 0x01161970, 0x7461636F,
        0x73757245, 0x564C,
    ];
    // FUSE and 9P, which may also be local.
    const PERHAPS: [u32; 2] = [0x65735546, 0x01021997];
    if NETWORK.contains(&magic) {
        return Err(
            "it is on a network file system, where SQLite loses stored data; use a local disk, or Postgres".into()
        );
    }
    if PERHAPS.contains(&magic) {
        tracing::warn!("if the database is on a network file system, SQLite can lose stored data");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{env, path::PathBuf, thread};

    use super::*;

    /// SQLite ends each wait of the first connection at once; the second one holds the file's lock.
    fn locked(name: &str) -> (PathBuf, Connection, Connection) {
        let path = env::temp_dir().join(format!("batchsuite-{name}-{}.db", std::process::id()));
        let (ours, theirs) = (Connection::open(&path).unwrap(), Connection::open(&path).unwrap());
        ours.busy_timeout(Duration::ZERO).unwrap();
        theirs.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE numbers (number)").unwrap();
        (path, ours, theirs)
    }

    #[test]
    fn the_switch_to_the_log_is_tried_again_until_the_lock_is_free() {
        let (path, ours, theirs) = locked("free");
        let commits = thread::spawn(move || {
            thread::sleep(5 * BETWEEN_TRIES);
            theirs.execute_batch("COMMIT").unwrap();
        });

        use_log(&ours, BUSY).unwrap();

        let mode: String = ours.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        commits.join().unwrap();
        drop(ours);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_switch_to_the_log_does_not_wait_for_ever() {
        let (path, ours, theirs) = locked("held");

        let refused = failure::judge(use_log(&ours, 3 * BETWEEN_TRIES).unwrap_err());

        assert!(failure::is_locked(&refused), "{refused}");
        drop((ours, theirs));
        fs::remove_file(path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_network_file_system_is_refused() {
        // NFS, CIFS, SMB2.
        for network in [0x6969, 0xFF534D42, 0xFE534D42] {
            let refusal = refuse_network(network).unwrap_err().to_string();
            assert!(refusal.starts_with("it is on a network file system"), "{refusal}");
        }
        // ext4, xfs, btrfs, tmpfs; and FUSE, which only causes a warning.
        for local in [0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x65735546] {
            refuse_network(local).unwrap();
        }
    }
}
