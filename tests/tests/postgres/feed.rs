//! The change feed with writers that do not end, without notifications, and across processes.

use std::time::Duration;

use batchsuite_auth::{
    Environment,
    events::EventId,
    store::{EventOrder, EventQuery, GrantKey, Store},
};
use batchsuite_tests::DAY;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, types::Type};

use crate::stage::{Stage, company, connect, server, stored};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(30);
/// The longest that a process may hand out the token of a removed opt-in.
const BOUNDED_AGE: Duration = Duration::from_secs(30);

/// A removal that is written, and not committed.
async fn held_open(stage: &Stage, key: &GrantKey) -> Client {
    let client = server().client().await;
    client.batch_execute("BEGIN").await.unwrap();
    let (environment, company) = (key.environment.name(), key.company.as_str());
    let parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] =
        &[(&environment, Type::TEXT), (&company, Type::TEXT), (&"ada", Type::TEXT)];
    client.query_typed(&stage.statement("remove"), parameters).await.unwrap();
    client
}

async fn cursor(stage: &Stage) -> EventId {
    stage.store.changes(Environment::Cie, None, NOW).await.unwrap().cursor
}

#[tokio::test]
async fn a_write_that_is_held_open_is_not_missed_and_hides_no_other() {
    let stage = Stage::new().await;
    stage.authenticated(&company("slow")).await;
    let start = cursor(&stage).await;
    let slow = held_open(&stage, &company("slow")).await;

    // A later number commits first.
    let fast = stage.authenticated(&company("fast")).await;
    let first = timeout(LONG, stage.store.changes(Environment::Cie, Some(start), LONG)).await.unwrap().unwrap();
    slow.batch_execute("COMMIT").await.unwrap();
    let second = stage.store.changes(Environment::Cie, Some(first.cursor), NOW).await.unwrap();

    assert_eq!(first.changed, [(fast.key.company.clone(), fast.change)]);
    assert!(first.cursor < fast.change, "the cursor stays below what is being written");
    let removed = stage.store.load(&company("slow")).await.unwrap();
    assert!(removed.change < fast.change);
    assert!(second.changed.contains(&(removed.key.company, removed.change)), "{second:?}");
    assert!(second.cursor >= fast.change);
}

#[tokio::test]
async fn a_reader_of_the_log_does_not_step_over_an_event_that_is_held_open() {
    let stage = Stage::new().await;
    stage.authenticated(&company("slow")).await;
    let slow = held_open(&stage, &company("slow")).await;
    stage.authenticated(&company("fast")).await;
    let query = EventQuery {
        environment: Environment::Cie,
        company: None,
        order: EventOrder::OldestFirst,
        after: None,
        limit: 100,
    };

    let page = stage.store.events(query.clone()).await.unwrap();
    slow.batch_execute("COMMIT").await.unwrap();
    let rest = stage.store.events(EventQuery { after: page.next, ..query }).await.unwrap();

    assert_eq!((page.items.len(), rest.items.len()), (1, 2));
}

#[tokio::test]
async fn a_long_transaction_elsewhere_does_not_hold_the_feed_up() {
    let stage = Stage::new().await;
    let start = cursor(&stage).await;
    let elsewhere = server().client().await;
    // It has a transaction id, so it holds the horizon of all snapshots back.
    elsewhere.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()").await.unwrap();

    let grant = stage.authenticated(&company("acme")).await;
    let changes = stage.store.changes(Environment::Cie, Some(start), NOW).await.unwrap();

    assert_eq!(changes.changed, [(grant.key.company, grant.change)]);
    assert!(changes.cursor >= grant.change);
    elsewhere.batch_execute("ROLLBACK").await.unwrap();
}

/// Each announcement takes room in a table of the server's that all its sessions share.
#[tokio::test]
async fn many_warnings_at_once_announce_themselves_once() {
    let stage = Stage::new().await;
    for number in 0..20 {
        stage.authenticated(&company(&format!("company-{number}"))).await;
    }
    stage.schema.advance(60 * DAY).await;
    let warn = "BEGIN; PREPARE warn(text, text, float8[], bigint) AS {warn};
        EXECUTE warn('cie', 'our-client', '{}', 100)"
        .replace("{warn}", &stage.statement("warn_expiring"));
    let client = server().client().await;

    client.batch_execute(&warn).await.unwrap();

    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    assert_eq!(client.query_one(locks, &[]).await.unwrap().get::<_, i64>(0), 1);
    client.batch_execute("COMMIT").await.unwrap();
    let query = EventQuery {
        environment: Environment::Cie,
        company: None,
        order: EventOrder::OldestFirst,
        after: None,
        limit: 100,
    };
    assert_eq!(stage.store.events(query).await.unwrap().items.len(), 40);
}

