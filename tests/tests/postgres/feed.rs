//! The change feed with writers that never finish, without notifications, and across processes.

use std::time::Duration;

use batchsuite_auth::{
    events::EventId,
    store::{EventQuery, RowKey, Store, Swap, TokenChange},
};
use batchsuite_tests::log::Log;
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

use crate::stage::{CIE, Stage, company, events, id, paired, rotation, saved, server};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(30);
/// The longest time that a process may serve the token of a removed opt-in.
const BOUNDED_AGE: Duration = Duration::from_secs(30);

/// A save that is written but not committed.
async fn held_open(stage: &Stage, company: &str) -> Client {
    let client = server().client().await;
    let save = "BEGIN;
        UPDATE {schema}.grants SET number = number + 1, change = {schema}.next_event() WHERE company = '{company}';
        INSERT INTO {schema}.events (environment, id, at, company, epoch, version, content)
        SELECT environment, change, now(), company, epoch, version, '{\"kind\": \"removed\"}' FROM {schema}.grants
        WHERE company = '{company}'";
    let save = save.replace("{schema}", stage.schema.name()).replace("{company}", company);
    client.batch_execute(&save).await.unwrap();
    client
}

async fn cursor(stage: &Stage) -> EventId {
    stage.store.changes(CIE, None, NOW).await.unwrap().cursor
}

#[tokio::test]
async fn a_write_that_is_held_open_is_not_missed_and_hides_no_other() {
    let stage = Stage::new().await;
    stage.paired(&company("slow")).await;
    let start = cursor(&stage).await;
    let slow = held_open(&stage, "slow").await;

    // A later number is committed first.
    let fast = stage.paired(&company("fast")).await;
    let began = Instant::now();
    let first = timeout(LONG, stage.store.changes(CIE, Some(start), LONG)).await.unwrap().unwrap();
    let waited = began.elapsed();
    let the_next_look = Duration::from_secs(5);
    assert!(Duration::from_secs(1) <= waited && waited < the_next_look, "{waited:?} for the earlier writer");
    slow.batch_execute("COMMIT").await.unwrap();
    let second = stage.store.changes(CIE, Some(first.cursor), NOW).await.unwrap();

    assert_eq!(first.changed, [(id(&fast.key), fast.change)]);
    assert!(first.cursor < fast.change, "the cursor stays below the pending write");
    let removed = stage.store.load(&company("slow")).await.unwrap();
    assert!(removed.change < fast.change);
    assert!(second.changed.contains(&(id(&removed.key), removed.change)), "{second:?}");
    assert!(second.cursor >= fast.change);
}

#[tokio::test]
async fn of_several_writes_that_are_held_open_none_is_missed() {
    let stage = Stage::new().await;
    for name in ["slow", "slower", "fast"] {
        stage.paired(&company(name)).await;
    }
    let start = cursor(&stage).await;
    let first = held_open(&stage, "slow").await;
    let fast = stage.store.load(&company("fast")).await.unwrap();
    saved(&stage.store, rotation(&fast, "2")).await;
    let second = held_open(&stage, "slower").await;

    let before = stage.store.changes(CIE, Some(start), NOW).await.unwrap();
    for writer in [second, first] {
        writer.batch_execute("COMMIT").await.unwrap();
    }
    let after = stage.store.changes(CIE, Some(before.cursor), NOW).await.unwrap();

    // The fast one was reported ahead of the cursor, so it is reported again.
    let fast = stage.store.load(&company("fast")).await.unwrap();
    assert_eq!((before.changed, before.cursor), (vec![(id(&fast.key), fast.change)], start));
    for name in ["slow", "slower", "fast"] {
        let row = stage.store.load(&company(name)).await.unwrap();
        assert!(after.changed.contains(&(id(&row.key), row.change)), "{name}: {after:?}");
    }
}

#[tokio::test]
async fn a_reader_of_the_log_does_not_step_over_an_event_that_is_held_open() {
    let stage = Stage::new().await;
    stage.paired(&company("slow")).await;
    let slow = held_open(&stage, "slow").await;
    stage.paired(&company("fast")).await;

    let page = stage.store.events(events()).await.unwrap();
    slow.batch_execute("COMMIT").await.unwrap();
    let rest = stage.store.events(EventQuery { after: page.next, ..events() }).await.unwrap();

    assert_eq!((page.items.len(), rest.items.len()), (1, 2));
}

#[tokio::test]
async fn a_long_transaction_elsewhere_does_not_hold_the_feed_up() {
    let stage = Stage::new().await;
    let start = cursor(&stage).await;
    let elsewhere = server().client().await;
    // The transaction has an id, so it holds back the snapshot horizon.
    elsewhere.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()").await.unwrap();

    let row = stage.paired(&company("acme")).await;
    let changes = stage.store.changes(CIE, Some(start), NOW).await.unwrap();

    assert_eq!(changes.changed, [(id(&row.key), row.change)]);
    assert!(changes.cursor >= row.change);
    elsewhere.batch_execute("ROLLBACK").await.unwrap();
}

