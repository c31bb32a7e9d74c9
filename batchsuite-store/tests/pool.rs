//! Which connections of a [`PostgresPool`] are reused.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{pin::pin, time::Duration};

use batchsuite_auth::{
    CompanyId, Environment,
    ids::Revision,
    secret::RefreshToken,
    store::{Document, ListedAs, RowKey, RowNumber, Saved, Store, Swap, TokenChange, Tokens},
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::{
    eventually,
    postgres::{Log, Server, TestSchema, keyring},
    proxy::Proxy,
};

#[tokio::test]
async fn of_the_connections_that_nobody_needs_any_more_none_stays() {
    let proxy = Proxy::before(Server::shared(Log::Normal)).await;
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
    let schema = TestSchema::new(Server::shared(Log::Normal));
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
