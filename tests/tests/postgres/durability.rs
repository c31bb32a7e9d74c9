//! Stored data are durable, whatever the server's default.

use batchsuite_auth::{
    events::EventKind,
    store::{Delivery, DeliveryEnd, Prune, RowKey, Store},
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::{
    DAY, HOUR,
    postgres::{Log, Server, TestSchema, keyring},
};
use tokio_postgres::{Client, types::Type};

use crate::stage::{
    CIE, Stage, are_tokens, company, consent, id, paired, put, removal, rotation, saved, told, unchanged,
};

/// A server that by default acknowledges a commit up to ten seconds before it is on the disk.
fn careless() -> &'static Server {
    let settings = "-c synchronous_commit=off -c wal_writer_delay=10000ms -c autovacuum=off";
    Box::leak(Box::new(Server::start_with(Log::Normal, &[], settings)))
}

async fn stage(server: &'static Server) -> Stage {
    let schema = TestSchema::new(server);
    // In this mode the store sets nothing in the session.
    let builder = PostgresStore::at(server.url(), keyring().await).unnamed_statements();
    let store = builder.schema(schema.name()).build().unwrap();
    store.migrate().await.unwrap();
    Stage { schema, store }
}

/// Whether everything written so far is on the disk.
async fn is_flushed(client: &Client) -> bool {
    let flushed = "SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()";
    client.query_one(flushed, &[]).await.unwrap().get(0)
}

/// Other writes may happen at the same moment, so this tries several times.
async fn assert_durable(client: &Client, verb: &str, write: impl AsyncFn(RowKey)) {
    for number in 0..5 {
        write(company(&format!("{}-{number}", verb.replace(' ', "-")))).await;
        if is_flushed(client).await {
            return;
        }
    }
    panic!("{verb} is not durable when it returns");
}

#[tokio::test]
async fn every_write_is_on_the_disk_when_it_returns() {
    let server = careless();
    let stage = stage(server).await;
    let (store, client) = (&stage.store, server.client().await);
    client.batch_execute("CREATE TABLE careless (x integer); INSERT INTO careless VALUES (1)").await.unwrap();
    assert!(!is_flushed(&client).await, "by default this server is not durable");

    assert_durable(&client, "put a consent", async |key| put(store, consent(&key)).await.unwrap()).await;
    assert_durable(&client, "use a consent", async |key| {
        let consent = consent(&key);
        put(store, consent.clone()).await.unwrap();
        store.use_consent(CIE, consent.consent.id, None).await.unwrap().unwrap();
    })
    .await;
    assert_durable(&client, "save a first pair", async |key| drop(paired(store, &key).await)).await;
    assert_durable(&client, "save", async |key| {
        let row = paired(store, &key).await;
        saved(store, unchanged(&row)).await;
    })
    .await;
    assert_durable(&client, "save a pair", async |key| {
        let row = paired(store, &key).await;
        saved(store, rotation(&row, "2")).await;
    })
    .await;
    assert_durable(&client, "save a removal", async |key| {
        let row = paired(store, &key).await;
        saved(store, removal(&row)).await;
    })
    .await;
    assert_durable(&client, "append", async |key| {
        store.append(CIE, told(&key, EventKind::Failed)).await.unwrap();
    })
    .await;
    assert_durable(&client, "wake", async |key| {
        paired(store, &key).await;
        assert!(!store.wake(CIE, 1).await.unwrap().is_empty());
    })
    .await;
    assert_durable(&client, "record_use", async |key| {
        paired(store, &key).await;
        store.record_use(CIE, &[id(&key)]).await.unwrap();
    })
    .await;
    let delivery = |key: &RowKey| Delivery { consumer: key.name().to_owned(), holder: uuid::Uuid::nil() };
    assert_durable(&client, "take a delivery", async |key| {
        store.take_delivery(CIE, &delivery(&key), HOUR).await.unwrap().unwrap();
    })
    .await;
    assert_durable(&client, "advance a delivery", async |key| {
        let cursor = store.take_delivery(CIE, &delivery(&key), HOUR).await.unwrap().unwrap();
        assert!(store.advance_delivery(CIE, &delivery(&key), cursor, DeliveryEnd::End).await.unwrap());
    })
    .await;
    assert_durable(&client, "prune", async |key| {
        paired(store, &key).await;
        stage.schema.advance(90 * DAY).await;
        let prune = Prune { environment: CIE, older_than: DAY, limit: 1000, undelivered: true };
        assert!(store.prune(prune).await.unwrap().events > 0);
    })
    .await;
}

/// A service keeps its own data in the same database.
#[tokio::test]
async fn what_the_host_itself_writes_over_the_pool_is_on_the_disk_too() {
    let server = careless();
    let client = server.client().await;
    client.batch_execute("CREATE TABLE hosts (name text)").await.unwrap();
    let insert = "INSERT INTO hosts VALUES ($1)";
    let (own, pooled) = (PostgresPool::at(server.url()), PostgresPool::at(server.url()).unnamed_statements());
    let (own, pooled) = (own.build().unwrap(), pooled.build().unwrap());

    assert_durable(&client, "a statement", async |key| {
        own.rows(insert, &[Type::TEXT], &[&key.name()]).await.unwrap();
    })
    .await;
    for pool in [&own, &pooled] {
        assert_durable(&client, "a transaction", async |key| {
            let mut transaction = pool.begin().await.unwrap();
            transaction.rows(insert, &[Type::TEXT], &[&key.name()]).await.unwrap();
            transaction.commit().await.unwrap();
        })
        .await;
    }
    // A stronger setting is kept.
    client.batch_execute("ALTER ROLE postgres SET synchronous_commit = remote_apply").await.unwrap();
    let strong = PostgresPool::at(server.url()).build().unwrap();
    let mut transaction = strong.begin().await.unwrap();
    let kept = transaction.rows("SELECT current_setting('synchronous_commit')", &[], &[]).await.unwrap();
    assert_eq!(kept[0].get::<_, &str>(0), "remote_apply");
}

#[tokio::test]
async fn a_claim_and_a_pair_outlive_a_crash_of_a_server_that_is_careless_by_default() {
    let server = careless();
    let stage = stage(server).await;
    let row = stage.paired(&company("acme")).await;

    let claimed = saved(&stage.store, unchanged(&row)).await;
    server.crash();
    server.start_again();
    let after = stage.another_on(server).await.load(&company("acme")).await.unwrap();
    assert_eq!(after.number, claimed.number);

    let store = stage.another_on(server).await;
    saved(&store, rotation(&after, "2")).await;
    server.crash();
    server.start_again();
    let after = stage.another_on(server).await.load(&company("acme")).await.unwrap();
    assert!(are_tokens(&after.tokens, "2"), "{after:?}");
}
