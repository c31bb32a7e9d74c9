//! Files for the tests of the SQLite store, with access behind the store's back.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use batchsuite_auth::test_util::ManualClock;
use batchsuite_store::SqliteStore;
use rusqlite::Connection;

use crate::{eventually, postgres::keyring};

/// A database for one test, in a directory removed on drop.
#[derive(Debug)]
pub struct TestFile {
    directory: PathBuf,
    /// The clock of its stores.
    pub clock: ManualClock,
}

impl Default for TestFile {
    fn default() -> Self {
        Self::new()
    }
}

impl TestFile {
    /// A new directory, without a database yet.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("batchsuite-sqlite-{:016x}", rand::random::<u64>()));
        fs::create_dir(&directory).expect("a directory");
        Self { directory, clock: ManualClock::new() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The database.
    pub fn path(&self) -> PathBuf {
        self.directory.join("batchsuite.db")
    }

    /// Another store on the file, like another process's.
    ///
    /// # Panics
    /// If the store cannot open it.
    pub async fn store(&self) -> SqliteStore {
        let store = SqliteStore::open_with_clock(self.path(), keyring().await, self.clock.clone()).await;
        store.expect("a store")
    }

    /// Waits until the last store has closed the file and its log is gone.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn closed(&self) {
        eventually("the database is closed", async || !self.path().with_extension("db-wal").exists()).await;
    }

    /// A connection behind the store's back.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub fn connection(&self) -> Connection {
        let connection = Connection::open(self.path()).expect("a connection");
        connection.busy_timeout(Duration::from_secs(5)).expect("a time-out");
        connection
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