/// As after a fail-over that lost the latest writes.
#[tokio::test]
async fn a_cursor_beyond_the_end_of_the_log_is_told_everything() {
    let stage = Stage::new().await;
    let grant = stage.authenticated(&company("acme")).await;
    let beyond = EventId::new(grant.change.number() + 1000);

    let changes = stage.store.changes(Environment::Cie, Some(beyond), NOW).await.unwrap();

    assert_eq!((changes.changed, changes.cursor), (vec![(grant.key.company, grant.change)], grant.change));
}

/// It draws a number above the latest that was read.
#[tokio::test]
async fn a_writer_that_announces_itself_while_the_log_is_read_holds_nothing_up() {
    let stage = Stage::new().await;
    let start = cursor(&stage).await;
    let grant = stage.authenticated(&company("acme")).await;
    let ahead = grant.change.number() + 3;
    let announce = format!(
        "BEGIN; SELECT pg_advisory_xact_lock_shared('{}.event_number'::regclass::oid::bigint::bit(32)::int, {ahead})",
        stage.schema.name()
    );
    let writer = server().client().await;
    writer.batch_execute(&announce).await.unwrap();

    let changes = stage.store.changes(Environment::Cie, Some(start), NOW).await.unwrap();

    assert_eq!((changes.changed, changes.cursor), (vec![(grant.key.company, grant.change)], grant.change));
    writer.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn a_change_of_another_process_ends_the_wait_at_once() {
    let stage = Stage::new().await;
    let other = stage.another().await;
    let start = cursor(&stage).await;
    // Both listen before anything happens.
    for store in [&stage.store, &other] {
        store.changes(Environment::Cie, Some(start), NOW).await.unwrap();
    }
    stage.listeners(2, &[]).await;
    let waiting = stage.store.changes(Environment::Cie, Some(start), LONG);
    let began = Instant::now();

    let (changes, connected) = tokio::join!(waiting, other.connect(connect(&company("acme"))));

    let grant = stored(connected.unwrap());
    assert_eq!(changes.unwrap().changed, [(grant.key.company, grant.change)]);
    assert!(began.elapsed() < Duration::from_secs(3), "not told by a notification: {:?}", began.elapsed());
}

#[tokio::test]
async fn without_notifications_a_change_is_told_within_the_bounded_age() {
    let stage = Stage::with(server().url(), |builder| builder.unnamed_statements()).await;
    let other = stage.another().await;
    let start = cursor(&stage).await;
    let waiting = stage.store.changes(Environment::Cie, Some(start), 10 * LONG);

    let both = async { tokio::join!(waiting, other.connect(connect(&company("acme")))) };
    let (changes, _) = timeout(BOUNDED_AGE, both).await.expect("told in time");

    assert_eq!(changes.unwrap().changed.len(), 1);
}

#[tokio::test]
async fn a_listener_that_was_cut_listens_again() {
    let stage = Stage::new().await;
    let other = stage.another().await;
    let start = cursor(&stage).await;
    stage.store.changes(Environment::Cie, Some(start), NOW).await.unwrap();
    let cut = stage.listeners(1, &[]).await;
    server().client().await.execute("SELECT pg_terminate_backend($1)", &[&cut[0]]).await.unwrap();
    // It listens again.
    stage.listeners(1, &cut).await;

    let waiting = stage.store.changes(Environment::Cie, Some(start), LONG);
    let began = Instant::now();
    let (changes, connected) = tokio::join!(waiting, other.connect(connect(&company("acme"))));

    assert!(began.elapsed() < Duration::from_secs(3), "not told by a notification: {:?}", began.elapsed());
    assert_eq!(changes.unwrap().changed, [(company("acme").company, stored(connected.unwrap()).change)]);
}
