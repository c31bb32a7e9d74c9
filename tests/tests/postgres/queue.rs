//! The queue of waking rows: with rows that others lock, and with many dead rows that the server cannot vacuum.

use std::time::Duration;

use batchsuite_auth::{
    clock::Timestamp,
    store::{FURTHEST_WAKE, Store, Swap, Wake},
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{HOUR, eventually};

use crate::stage::{CIE, Stage, company, id, rotation, saved, server};

const MINUTE: Duration = Duration::from_secs(60);

async fn woken(store: &PostgresStore, most: usize) -> Vec<String> {
    store.wake(CIE, most).await.unwrap().iter().map(|row| id(&row.key).to_string()).collect()
}

/// Saves the company, which wakes then.
async fn wakes_at(stage: &Stage, name: &str, then: impl FnOnce(Timestamp) -> Timestamp) {
    let row = stage.store.load(&company(name)).await.unwrap();
    let wake = Some(Wake { at: Some(then(row.as_of)), if_used: None });
    saved(&stage.store, Swap { wake, ..rotation(&row, "1") }).await;
}

/// A stage with so many dead rows that a read of the queue does not begin at its head.
async fn with_dead_rows() -> Stage {
    let stage = Stage::new().await;
    let bury = "ALTER TABLE {schema}.grants SET (autovacuum_enabled = off);
        INSERT INTO {schema}.grants (environment, company, listed_as)
        SELECT 'production', 'company-' || n, 'authenticated' FROM generate_series(1, 10000) AS n;
        DELETE FROM {schema}.grants;
        SELECT pg_stat_force_next_flush()";
    stage.execute(bury).await;
    let client = server().client().await;
    let counted = format!("SELECT pg_stat_get_dead_tuples('{}.grants'::regclass)", stage.schema.name());
    let counted = async || client.query_one(&counted, &[]).await.unwrap().get::<_, i64>(0) >= 10_000;
    eventually("the server has counted the dead rows", counted).await;
    stage
}

#[tokio::test]
async fn a_row_that_another_transaction_locks_is_left_for_the_next_read() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.paired(&company(name)).await;
    }
    let other = server().client().await;
    let lock = "BEGIN; SELECT FROM {schema}.grants WHERE company = 'a' FOR UPDATE";
    other.batch_execute(&lock.replace("{schema}", stage.schema.name())).await.unwrap();

    assert_eq!(woken(&stage.store, 10).await, ["b"]);
    other.batch_execute("ROLLBACK").await.unwrap();

    assert_eq!(woken(&stage.store, 10).await, ["a"]);
}

#[tokio::test]
async fn with_many_dead_rows_a_read_begins_where_the_last_one_ended() {
    let stage = with_dead_rows().await;
    for (minute, name) in (0..).zip(["a", "b", "c", "d"]) {
        wakes_at(&stage, name, |now| now - HOUR + minute * MINUTE).await;
    }

    assert_eq!(woken(&stage.store, 2).await, ["a", "b"]);
    wakes_at(&stage, "before", |now| now - HOUR + MINUTE / 2).await;
    assert_eq!(woken(&stage.store, 2).await, ["c", "d"]);
    assert!(woken(&stage.store, 2).await.is_empty());

    // The last read reached the present.
    wakes_at(&stage, "now", |now| now).await;
    assert_eq!(woken(&stage.store, 2).await, ["now"]);
    // Another process begins at the head.
    assert_eq!(woken(&stage.another().await, 2).await, ["before"]);
}

/// A read returns such a row, but has not reached its time.
#[tokio::test]
async fn a_row_that_a_wrong_clock_dated_does_not_move_the_begin_of_the_next_read_ahead() {
    let stage = with_dead_rows().await;
    wakes_at(&stage, "a", |now| now).await;
    wakes_at(&stage, "far", |now| now + FURTHEST_WAKE + HOUR).await;
    assert_eq!(woken(&stage.store, 2).await, ["a", "far"]);

    wakes_at(&stage, "b", |now| now).await;

    assert_eq!(woken(&stage.store, 2).await, ["b"]);
}

#[tokio::test]
async fn a_row_that_is_due_comes_before_one_that_a_wrong_clock_dated() {
    let stage = Stage::new().await;
    wakes_at(&stage, "far", |now| now + FURTHEST_WAKE + HOUR).await;
    wakes_at(&stage, "z", |now| now).await;

    assert_eq!(woken(&stage.store, 1).await, ["z"]);
    assert_eq!(woken(&stage.store, 1).await, ["far"]);
}
