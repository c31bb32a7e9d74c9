//! Problems of a connection rather than of a statement: the server's role, a lost plan, a full server.

use std::time::Duration;

use batchsuite_auth::store::{Saved, Store, StoreErrorKind};
use batchsuite_store::{PostgresError, PostgresPool, PostgresStore};
use batchsuite_tests::{
    eventually,
    postgres::{Log, Server, keyring},
    proxy::Proxy,
};
use tokio::{task::JoinSet, time::timeout};
use tokio_postgres::NoTls;

use crate::stage::{Stage, are_tokens, company, paired, rotation, saved, server, unchanged};

const LONG: Duration = Duration::from_secs(60);

/// Sessions that began while the server was read-only stay read-only, like sessions on a server that is now a standby.
#[tokio::test]
async fn sessions_of_a_server_that_was_read_only_end_and_writes_go_on() {
    let server = tokio::task::spawn_blocking(|| Server::start(Log::Normal)).await.unwrap();
    let operator = server.client().await;
    let store = |url: &str| {
        let url = url.to_owned();
        async move { PostgresStore::at(&url, keyring().await).connections(2).build().unwrap() }
    };
    let writable = store(server.url()).await;
    writable.migrate().await.unwrap();
    let row = paired(&writable, &company("acme")).await;
    operator.batch_execute("ALTER ROLE postgres SET default_transaction_read_only = on").await.unwrap();
    let any = store(&format!("{} target_session_attrs=any", server.url())).await;
    let (one, other) = (company("acme"), company("other"));
    tokio::try_join!(any.load(&one), any.load(&other)).unwrap();
    let refused = any.save(unchanged(&row)).await.unwrap_err();
    let never_writable = PostgresStore::connect(server.url(), keyring().await).await.unwrap_err();
    operator.batch_execute("ALTER ROLE postgres RESET default_transaction_read_only").await.unwrap();
    let claimed = any.save(unchanged(&row)).await;

    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert_eq!(PostgresError::of(&refused).and_then(PostgresError::sql_state), Some("25006"));
    assert_eq!(never_writable.kind(), StoreErrorKind::Unavailable);
    assert!(matches!(claimed, Ok(Saved::Yes { .. })), "{claimed:?}");
    let row = any.load(&one).await.unwrap();
    assert!(are_tokens(&saved(&any, rotation(&row, "2")).await.tokens, "2"));
}

#[tokio::test]
async fn of_several_servers_the_one_that_allows_writes_is_used() {
    let standby =
        tokio::task::spawn_blocking(|| Server::start_with(Log::Normal, &[], "-c default_transaction_read_only=on"));
    let standby = standby.await.unwrap();
    let hosts = format!(
        "host={},{} user=postgres dbname=postgres",
        standby.directory().unwrap().display(),
        server().directory().unwrap().display()
    );

    let pool = PostgresPool::connect(&hosts).await.unwrap();

    let read_only = pool.rows("SHOW transaction_read_only", &[], &[]).await.unwrap();
    assert_eq!(read_only[0].get::<_, &str>(0), "off");
}

#[tokio::test]
async fn a_prepared_statement_that_is_gone_is_prepared_again() {
    let pool = PostgresPool::at(server().url()).connections(1).build().unwrap();
    let stage = Stage::new().await;
    let store = PostgresStore::builder(pool.clone(), keyring().await).schema(stage.schema.name()).build().unwrap();
    store.load(&company("acme")).await.unwrap();
    pool.rows("DEALLOCATE ALL", &[], &[]).await.unwrap();

    store.load(&company("acme")).await.unwrap();
}

#[tokio::test]
async fn a_plan_whose_result_has_changed_is_made_again() {
    let stage = Stage::with(server().url(), |builder| builder.connections(3)).await;
    let key = company("acme");
    stage.paired(&key).await;
    tokio::try_join!(stage.store.load(&key), stage.store.load(&key)).unwrap();
    let change =
        "DROP VIEW {schema}.companies; ALTER TABLE {schema}.grants ALTER company TYPE varchar(300) COLLATE \"C\"";
    stage.execute(change).await;

    for _ in 0..3 {
        assert!(are_tokens(&stage.store.load(&key).await.unwrap().tokens, "1"));
    }
}

#[tokio::test]
async fn connections_become_neither_old_nor_idle_for_long() {
    let proxy = Proxy::before(server()).await;
    let pool = |url: String| PostgresPool::at(&url).connections(1);
    let short = Duration::from_millis(1);
    for (pool, connections) in
        [(pool(proxy.url()), 1), (pool(proxy.url()).max_age(short), 3), (pool(proxy.url()).max_idle(short), 3)]
    {
        let (pool, before) = (pool.build().unwrap(), proxy.connections());
        for _ in 0..3 {
            pool.rows("SELECT pg_sleep(0.01)", &[], &[]).await.unwrap();
            tokio::time::sleep(10 * short).await;
        }

        assert_eq!(proxy.connections() - before, connections, "{pool:?}");
    }
}

/// Other services hold most of the server's connections.
#[tokio::test]
async fn at_the_server_s_connection_limit_calls_wait_for_a_connection_of_the_pool() {
    let few = "-c max_connections=6 -c superuser_reserved_connections=0";
    let server = tokio::task::spawn_blocking(|| Server::start_with(Log::Normal, &[], few)).await.unwrap();
    let set_up = |pool: batchsuite_store::PostgresPoolBuilder| pool.connections(20).build().unwrap();
    let pool = set_up(PostgresPool::at(server.url()));
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        let pool = pool.clone();
        calls.spawn(async move { pool.rows("SELECT pg_sleep(0.02)", &[], &[]).await.map(drop) });
    }

    for answer in calls.join_all().await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn a_server_without_room_is_asked_again_until_there_is_some() {
    let few = "-c max_connections=4 -c superuser_reserved_connections=0";
    let server = tokio::task::spawn_blocking(|| Server::start_with(Log::Normal, &[], few)).await.unwrap();
    let mut others = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(server.url(), NoTls).await {
        others.push((client, tokio::spawn(connection)));
    }
    let pool = PostgresPool::at(server.url()).build().unwrap();
    // Long enough for at least one refusal, even on a busy machine.
    let impatient = PostgresPool::at(server.url()).deadline(Duration::from_secs(3)).build().unwrap();
    let refused = impatient.rows("SELECT 1", &[], &[]).await.unwrap_err();
    let refusals = || server.log().matches("too many clients").count();
    let before = refusals();
    let asks = tokio::spawn(async move { pool.rows("SELECT 1", &[], &[]).await.map(drop) });
    eventually("the connection is refused", async || refusals() > before).await;

    others.clear();

    timeout(LONG, asks).await.unwrap().unwrap().unwrap();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert_eq!(
        PostgresError::of(&refused).and_then(PostgresError::sql_state),
        Some("53300"),
        "the error has the SQLSTATE"
    );
}
