//! Which connections of a [`PostgresPool`] are reused.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeSet, pin::pin, sync::OnceLock, time::Duration};

use batchsuite_auth::{
    CompanyId, Environment,
    ids::Revision,
    secret::RefreshToken,
    store::{Document, ListedAs, RowKey, RowNumber, Saved, Store, StoreErrorKind, Swap, TokenChange, Tokens},
};
use batchsuite_store::{PostgresError, PostgresPool, PostgresStore, PostgresTransaction};
use batchsuite_tests::{
    eventually,
    postgres::{Log, Server, TestSchema, keyring},
    proxy::Proxy,
};
use tokio_postgres::{Row, types::Type};

/// This program's server: proxies go before it.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Log::Normal))
}

#[tokio::test]
async fn of_the_connections_that_nobody_needs_any_more_none_stays() {
    let proxy = Proxy::before(server()).await;
    let pool = PostgresPool::at(&proxy.url()).connections(2).max_idle(Duration::from_millis(300)).build().unwrap();
    let of_pool = "SELECT pid FROM pg_stat_activity WHERE application_name = 'idle'";
    let mark = "SELECT set_config('application_name', 'idle', false), pg_sleep(0.2)";
    tokio::try_join!(pool.rows(mark, &[], &[]), pool.rows(mark, &[], &[])).unwrap();
    assert_eq!(pool.rows(of_pool, &[], &[]).await.unwrap().len(), 2);

    let is_one_closed = async || pool.rows(of_pool, &[], &[]).await.unwrap().len() == 1;
    eventually("the one that is never needed is closed", is_one_closed).await;
}

/// Other statements check a connection before waiting for one; a pair waits for the connection that returns.
#[tokio::test]
async fn a_pair_that_waits_is_not_sent_over_a_connection_that_is_too_old() {
    let schema = TestSchema::new(server());
    let proxy = Proxy::before(schema.server()).await;
    let age = Duration::from_millis(100);
    let pool = PostgresPool::at(&proxy.url()).connections(1).max_age(age).build().unwrap();
    let store = PostgresStore::builder(pool.clone(), keyring().await).schema(schema.name()).build().unwrap();
    store.migrate().await.unwrap();
    let transaction = pool.begin().await.unwrap();
    let mut save = pin!(store.save(first_pair()));
    tokio::select! {
        biased;
        _ = &mut save => unreachable!("the only connection is taken"),
        () = tokio::time::sleep(2 * age) => {}
    }
    let before = proxy.connections();

    transaction.commit().await.unwrap();

    assert_ne!(save.await.unwrap(), Saved::Conflict);
    assert_eq!(proxy.connections() - before, 1);
}

/// A pool of two connections, and the server processes that serve them: one is busy, and one idle.
async fn busy_and_idle(url: &str) -> (PostgresPool, PostgresTransaction, i32) {
    let pool = PostgresPool::at(url).connections(2).deadline(LONG).build().unwrap();
    let mut busy = pool.begin().await.unwrap();
    let pid = pid(&busy.rows(PID, &[], &[]).await.unwrap());
    pool.rows(PID, &[], &[]).await.unwrap();
    (pool, busy, pid)
}

const PID: &str = "SELECT pg_backend_pid()";

fn pid(rows: &[Row]) -> i32 {
    rows[0].get(0)
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_statement_that_fails_replaces_no_connection() {
    let (pool, busy, _) = busy_and_idle(server().url()).await;
    busy.commit().await.unwrap();
    let pids = async || {
        let both = "SELECT pg_backend_pid() FROM pg_sleep(0.2)";
        let (one, other) = tokio::try_join!(pool.rows(both, &[], &[]), pool.rows(both, &[], &[])).unwrap();
        BTreeSet::from([pid(&one), pid(&other)])
    };
    let before = pids().await;

    let failed = pool.rows("SELECT 1 / 0", &[], &[]).await;

    assert_eq!(PostgresError::of(&failed.unwrap_err()).and_then(PostgresError::sql_state), Some("22012"));
    assert_eq!(pids().await, before);
}

/// An internal error may have left it in any state.
#[tokio::test]
async fn a_connection_with_an_internal_error_is_replaced_alone() {
    let (pool, busy, first) = busy_and_idle(server().url()).await;
    let second = pid(&pool.rows(PID, &[], &[]).await.unwrap());
    let fail = "DO $$ BEGIN RAISE EXCEPTION 'an error inside the server' USING ERRCODE = 'XX000'; END $$";

    let failed = pool.rows(fail, &[], &[]).await;

    assert_eq!(PostgresError::of(&failed.unwrap_err()).and_then(PostgresError::sql_state), Some("XX000"));
    let third = pid(&pool.rows(PID, &[], &[]).await.unwrap());
    assert!(third != first && third != second, "{third}");
    busy.commit().await.unwrap();
    assert_eq!(pid(&pool.rows(PID, &[], &[]).await.unwrap()), first);
}

/// The others become idle and are closed.
#[tokio::test]
async fn the_connection_that_returned_last_is_used_first() {
    let (pool, busy, first) = busy_and_idle(server().url()).await;
    let mut other = pool.begin().await.unwrap();
    let second = pid(&other.rows(PID, &[], &[]).await.unwrap());
    other.commit().await.unwrap();
    busy.commit().await.unwrap();

    for _ in 0..3 {
        assert_eq!(pid(&pool.rows(PID, &[], &[]).await.unwrap()), first, "not {second}");
    }
}

/// The server that ended one may have become another one.
#[tokio::test]
async fn when_the_server_ends_a_connection_one_in_use_is_not_reused() {
    let (pool, mut busy, first) = busy_and_idle(server().url()).await;
    let mut other = pool.begin().await.unwrap();
    let second = pid(&other.rows(PID, &[], &[]).await.unwrap());
    busy.rows("SELECT pg_terminate_backend($1)", &[Type::INT4], &[&second]).await.unwrap();

    other.rows(PID, &[], &[]).await.unwrap_err();
    busy.commit().await.unwrap();
    drop(other);

    let next = pid(&pool.rows(PID, &[], &[]).await.unwrap());
    assert!(next != first && next != second, "{next}");
}

/// Another caller's connection would not help: only a server that has no room is asked again.
#[tokio::test]
async fn a_connection_that_the_server_denies_is_not_waited_for() {
    let server = server();
    let role = format!("denied_{}", std::process::id());
    let client = server.client().await;
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN SUPERUSER")).await.unwrap();
    let url = server.url().replace("user=postgres", &format!("user={role}"));
    let pool = PostgresPool::at(&url).connections(2).deadline(LONG).build().unwrap();
    let busy = pool.begin().await.unwrap();
    client.batch_execute(&format!("ALTER ROLE {role} NOLOGIN")).await.unwrap();

    let denied = tokio::time::timeout(LONG, pool.rows(PID, &[], &[])).await.expect("the call ends at once");

    assert_eq!(denied.unwrap_err().kind(), StoreErrorKind::Misconfigured);
    busy.commit().await.unwrap();
    drop(pool);
    client.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
}

fn first_pair() -> Swap {
    Swap {
        key: RowKey::company(Environment::Cie, CompanyId::new("acme").unwrap()),
        expected: RowNumber::NEVER_SAVED,
        decided_at: None,
        step: "test",
        document: Document::default(),
        revision: Revision { epoch: 1, version: 0 },
        listed_as: ListedAs::Authenticated,
        tokens: TokenChange::Replace(Tokens { access: None, refresh: Some(RefreshToken::new("refresh")) }),
        wake: None,
        used_at: None,
        events: Vec::new(),
        announce: false,
    }
}
