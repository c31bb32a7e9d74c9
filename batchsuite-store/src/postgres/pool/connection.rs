//! A pooled connection and its transactions.

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use batchsuite_auth::store::StoreError;
use deadpool_postgres::Object;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};
use tokio_postgres::{
    Error, Row,
    types::{ToSql, Type},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    failure::{self, Result},
    shared::Shared,
};
use crate::postgres::schema::IS_CARELESS;

/// A statement's parameter.
pub(in crate::postgres) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// The minimum time for the server to report on a process, and the minimum idle limit of a transaction without time
/// limits.
const LEAST_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may still be in transit after its statement has ended at the server or after a stopped process
/// resumes.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// If a wait ends later than this after its deadline, the process was stopped.
const NOTICEABLE: Duration = Duration::from_millis(100);

/// A connection that returns to the pool only if it is in order: no statement is running on it, no transaction is open,
/// and no connection error has occurred.
pub(in crate::postgres) struct Connection {
    client: Option<Object>,
    state: State,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct State {
    is_under_way: bool,
    is_in_transaction: bool,
    is_broken: bool,
    /// The server's process id, if statements have no time limit.
    unlimited_process: Option<i32>,
}

impl Connection {
    pub(in crate::postgres) fn new(client: Object, shared: Arc<Shared>) -> Self {
        Self { client: Some(client), state: State::default(), shared }
    }

    /// Runs one statement: one round trip (two for its first use on a connection).
    pub(in crate::postgres) async fn rows(
        &mut self,
        sql: &str,
        types: &[Type],
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        let Self { client: Some(client), state, shared } = self else { return Err(gone()) };
        let is_prepared = shared.prepares && !state.is_in_transaction;
        let answer = async {
            if is_prepared {
                let prepared = client.prepare_typed_cached(sql, types).await?;
                client.query(&prepared, parameters).await
            } else {
                client.query_typed(sql, &typed(types, parameters)).await
            }
        };
        judged(state, shared, answer).await
    }

    /// Runs statements without parameters.
    async fn run(&mut self, sql: &str) -> Result<()> {
        let Self { client: Some(client), state, shared } = self else { return Err(gone()) };
        judged(state, shared, client.batch_execute(sql)).await
    }

    pub(in crate::postgres) async fn begin(mut self, turn: OwnedSemaphorePermit) -> Result<PostgresTransaction> {
        self.state.is_in_transaction = true;
        // Durable also behind a pooler that may run each transaction on a different server connection.
        self.run(&format!("BEGIN; SELECT set_config('synchronous_commit', 'on', true) WHERE {IS_CARELESS}")).await?;
        Ok(PostgresTransaction { connection: self, _turn: turn })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        let State { is_under_way, is_in_transaction, is_broken, .. } = self.state;
        if is_under_way || is_in_transaction || is_broken {
            self.shared.close(client, is_under_way);
        } else {
            self.shared.take_back(client);
        }
    }
}

/// A transaction. It is rolled back unless it is [committed](Self::commit).
///
/// # Cancellation
/// Dropping any call closes the connection and rolls everything back. A dropped commit may have committed.
#[must_use = "an uncommitted transaction is rolled back"]
pub struct PostgresTransaction {
    /// Dropped before the permit.
    connection: Connection,
    _turn: OwnedSemaphorePermit,
}

impl PostgresTransaction {
    /// Runs one statement. `types` are the types of its parameters, `$1` first.
    ///
    /// # Errors
    /// [`StoreError`], whose source is a [`PostgresError`](crate::PostgresError). The transaction can then only be
    /// dropped.
    pub async fn rows(
        &mut self,
        sql: &str,
        types: &[Type],
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.connection.rows(sql, types, parameters).await
    }

    /// Runs statements without parameters, in order.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn run(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connection.run(sql).await
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// [`StoreError`]: the transaction was rolled back. Only if the server did not answer may it have been committed.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.connection.run("COMMIT").await?;
        self.connection.state.is_in_transaction = false;
        Ok(())
    }

