//! The database: the application's own tables beside the opt-ins, in Postgres or in an SQLite file. Each statement is written once,
//! in Postgres's words; `database/sqlite.rs` knows the few for which SQLite has others.

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

/// Connections of one instance to Postgres, for its own data and the opt-ins together.
const CONNECTIONS: usize = 12;

/// Where the application's own data is. A clone shares the connections.
#[derive(Clone, Debug)]
pub struct Database(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Postgres(PostgresPool),
    Sqlite(sqlite::File),
}

impl Database {
    /// A Postgres database, once a connection could be made; and the library's pool, for the opt-ins. What `url` may say, and what
    /// becomes of a connection that is silent or broken, is in the library's documentation of [`PostgresPool`].
    ///
    /// # Errors
    /// [`DatabaseError`], which shows nothing of `url` but the name of a parameter.
    pub async fn connect(url: &SecretString) -> Result<(Self, PostgresPool), DatabaseError> {
        let pool = PostgresPool::at(url.expose_secret()).connections(CONNECTIONS).build();
        let pool = pool.map_err(|error| DatabaseError::Url(chain(&error).to_string()))?;
        let answer = pool.rows("SELECT 1", &[], &[]).await;
        answer.map_err(|error| DatabaseError::Unreachable(chain(&error).to_string()))?;
        Ok((Self(Kind::Postgres(pool.clone())), pool))
    }

    /// An SQLite file, which the store of the opt-ins has opened before: it creates the file, and refuses one that is not ours.
    ///
    /// # Errors
    /// [`DatabaseError`]
    pub async fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self(Kind::Sqlite(sqlite::File::open(path).await.map_err(Failure::unreachable)?)))
    }

    /// Makes the application's tables, or brings them up to date: all of it, or nothing, and one instance after the other.
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

    /// Ends the use of a file in order, so that all of it is in the one file, and a copy of that is a backup. If it does not come to
    /// that, the next start does it.
    pub async fn close(&self) {
        if let Kind::Sqlite(file) = &self.0 {
            file.close().await;
        }
    }

    /// Runs several statements: all of it is done, or nothing.
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

    /// The same of what an instance does when it starts: it may take any time, and is never done twice at once.
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

    /// Runs one statement, which is one transaction.
    pub(crate) async fn rows(&self, sql: &'static str, parameters: Vec<Parameter>) -> Result<Vec<Row>, Failure> {
        match &self.0 {
            Kind::Postgres(pool) => postgres::rows(pool, sql, &parameters).await.map_err(Failure::unreachable),
            Kind::Sqlite(file) => file.rows(sql, parameters).await.map_err(Failure::unreachable),
        }
    }

    /// The same, of a statement that answers with at most one row.
    pub(crate) async fn row(&self, sql: &'static str, parameters: Vec<Parameter>) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, parameters).await?.pop())
    }

    /// The same, of a statement that answers with none.
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

    /// The same, of a statement that answers with none.
    pub(crate) async fn run(&mut self, sql: &'static str, parameters: Vec<Parameter>) -> Result<(), Failure> {
        self.rows(sql, parameters).await.map(drop)
    }
}

/// The database cannot be used. In one line that shows no value of a setting or a row.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL is none.
    #[error(
        "DATABASE_URL cannot be read; it is postgres://user:password@host/database, or sqlite:PATH for a file ({0})"
    )]
    Url(String),
    /// There is no connection.
    #[error("the database of DATABASE_URL cannot be reached: {0}")]
    Unreachable(String),
    /// It does not do what it must.
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
