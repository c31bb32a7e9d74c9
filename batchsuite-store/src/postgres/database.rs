//! Sending the store's statements.

use tokio_postgres::Row;

use super::{
    Inner,
    connection::Parameter,
    failure::{self, Result},
    statements::Statement,
};

impl Inner {
    /// Runs one statement: one implicit transaction, one round trip (two for its first use on a connection). Dropping
    /// the call closes the connection, so nothing stays open.
    pub(super) async fn rows(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.pool.rows(&statement.sql, statement.parameters, parameters).await
    }

    /// [`rows`](Self::rows) for a statement that returns at most one row.
    pub(super) async fn row(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(statement, parameters).await?.pop())
    }

    /// [`row`](Self::row) for a statement that stores a pair. It goes ahead of everything else that waits for a
    /// connection: until the pair is stored, the end of the process costs the opt-in, and a thousand reads may be
    /// queued.
    pub(super) async fn row_of_a_pair(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>> {
        Ok(self.pool.rows_ahead(&statement.sql, statement.parameters, parameters).await?.pop())
    }

    /// [`rows`](Self::rows) for a statement that always returns one row.
    pub(super) async fn one(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Row> {
        let row = self.row(statement, parameters).await?;
        row.ok_or_else(|| failure::corrupt("the database returned no row where one was expected"))
    }
}