    /// Removes the time limits of the transaction's statements.
    pub(in crate::postgres) async fn remove_time_limits(&mut self) -> Result<()> {
        let limit = self.connection.shared.deadline.max(LEAST_LIMIT).as_millis();
        let settings = format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = {limit}"
        );
        self.run(&settings).await?;
        let rows = self.rows("SELECT pg_backend_pid()", &[], &[]).await?;
        self.connection.state.unlimited_process = rows.first().and_then(|row| row.try_get(0).ok());
        Ok(())
    }
}

impl fmt::Debug for PostgresTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTransaction").finish_non_exhaustive()
    }
}

/// Waits for an answer and updates the connection's state from it.
async fn judged<T>(state: &mut State, shared: &Shared, answer: impl Future<Output = Result<T, Error>>) -> Result<T> {
    let began = Instant::now();
    state.is_under_way = true;
    let Some(answer) = wait(state, shared, answer).await else {
        // The statement counts as still running.
        shared.fell_silent(began);
        return Err(failure::unavailable("the database did not answer in time; the connection is closed"));
    };
    state.is_under_way = false;
    answer.map_err(|error| {
        let store_error = failure::of_database(&error);
        state.is_broken = failure::concerns_the_connection(&error);
        if failure::concerns_all_connections(&error) {
            shared.distrust(&store_error);
        }
        store_error
    })
}

/// `None`: there is no answer, and none will come.
async fn wait<T>(state: &State, shared: &Shared, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        if let Some(answer) = in_time(shared.deadline, answer.as_mut()).await {
            return Some(answer);
        }
        let process = state.unlimited_process?;
        if !is_at_work(shared, process).await {
            return timeout(ON_ITS_WAY, answer).await.ok();
        }
    }
}

/// The answer, if it arrives within `deadline`. If the process was stopped past the deadline, it first reads the data
/// that arrived meanwhile.
async fn in_time<F: Future + Unpin>(deadline: Duration, mut answer: F) -> Option<F::Output> {
    let asked = Instant::now();
    if let Ok(answer) = timeout(deadline, &mut answer).await {
        return Some(answer);
    }
    let was_stopped = asked.elapsed() >= deadline.saturating_add(NOTICEABLE);
    if was_stopped { timeout(ON_ITS_WAY, answer).await.ok() } else { None }
}

/// Whether a server process is running a statement or waiting for more input. Asked over a new connection, so it needs
/// no free pooled one and cannot use a silent one.
async fn is_at_work(shared: &Shared, process: i32) -> bool {
    const QUESTION: &str = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state IS DISTINCT FROM 'idle'";
    let ask = || {
        let address = shared.address.clone();
        async move {
            let (client, driver) = address.connect().await?;
            let _driver = AbortOnDropHandle::new(driver);
            client.query_typed(QUESTION, &[(&process, Type::INT4)]).await
        }
    };
    match timeout(shared.deadline.max(LEAST_LIMIT), shared.runtime.run(ask)).await {
        Ok(Ok(rows)) => !rows.is_empty(),
        // The server answers but has no room for another connection.
        Ok(Err(error)) => failure::is_refused_for_now(&error),
        Err(_) => false,
    }
}

fn typed<'a>(types: &[Type], parameters: &[Parameter<'a>]) -> Vec<(Parameter<'a>, Type)> {
    parameters.iter().copied().zip(types.iter().cloned()).collect()
}

fn gone() -> StoreError {
    failure::unavailable("the connection to the database is closed")
}

#[cfg(test)]
mod tests {
    use tokio::{
        sync::oneshot,
        time::{advance, sleep},
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(8);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_arrives_while_the_process_stands_still_beats_the_deadline() {
        let (answer, arrives) = oneshot::channel();
        let waiting = tokio::spawn(in_time(DEADLINE, arrives));
        sleep(Duration::from_millis(1)).await;

        advance(DEADLINE * 3).await;
        sleep(ON_ITS_WAY * 9 / 10).await;
        answer.send("claimed").unwrap();

        assert_eq!(waiting.await.unwrap(), Some(Ok("claimed")));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_deadline() {
        let began = Instant::now();

        assert_eq!(in_time(DEADLINE, std::future::pending::<()>()).await, None);

        assert!(began.elapsed() < DEADLINE + ON_ITS_WAY);
    }
}
