//! A directory of its own, in which the program creates its files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use batchsuite_store::SqliteStore;
use batchsuite_tests::postgres::keyring;
use company_manager::database::Database;
use rusqlite::Connection;

pub(crate) struct Stage(PathBuf);

impl Stage {
    /// The last thing that an instance says when it begins.
    pub(crate) const LAST_WORDS: &str = "once before the next start.";

    pub(crate) async fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("company-manager-{:016x}", rand::random::<u64>()));
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    /// What an instance is told of it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        [("DATABASE_URL", format!("sqlite:{}", self.path().display()))].into_iter()
    }

    /// In which the program's own directory is.
    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }

    /// Where the program puts the database if it was started in [`directory`](Self::directory).
    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("batchsuite-data/batchsuite.db")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.0.join("batchsuite-data/batchsuite.db.keys")
    }

    /// The application's tables, as one more instance has them.
    pub(crate) async fn database(&self) -> Database {
        fs::create_dir_all(self.path().parent().unwrap()).unwrap();
        SqliteStore::open(self.path(), keyring().await).await.unwrap();
        let database = Database::open(&self.path()).await.unwrap();
        database.migrate().await.unwrap();
        database
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.connection().execute_batch(&sql.replace("company_manager.", "company_manager_")).unwrap();
    }

    pub(crate) async fn execute_without_checks(&self, sql: &str) {
        self.execute(&format!("PRAGMA ignore_check_constraints = ON; {sql}")).await;
    }

    /// How many rows there are in a table.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM company_manager_{table}");
        self.connection().query_row(&count, [], |row| row.get(0)).unwrap()
    }

    fn connection(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