/// The writer's number is above the latest one that was read.
#[tokio::test]
async fn a_writer_that_announces_itself_while_the_log_is_read_holds_nothing_up() {
    let stage = Stage::new().await;
    let start = cursor(&stage).await;
    let row = stage.paired(&company("acme")).await;
    let ahead = row.change.number() + 9;
    let announce = format!(
        "BEGIN; SELECT pg_advisory_xact_lock_shared('{}.event_number'::regclass::oid::bigint::bit(32)::int, {ahead})",
        stage.schema.name()
    );
    let writer = server().client().await;
    writer.batch_execute(&announce).await.unwrap();

    let changes = stage.store.changes(CIE, Some(start), NOW).await.unwrap();

    assert_eq!((changes.changed, changes.cursor), (vec![(id(&row.key), row.change)], row.change));
    writer.batch_execute("ROLLBACK").await.unwrap();
}

/// A lock with one key, and a lock in another database. Both have a number below the latest one.
#[tokio::test]
async fn a_lock_of_another_program_with_a_writers_numbers_holds_nothing_up() {
    let stage = Stage::new().await;
    let start = cursor(&stage).await;
    let client = server().client().await;
    let sequence = format!("SELECT '{}.event_number'::regclass::oid::bigint", stage.schema.name());
    let sequence: i64 = client.query_one(&sequence, &[]).await.unwrap().get(0);
    client.batch_execute(&format!("SELECT pg_advisory_lock(({sequence}::bigint << 32) + 1)")).await.unwrap();
    let database = format!("elsewhere_{sequence}");
    client.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    let url = server().url().replace("dbname=postgres", &format!("dbname={database}"));
    let (elsewhere, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    elsewhere.batch_execute(&format!("SELECT pg_advisory_lock({sequence}, 1)")).await.unwrap();

    let row = stage.paired(&company("acme")).await;
    let changes = stage.store.changes(CIE, Some(start), NOW).await.unwrap();

    assert_eq!((changes.changed, changes.cursor), (vec![(id(&row.key), row.change)], row.change));
}

#[tokio::test]
async fn a_change_of_another_process_ends_the_wait_at_once() {
    let stage = Stage::new().await;
    let other = stage.another().await;
    let start = cursor(&stage).await;
    // Both listen before anything is written.
    for store in [&stage.store, &other] {
        store.changes(CIE, Some(start), NOW).await.unwrap();
    }
    stage.listeners(2, &[]).await;
    let waiting = stage.store.changes(CIE, Some(start), LONG);
    let began = Instant::now();

    let acme = company("acme");
    let (changes, row) = tokio::join!(waiting, paired(&other, &acme));

    assert_eq!(changes.unwrap().changed, [(id(&row.key), row.change)]);
    assert!(began.elapsed() < Duration::from_secs(3), "not by a notification: {:?}", began.elapsed());
}

#[tokio::test]
async fn without_notifications_a_change_is_told_within_the_bounded_age() {
    let stage = Stage::with(server().url(), |builder| builder.unnamed_statements()).await;
    let other = stage.another().await;
    let start = cursor(&stage).await;
    let waiting = stage.store.changes(CIE, Some(start), 10 * LONG);

    let acme = company("acme");
    let both = async { tokio::join!(waiting, paired(&other, &acme)) };
    let (changes, _) = timeout(BOUNDED_AGE, both).await.expect("the change arrives in time");

    assert_eq!(changes.unwrap().changed.len(), 1);
}

#[tokio::test]
async fn a_listener_that_was_cut_listens_again() {
    let stage = Stage::new().await;
    let other = stage.another().await;
    let start = cursor(&stage).await;
    stage.store.changes(CIE, Some(start), NOW).await.unwrap();
    let cut = stage.listeners(1, &[]).await;
    server().client().await.execute("SELECT pg_terminate_backend($1)", &[&cut[0]]).await.unwrap();
    // The store listens again.
    stage.listeners(1, &cut).await;

    let waiting = stage.store.changes(CIE, Some(start), LONG);
    let began = Instant::now();
    let acme = company("acme");
    let (changes, row) = tokio::join!(waiting, paired(&other, &acme));

    assert!(began.elapsed() < Duration::from_secs(3), "not by a notification: {:?}", began.elapsed());
    assert_eq!(changes.unwrap().changed, [(id(&row.key), row.change)]);
}

#[tokio::test]
async fn the_row_of_the_client_is_no_change_that_cannot_be_read() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let start = cursor(&stage).await;
    let client = stage.store.load(&RowKey::client(CIE)).await.unwrap();
    let announced = saved(&stage.store, Swap { tokens: TokenChange::Keep, ..rotation(&client, "none") }).await;

    let changes = stage.store.changes(CIE, Some(start), Duration::ZERO).await.unwrap();

    assert_eq!((changes.changed, changes.cursor), (vec![], announced.change));
    assert!(log.lines("cannot be read").is_empty(), "{}", log.text());
}
