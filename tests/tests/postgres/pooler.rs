//! The store behind PgBouncer, in session mode and in transaction mode.

use std::time::Duration;

use batchsuite_auth::{
    events::EventKind,
    status::ListedAs,
    store::{Delivery, DeliveryEnd, ListQuery, Prune, Store, StoreErrorKind},
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::{
    eventually,
    postgres::{PgBouncer, PoolMode, keyring},
};

use tokio::{task::JoinSet, time::timeout};

use crate::stage::{
    CIE, Stage, all, company, consent, events, id, paired, put, removal, rotation, saved, server, told, unchanged,
};

/// The store's deadline, which a refusal must not wait for.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_verb_works_in_transaction_mode() {
    let pooler = PgBouncer::start(server());
    // More callers than the pooler has server connections, so that each statement may use a different one.
    every_verb_works(
        &Stage::with(pooler.url(), |builder| builder.unnamed_statements().connections(8).listens_on(server().url()))
            .await,
    )
    .await;
}

/// In transaction mode, as configured by the URL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_verb_works_in_transaction_mode_as_it_comes() {
    let pooler = PgBouncer::with_defaults(server(), PoolMode::Transaction);
    let url = format!("{} pgbouncer=true", pooler.url());

    every_verb_works(&Stage::with(&url, |builder| builder).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_verb_works_in_session_mode_as_it_comes() {
    let pooler = PgBouncer::with_defaults(server(), PoolMode::Session);

    every_verb_works(&Stage::with(pooler.url(), |builder| builder).await).await;
}

#[tokio::test]
async fn a_session_has_its_settings_behind_a_pooler_in_session_mode() {
    let pooler = PgBouncer::with_defaults(server(), PoolMode::Session);
    let pool = PostgresPool::at(pooler.url()).deadline(Duration::from_secs(16)).build().unwrap();

    for (name, expected) in [
        ("statement_timeout", "10s"),
        ("lock_timeout", "8s"),
        ("idle_in_transaction_session_timeout", "16s"),
        ("default_transaction_isolation", "read committed"),
    ] {
        let set = pool.rows(&format!("SHOW {name}"), &[], &[]).await.unwrap();
        assert_eq!(set[0].get::<_, &str>(0), expected, "{name}");
    }
}

/// The pool wants more connections than the pooler accepts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_limit_of_a_pooler_calls_wait_for_a_connection_that_becomes_free() {
    const CLIENTS: usize = 3;
    let pooler = PgBouncer::with_room_for(server(), CLIENTS);
    let pool = PostgresPool::at(pooler.url()).connections(8).build().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        let pool = pool.clone();
        calls.spawn(async move { pool.rows("SELECT pg_sleep(0.05)", &[], &[]).await.map(drop) });
    }

    for answer in calls.join_all().await {
        answer.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_lets_nobody_in_is_told_at_once() {
    let pooler = PgBouncer::with_room_for(server(), 1);
    let first = PostgresPool::connect(pooler.url()).await.unwrap();
    let second = PostgresPool::at(pooler.url()).deadline(LONG).build().unwrap();

    let refused =
        timeout(LONG / 2, second.rows("SELECT 1", &[], &[])).await.expect("the refusal comes before the deadline");

    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Unavailable);
    first.rows("SELECT 1", &[], &[]).await.unwrap();
}

/// In transaction mode, a setting of one client affects other clients.
#[tokio::test]
async fn nothing_is_set_behind_a_pooler_in_transaction_mode() {
    let pooler = PgBouncer::with_defaults(server(), PoolMode::Transaction);
    let pool = PostgresPool::at(&format!("{} pgbouncer=true", pooler.url())).build().unwrap();
    let transactions = [pool.begin().await.unwrap(), pool.begin_without_time_limit().await.unwrap()];
    for transaction in transactions {
        transaction.commit().await.unwrap();
    }

    // Each transaction has its own server connection.
    let mut others = [pool.begin().await.unwrap(), pool.begin().await.unwrap()];

    for other in &mut others {
        for name in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
            let set = other.rows(&format!("SHOW {name}"), &[], &[]).await.unwrap();
            assert_eq!(set[0].get::<_, &str>(0), "0", "{name}");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_statement_behind_a_pooler() {
    let pooler = PgBouncer::with_defaults(server(), PoolMode::Transaction);
    let pool = PostgresPool::at(&format!("{} pgbouncer=true", pooler.url())).build().unwrap();
    let client = server().client().await;
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(601)' AND state = 'active'";
    let sleeps = async |expected: i64| {
        let sleep = async || client.query_one(sleeping, &[]).await.unwrap().get::<_, i64>(0) == expected;
        eventually("the statements sleep", sleep).await;
    };
    let asking = pool.clone();
    let asks = tokio::spawn(async move { asking.rows("SELECT pg_sleep(601)", &[], &[]).await.map(drop) });
    sleeps(1).await;

    asks.abort();

    sleeps(0).await;
}

#[tokio::test]
async fn notifications_are_not_looked_for_behind_a_pooler_that_passes_none_on() {
    let store = PostgresStore::at(server().url(), keyring().await);

    let refused = store.listens_on("host=localhost pgbouncer=true").build();

    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Misconfigured);
}

async fn every_verb_works(stage: &Stage) {
    let store = &stage.store;
    let start = store.changes(CIE, None, Duration::ZERO).await.unwrap().cursor;
    let mails = Delivery { consumer: "mails".to_owned(), holder: uuid::Uuid::nil() };
    assert_eq!(store.take_delivery(CIE, &mails, Duration::from_secs(60)).await.unwrap(), Some(start));

    let mut lives = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (store, key) = (store.clone(), company(&format!("company-{number}")));
        lives.spawn(async move {
            let consent = consent(&key);
            put(&store, consent.clone()).await.unwrap();
            assert!(store.find_consent(CIE, &consent.state).await.unwrap().is_some());
            assert!(store.use_consent(CIE, consent.consent.id, None).await.unwrap().is_some());
            let row = paired(&store, &key).await;
            let row = saved(&store, unchanged(&row)).await;
            let row = saved(&store, rotation(&row, "2")).await;
            store.record_use(CIE, &[id(&key)]).await.unwrap();
            saved(&store, removal(&row)).await;
            store.append(CIE, told(&key, EventKind::Failed)).await.unwrap();
        });
    }
    lives.join_all().await;

    let changes = store.changes(CIE, Some(start), Duration::from_secs(30)).await.unwrap();
    assert_eq!(changes.changed.len(), 20);
    let log = store.events(events()).await.unwrap();
    assert_eq!(log.items.len(), 100);
    assert_eq!(store.wake(CIE, 30).await.unwrap().len(), 20);
    assert_eq!(store.list(all()).await.unwrap().items.len(), 20);
    let removed = ListQuery { listed_as: Some(vec![ListedAs::Unauthenticated]), ..all() };
    assert_eq!(store.list(removed).await.unwrap().items.len(), 20);
    assert!(store.advance_delivery(CIE, &mails, log.next.unwrap(), DeliveryEnd::End).await.unwrap());
    let prune = Prune { environment: CIE, older_than: Duration::ZERO, limit: 1000, undelivered: false };
    assert_eq!(store.prune(prune).await.unwrap().events, 100);
    assert_eq!(store.overview(CIE).await.unwrap().companies[&ListedAs::Unauthenticated], 20);
    store.check().await.unwrap();
}
