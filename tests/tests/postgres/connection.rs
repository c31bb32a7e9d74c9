//! Connections that break.

use std::error::Error;

use batchsuite_auth::store::{Saved, Store, StoreErrorKind};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{postgres::keyring, wire::Wire};

use crate::stage::{Stage, are_tokens, company, removal, rotation, saved, server};

#[tokio::test]
async fn a_save_whose_answer_was_lost_is_found_stored() {
    let wire = Wire::before(server()).await;
    let stage = Stage::with(&wire.url(), |builder| builder.connections(1)).await;
    // A first save prepares the statement, so that the cut hits the save itself.
    let row = stage.paired(&company("acme")).await;
    let row = saved(&stage.store, rotation(&row, "2")).await;
    let rotation = rotation(&row, "3");

    wire.swallow_answers(true);
    let cut = stage.store.save(rotation.clone()).await;
    wire.swallow_answers(false);
    let again = stage.store.save(rotation).await.unwrap();

    assert_eq!(cut.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(again, Saved::Conflict);
    let row = stage.store.load(&company("acme")).await.unwrap();
    assert!(row.revision.version == 3 && are_tokens(&row.tokens, "3"), "{row:?}");
}

#[tokio::test]
async fn a_first_save_whose_answer_was_lost_is_found_stored() {
    let wire = Wire::before(server()).await;
    let stage = Stage::with(&wire.url(), |builder| builder.connections(1)).await;
    stage.paired(&company("other")).await;
    let first = rotation(&stage.store.load(&company("acme")).await.unwrap(), "1");

    wire.swallow_answers(true);
    let cut = stage.store.save(first.clone()).await;
    wire.swallow_answers(false);
    let again = stage.store.save(first).await.unwrap();

    assert_eq!(cut.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(again, Saved::Conflict);
    assert!(are_tokens(&stage.store.load(&company("acme")).await.unwrap().tokens, "1"));
}

#[tokio::test]
async fn connections_that_the_server_ended_are_replaced() {
    let stage = Stage::new().await;
    stage.paired(&company("acme")).await;
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%{}%'",
        stage.schema.name()
    );
    server().client().await.query(&end, &[]).await.unwrap();

    // One try may get a connection that has not noticed its end.
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(stage.store.load(&company("acme")).await.map_err(|error| error.kind()).map(|row| row.change));
    }

    assert!(answers.last().unwrap().is_ok(), "{answers:?}");
    assert!(answers.iter().all(|answer| answer.is_ok() || *answer == Err(StoreErrorKind::Unavailable)), "{answers:?}");
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_transaction_open() {
    let stage = Stage::new().await;
    let blocker = server().client().await;
    let row = stage.paired(&company("acme")).await;
    let lock = format!("BEGIN; SELECT 1 FROM {}.grants WHERE company = 'acme' FOR UPDATE", stage.schema.name());
    blocker.batch_execute(&lock).await.unwrap();
    for _ in 0..5 {
        let waiting = stage.store.save(removal(&row));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), waiting).await.is_err());
    }

    blocker.batch_execute("ROLLBACK").await.unwrap();

    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND query LIKE '%{}%'",
        stage.schema.name()
    );
    stage.store.load(&row.key).await.unwrap();
    assert_eq!(blocker.query_one(&open, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_its_error_shows_no_password() {
    let url = "postgres://user:canary-password@127.0.0.1:1/nowhere?connect_timeout=2";

    let error = PostgresStore::connect(url, keyring().await).await.unwrap_err();

    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let shown = format!("{error} {error:?} {:?}", error.source());
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn a_url_that_is_none_is_an_operators_error_and_is_not_repeated() {
    for url in ["canary", "http://canary@host/", "postgres://user:canary@host/db?unknown=1"] {
        let error = PostgresStore::connect(url, keyring().await).await.unwrap_err();

        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{url}");
        let shown = format!("{error} {error:?} {:?}", error.source());
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_parameter_of_the_url_that_is_not_known_is_named_and_nothing_else_is() {
    for url in [
        "postgres://canary-user:canary-password@canary-host/canary-db?sslmode=disable&unheard_of=canary-value",
        "host=canary-host unheard_of=canary-value user=canary-user password=canary-password",
    ] {
        let store = PostgresStore::connect(url, keyring().await).await;
        let pool = batchsuite_store::PostgresPool::connect(url).await;
        let listener = PostgresStore::at(server().url(), keyring().await).listens_on(url).build();

        for error in [store.unwrap_err(), pool.unwrap_err(), listener.unwrap_err()] {
            let told = error.source().unwrap().to_string();
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
            assert!(told.contains("unheard_of") && !told.contains("canary"), "{told}");
        }
    }
}

#[tokio::test]
async fn the_store_shows_neither_url_nor_keys() {
    let stage = Stage::new().await;

    let pool = batchsuite_store::PostgresPool::at(server().url()).build().unwrap();
    let transaction = format!("{:?}", pool.begin().await.unwrap());

    let shown = format!("{:?} {:?}", stage.store, PostgresStore::at("postgres://u:canary@h/d", keyring().await));

    assert!(!shown.contains("canary") && !shown.contains("AAECAw"), "{shown}");
    let begins = format!("PostgresStore {{ schema: {}, pool: PostgresPool {{ connections: ", stage.schema.name());
    assert!(shown.starts_with(&begins), "{shown}");
    assert_eq!(transaction, "PostgresTransaction { .. }");
}

#[tokio::test]
async fn a_pair_goes_before_everybody_who_waits_for_a_connection() {
    let stage = Stage::with(server().url(), |builder| builder.connections(1)).await;
    let row = stage.paired(&company("acme")).await;
    let blocker = server().client().await;
    let lock = format!("BEGIN; LOCK TABLE {}.grants", stage.schema.name());
    blocker.batch_execute(&lock).await.unwrap();
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..50 {
        let (store, done) = (stage.store.clone(), done.clone());
        tokio::spawn(async move {
            store.load(&company("acme")).await.unwrap();
            let _ = done.send("read");
        });
    }
    // All reads are queued before the pair.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let store = stage.store.clone();
    tokio::spawn(async move {
        let saved = store.save(rotation(&row, "2")).await.unwrap();
        assert!(matches!(saved, Saved::Yes { .. }), "{saved:?}");
        let _ = done.send("pair");
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }

    blocker.batch_execute("ROLLBACK").await.unwrap();

    let mut before = 0;
    while order.recv().await.unwrap() != "pair" {
        before += 1;
    }
    // The read that held the connection, and one that may have got it at the same moment.
    assert!(before <= 2, "{before} reads went before the pair");
}
