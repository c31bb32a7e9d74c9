//! The pool, and how a statement is sent through it.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::store::StoreError;
use deadpool_postgres::Pool;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
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
    /// Whoever may wait for a connection: no more than there are, so that the line at the pool is a pair's alone.
    turns: Arc<Semaphore>,
}

impl Database {
    pub(super) fn new(pool: Pool, prepares: bool) -> Self {
        let connections = pool.status().max_size.clamp(1, Semaphore::MAX_PERMITS);
        Self { pool, prepares, turns: Arc::new(Semaphore::new(connections)) }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let patience = self.pool.timeouts().wait.unwrap_or(Duration::MAX);
        let turn = timeout(patience, self.turns.acquire()).await;
        turn.ok()
            .and_then(Result::ok)
            .ok_or_else(|| failure::unavailable("no connection of the pool became free in time"))
    }

    /// Runs one statement: one implicit transaction, one round trip (two, the first time on a connection). A call that
    /// is dropped leaves nothing open: the server ends the statement, the connection reads its answer away.
    pub(super) async fn rows(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let _turn = self.turn().await?;
        self.rows_ahead(statement, parameters).await
    }

    /// [`rows`](Self::rows) for what must not wait in line: while a pair is not stored, the end of the process costs the
    /// opt-in, and a thousand reads may be waiting for a connection.
    async fn rows_ahead(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
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

    /// [`row`](Self::row) of a statement that stores a pair: it goes before everything else that waits for a connection.
    pub(super) async fn row_of_a_pair(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows_ahead(statement, parameters).await?.pop())
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
