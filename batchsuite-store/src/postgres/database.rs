//! How the store's statements are sent through the pool.

use batchsuite_auth::store::StoreError;
use tokio_postgres::Row;

pub(super) use super::connection::Parameter;
use super::{failure, pool::PostgresPool, statements::Statement};

/// The pool, as the verbs use it.
pub(super) struct Database {
    pub(super) pool: PostgresPool,
}

impl Database {
    pub(super) fn new(pool: PostgresPool) -> Self {
        Self { pool }
    }

    /// Runs one statement: one implicit transaction, one round trip (two, the first time on a connection). A call that
    /// is dropped leaves nothing open: its connection is closed.
    pub(super) async fn rows(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.pool.rows(&statement.sql, statement.parameters, parameters).await
    }

    /// [`rows`](Self::rows) of a statement that answers with at most one.
    pub(super) async fn row(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement, parameters).await?.pop())
    }

    /// [`row`](Self::row) of a statement that stores a pair. It goes before everything else that waits for a connection:
    /// while a pair is not stored, the end of the process costs the opt-in, and a thousand reads may be waiting.
    pub(super) async fn row_of_a_pair(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.pool.rows_ahead(&statement.sql, statement.parameters, parameters).await?.pop())
    }

    /// [`rows`](Self::rows) of a statement that always answers with one.
    pub(super) async fn one(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Row, StoreError> {
        let row = self.row(statement, parameters).await?;
        row.ok_or_else(|| failure::corrupt("the database gave no answer where there must be one"))
    }
}
