//! The database with the application's own tables beside the opt-ins, in Postgres or in an SQLite file. Each statement
//! is written once, in Postgres's dialect; `database/sqlite.rs` replaces the few words that differ in SQLite.

use std::path::Path;

use batchsuite_auth::{error::chain, store::StoreError};
use batchsuite_store::{PostgresPool, PostgresTransaction};
use secrecy::{ExposeSecret, SecretString};

pub(crate) mod access_key;
mod failure;
mod postgres;
mod sqlite;
mod value;

pub(crate) use failure::Failure;
pub(crate) use value::{Parameter, Row, parameters};

/// Connections of one instance to Postgres, shared by its own data and the opt-ins.
const CONNECTIONS: usize = 12;

/// The application's own data. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Database(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Postgres(PostgresPool),
    Sqlite(sqlite::File),
}

impl Database {
    /// Connects to a Postgres database, and also returns the library's pool, for the opt-ins. [`PostgresPool`]
    /// documents the accepted forms of `url` and the handling of silent or broken connections.
    ///
    /// # Errors
    /// [`DatabaseError`], which shows nothing of `url` except the name of a parameter.
    pub async fn connect(url: &SecretString) -> Result<(Self, PostgresPool), DatabaseError> {
        let pool = PostgresPool::at(url.expose_secret()).connections(CONNECTIONS).build();
        let pool = pool.map_err(|error| DatabaseError::Url(chain(&error).to_string()))?;
        let answer = pool.rows("SELECT 1", &[], &[]).await;
        answer.map_err(|error| DatabaseError::Unreachable(chain(&error).to_string()))?;
        Ok((Self(Kind::Postgres(pool.clone())), pool))
    }

    /// Opens an SQLite file that the store of the opt-ins opened before: the store creates the file, and rejects a file
    /// of another program.
    ///
    /// # Errors
    /// [`DatabaseError`]
    pub async fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self(Kind::Sqlite(sqlite::File::open(path).await.map_err(Failure::unreachable)?)))
    }

    /// Creates or migrates the application's tables, in one transaction, one instance at a time.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing was changed.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        match &self.0 {
            Kind::Postgres(pool) => postgres::migrate(pool).await?,
            Kind::Sqlite(file) => file.migrate().await.map_err(Failure::unreachable)?,
        }
        Ok(())
    }

    /// Closes a file cleanly: moves everything into the single file, so that a copy of it is a backup. If that fails,
    /// the next start does it.
    pub async fn close(&self) {
        if let Kind::Sqlite(file) = &self.0 {
            file.close().await;
        }
    }

    /// Runs several statements in one transaction.
    pub(crate) async fn all_or_nothing<T, E: From<Failure>>(
        &self,
        work: impl AsyncFnOnce(&mut Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = match &self.0 {
            Kind::Postgres(pool) => pool.begin().await.map(Transaction::of_postgres).map_err(Failure::unreachable)?,
            Kind::Sqlite(file) => file.begin().await.map(Transaction::Sqlite).map_err(Failure::unreachable)?,
        };
        transaction.commit_after(work).await
    }

    /// Runs an instance's start-up work in one transaction, without a time limit and never concurrently with another
    /// instance.
    pub(crate) async fn one_at_a_time<T, E: From<Failure>>(
        &self,
        work: impl AsyncFnOnce(&mut Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = match &self.0 {
            Kind::Postgres(pool) => {
                let transaction = postgres::begin_one_at_a_time(pool).await;
                transaction.map(Transaction::of_postgres).map_err(Failure::unreachable)?
            }
            Kind::Sqlite(file) => file.begin().await.map(Transaction::Sqlite).map_err(Failure::unreachable)?,
        };
        transaction.commit_after(work).await
    }

    /// Runs one statement as its own transaction.
    pub(crate) async fn rows(&self, sql: &'static str, parameters: Vec<Parameter>) -> Result<Vec<Row>, Failure> {
        match &self.0 {
            Kind::Postgres(pool) => postgres::rows(pool, sql, &parameters).await.map_err(Failure::unreachable),
            Kind::Sqlite(file) => file.rows(sql, parameters).await.map_err(Failure::unreachable),
        }
    }

    /// Like [`rows`](Self::rows), for a statement that returns at most one row.
    pub(crate) async fn row(&self, sql: &'static str, parameters: Vec<Parameter>) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, parameters).await?.pop())
    }

    /// Like [`rows`](Self::rows), for a statement that returns no rows.
    pub(crate) async fn run(&self, sql: &'static str, parameters: Vec<Parameter>) -> Result<(), Failure> {
        self.rows(sql, parameters).await.map(drop)
    }
}

/// A transaction on the application's own data.
pub(crate) enum Transaction {
    Postgres(Box<PostgresTransaction>),
    Sqlite(sqlite::Turn),
}

impl Transaction {
    fn of_postgres(transaction: PostgresTransaction) -> Self {
        Self::Postgres(transaction.into())
    }

    async fn commit_after<T, E: From<Failure>>(
        mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let done = work(&mut self).await?;
        match self {
            Self::Postgres(transaction) => transaction.commit().await.map_err(Failure::unreachable)?,
            Self::Sqlite(turn) => turn.commit().await.map_err(Failure::unreachable)?,
        }
        Ok(done)
    }

    /// Runs one statement.
    pub(crate) async fn rows(&mut self, sql: &'static str, parameters: Vec<Parameter>) -> Result<Vec<Row>, Failure> {
        match self {
            Self::Postgres(transaction) => {
                postgres::rows_within(transaction, sql, &parameters).await.map_err(Failure::unreachable)
            }
            Self::Sqlite(turn) => turn.rows(sql, parameters).await.map_err(Failure::unreachable),
        }
    }

    /// Like [`rows`](Self::rows), for a statement that returns no rows.
    pub(crate) async fn run(&mut self, sql: &'static str, parameters: Vec<Parameter>) -> Result<(), Failure> {
        self.rows(sql, parameters).await.map(drop)
    }
}

/// The database is not usable. Its message is one line without any value of a setting or a row.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL is invalid.
    #[error(
        "DATABASE_URL cannot be read; it is postgres://user:password@host/database, or sqlite:PATH for a file ({0})"
    )]
    Url(String),
    /// The connection failed.
    #[error("the database of DATABASE_URL cannot be reached: {0}")]
    Unreachable(String),
    /// The database rejected a statement.
    #[error("the database refuses: {0}")]
    Refused(String),
}

impl From<StoreError> for DatabaseError {
    fn from(error: StoreError) -> Self {
        Self::Refused(chain(&error).to_string())
    }
}

impl From<Failure> for DatabaseError {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure.to_string())
    }
}
