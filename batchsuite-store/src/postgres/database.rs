//! The pool, and how a statement is sent through it.

use batchsuite_auth::store::StoreError;
use deadpool_postgres::Pool;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{failure, statements::Statement};

/// A parameter. Its type is in its [`Statement`].
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

#[derive(Clone)]
pub(super) struct Database {
    pub(super) pool: Pool,
    /// Whether statements are prepared once a connection and kept; else each is sent without a name.
    pub(super) prepares: bool,
}

impl Database {
    /// Runs one statement: one implicit transaction, one round trip (two, the first time on a connection). A call that
    /// is dropped leaves nothing open: the server ends the statement, the connection reads its answer away.
    pub(super) async fn rows(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.pool.get().await.map_err(failure::of_pool)?;
        let rows = if self.prepares {
            let prepared = client.prepare_typed_cached(&statement.sql, statement.parameters).await;
            let prepared = prepared.map_err(|error| failure::of_database(&error))?;
            client.query(&prepared, parameters).await
        } else {
            client.query_typed(&statement.sql, &typed(statement, parameters)).await
        };
        rows.map_err(|error| failure::of_database(&error))
    }

    /// [`rows`](Self::rows) without a limit to its time, for an operator's statement that touches every row.
    pub(super) async fn rows_in_any_time(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let of_database = |error| failure::of_database(&error);
        let mut client = self.pool.get().await.map_err(failure::of_pool)?;
        let transaction = client.transaction().await.map_err(of_database)?;
        let patient = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
        transaction.batch_execute(patient).await.map_err(of_database)?;
        let typed = typed(statement, parameters);
        let rows = transaction.query_typed(&statement.sql, &typed).await.map_err(of_database)?;
        transaction.commit().await.map_err(of_database)?;
        Ok(rows)
    }

    /// [`rows`](Self::rows) of a statement that answers with at most one.
    pub(super) async fn row(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(statement, parameters).await?.pop())
    }

    /// [`rows`](Self::rows) of a statement that always answers with one.
    pub(super) async fn one(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Row, StoreError> {
        let row = self.row(statement, parameters).await?;
        row.ok_or_else(|| failure::corrupt("the database gave no answer where there must be one"))
    }
}

fn typed<'a>(statement: &Statement, parameters: &[Parameter<'a>]) -> Vec<(Parameter<'a>, Type)> {
    parameters.iter().copied().zip(statement.parameters.iter().cloned()).collect()
}
