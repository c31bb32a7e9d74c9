//! How the store's statements are sent.

use tokio_postgres::Row;

use super::{
    Inner,
    connection::Parameter,
    failure::{self, Result},
    statements::Statement,
};

impl Inner {
    /// Runs one statement: one implicit transaction, one round trip (two, the first time on a connection). A call that
    /// is dropped leaves nothing open: its connection is closed.
    pub(super) async fn rows(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.pool.rows(&statement.sql, statement.parameters, parameters).await
    }

    /// [`rows`](Self::rows) of a statement that answers with at most one.
    pub(super) async fn row(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(statement, parameters).await?.pop())
    }

    /// [`row`](Self::row) of a statement that stores a pair. It goes before everything else that waits for a connection:
    /// while a pair is not stored, the end of the process costs the opt-in, and a thousand reads may be waiting.
    pub(super) async fn row_of_a_pair(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>> {
        Ok(self.pool.rows_ahead(&statement.sql, statement.parameters, parameters).await?.pop())
    }

    /// [`rows`](Self::rows) of a statement that always answers with one.
    pub(super) async fn one(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Row> {
        let row = self.row(statement, parameters).await?;
        row.ok_or_else(|| failure::corrupt("the database gave no answer where there must be one"))
    }
}
