//! The application's tables in the SQLite file of the opt-ins.

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, OpenFlags, ffi, params_from_iter};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::spawn_blocking,
    time::timeout,
};

use super::value::{Parameter, Row};

/// Creates all tables that don't exist.
const TABLES: &str = include_str!("sqlite.sql");
/// How long a statement waits for another connection's write.
const BUSY: Duration = Duration::from_secs(4);
/// How long a page waits for the disk.
const DEADLINE: Duration = Duration::from_secs(8);

/// Replaces the words of Postgres's dialect, in which the statements are written, by SQLite's. SQLite has no row locks,
/// because it allows only one writing transaction at a time.
const WORDS: [(&str, &str); 7] = [
    ("company_manager.", "company_manager_"),
    ("(SELECT jsonb_array_elements_text($1::jsonb))", "(SELECT value FROM json_each($1))"),
    ("$", "?"),
    (" FOR UPDATE SKIP LOCKED", ""),
    (" FOR KEY SHARE", ""),
    (" FOR UPDATE", ""),
    ("greatest(", "max("),
];

/// Why a statement failed; shows no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("SQLite says {}: {}", .0.extended_code, ffi::code_to_str(.0.extended_code))]
    Sqlite(ffi::Error),
    #[error("a statement or a column is not as it should be")]
    Other,
    #[error("the disk did not answer in time")]
    Late,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        error.sqlite_error().copied().map_or(Self::Other, Self::Sqlite)
    }
}

/// One connection to the file, shared by its clones.
#[derive(Clone, Debug)]
pub(super) struct File(Arc<Mutex<Connection>>);

impl File {
    /// Opens an existing file: the store of the opt-ins has created and checked it.
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        let connection = on_a_thread(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.execute_batch(
                // Commits survive a power loss; on macOS that needs fullfsync.
                "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF",
            )?;
            Ok(connection)
        });
        Ok(Self(Arc::new(Mutex::new(connection.await?))))
    }

    /// Creates or migrates the tables, in one transaction.
    pub(super) async fn migrate(&self) -> Result<(), Failure> {
        let mut turn = self.begin().await?;
        turn.run(|connection| Ok(connection.execute_batch(TABLES)?)).await?;
        turn.commit().await
    }

    /// Writes the log beside the file back into the file. (Another process may be reading it.)
    pub(super) async fn close(&self) {
        let _ = self.rows("PRAGMA wal_checkpoint(TRUNCATE)", Vec::new()).await;
    }

    /// Runs one statement as its own transaction.
    pub(super) async fn rows(&self, sql: &'static str, parameters: Vec<Parameter>) -> Result<Vec<Row>, Failure> {
        self.turn().await?.rows(sql, parameters).await
    }

    /// Begins a writing transaction. Only one runs at a time, across all connections.
    pub(super) async fn begin(&self) -> Result<Turn, Failure> {
        let mut turn = self.turn().await?;
        turn.run(|connection| Ok(connection.execute_batch("BEGIN IMMEDIATE")?)).await?;
        Ok(turn)
    }

    async fn turn(&self) -> Result<Turn, Failure> {
        let connection = timeout(DEADLINE, self.0.clone().lock_owned()).await.map_err(|_| Failure::Late)?;
        Ok(Turn(Some(Held(connection))))
    }
}

/// Holds the connection for one statement or one transaction. A transaction is rolled back unless it is committed.
pub(crate) struct Turn(Option<Held>);

struct Held(OwnedMutexGuard<Connection>);

impl Drop for Held {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            // If the rollback fails too, the next transaction cannot begin and reports the reason.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

impl Turn {
    /// Runs one statement.
    pub(super) async fn rows(&mut self, sql: &'static str, parameters: Vec<Parameter>) -> Result<Vec<Row>, Failure> {
        self.run(move |connection| {
            let mut statement = connection.prepare(&in_words_of_sqlite(sql))?;
            let parameters = params_from_iter(parameters.into_iter().map(Parameter::for_sqlite));
            let rows = statement.query_and_then(parameters, Row::of_sqlite)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Commits the transaction; an error means that nothing was changed.
    pub(super) async fn commit(mut self) -> Result<(), Failure> {
        self.run(|connection| Ok(connection.execute_batch("COMMIT")?)).await
    }

    /// Runs `work` on a thread that may block on the disk. Dropped or late work continues there, and then releases the
    /// connection.
    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let held = self.0.take().ok_or(Failure::Late)?;
        let (held, done) = on_a_thread(move || {
            let done = work(&held.0);
            Ok((held, done))
        })
        .await?;
        self.0 = Some(held);
        done
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    timeout(DEADLINE, spawn_blocking(work)).await.map_err(|_| Failure::Late)?.map_err(|_| Failure::Other)?
}

fn in_words_of_sqlite(sql: &str) -> String {
    WORDS.iter().fold(sql.to_owned(), |sql, (postgres, sqlite)| sql.replace(postgres, sqlite))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::database::parameters;

    const ADD: &str = "INSERT INTO company_manager.people (id, sign_in_name, role) VALUES ($1, $1, 'admin_user')";
    /// The same after some tenths of a second, so that other connections have to wait.
    const ADD_SLOWLY: &str = "INSERT INTO company_manager.people (id, sign_in_name, role)
        WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1000000)
        SELECT $1, $1, 'admin_user' FROM number WHERE n = 1000000";
    const PEOPLE: &str = "SELECT id FROM company_manager.people WHERE $1 = $1 ORDER BY id FOR UPDATE";

    async fn file() -> File {
        let file = File(Arc::new(Mutex::new(Connection::open_in_memory().unwrap())));
        file.migrate().await.unwrap();
        file
    }

    async fn people(file: &File) -> Vec<String> {
        let rows = file.rows(PEOPLE, parameters![true]).await.unwrap();
        rows.iter().map(|row| row.get(0).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_transaction_happens_when_it_is_committed_and_not_when_it_is_dropped() {
        let file = file().await;
        let mut dropped = file.begin().await.unwrap();
        dropped.rows(ADD, parameters!["ada"]).await.unwrap();
        drop(dropped);
        assert!(people(&file).await.is_empty());

        let mut committed = file.begin().await.unwrap();
        committed.rows(ADD, parameters!["bob"]).await.unwrap();
        committed.commit().await.unwrap();
        assert_eq!(people(&file).await, ["bob"]);
    }

    #[tokio::test]
    async fn a_transaction_whose_caller_goes_away_in_a_statement_is_rolled_back() {
        let file = file().await;
        let mut turn = file.begin().await.unwrap();
        turn.rows(ADD, parameters!["ada"]).await.unwrap();

        tokio::select! {
            biased;
            _ = turn.rows(ADD_SLOWLY, parameters!["bob"]) => panic!("it was to be dropped while a thread does it"),
            () = ready(()) => {}
        }
        drop(turn);

        assert!(people(&file).await.is_empty());
        file.begin().await.unwrap().commit().await.unwrap();
    }

    #[tokio::test]
    async fn an_error_shows_no_value() {
        let file = file().await;
        file.rows(ADD, parameters!["canary"]).await.unwrap();

        let error = file.rows(ADD, parameters!["canary"]).await.err().unwrap();

        assert_eq!(error.to_string(), "SQLite says 2067: constraint failed");
    }
}
