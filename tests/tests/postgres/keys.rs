//! A name always stands for the same key: nothing is encrypted under another key of that name.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use batchsuite_auth::store::{Saved, Store, StoreError, StoreErrorKind};
use batchsuite_store::{
    PostgresStore,
    keyring::{KeySet, KeySource, KeySourceError, Keyring},
};
use batchsuite_tests::{log::Log, postgres::TestSchema};
use tokio_postgres::NoTls;

use crate::{
    sealed::{NEW, OLD, keys, store},
    stage::{CIE, Stage, all, are_tokens, company, consent, paired, put, rotation, saved, server},
};

/// A different key with the name of the old one.
const NAMESAKE: &str = "old:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

#[track_caller]
fn assert_names_the_key<T: std::fmt::Debug>(what: &str, answer: Result<T, StoreError>) {
    let error = answer.expect_err(what);
    let line = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{what}: {line}");
    assert!(line.contains("named old is another one") && line.lines().count() == 1, "{what}: {line}");
}

/// A migrated schema with one company, under the old key.
async fn under_the_old_key() -> Stage {
    let schema = TestSchema::new(server());
    let store = PostgresStore::at(server().url(), keys(OLD).await).schema(schema.name()).build().unwrap();
    store.migrate().await.unwrap();
    paired(&store, &company("acme")).await;
    Stage { schema, store }
}

#[tokio::test]
async fn a_wrong_key_under_the_right_name_is_refused_before_anything_is_sealed() {
    let stage = under_the_old_key().await;
    let wrong = store(&stage, NAMESAKE).await;

    assert_names_the_key("check", wrong.check().await);
    assert_names_the_key("migrate", wrong.migrate().await);
    assert_names_the_key("load", wrong.load(&company("acme")).await);
    assert_names_the_key("wake", wrong.wake(CIE, 10).await);
    let first = rotation(&stage.store.load(&company("new")).await.unwrap(), "1");
    assert_names_the_key("save", wrong.save(first).await);
    assert_names_the_key("put a consent", put(&wrong, consent(&company("new"))).await);
    assert_names_the_key("find a consent", wrong.find_consent(CIE, &consent(&company("new")).state).await);
    // The same for a key that only decrypts.
    assert_names_the_key("behind", store(&stage, &format!("{NEW},{NAMESAKE}")).await.check().await);

    let count =
        format!("SELECT (SELECT count(*) FROM {0}.tokens) + (SELECT count(*) FROM {0}.consents)", stage.schema.name());
    assert_eq!(server().client().await.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 1);
    stage.store.check().await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_refused_at_the_connection() {
    let database = format!("keys_{:08x}", rand::random::<u32>());
    server().client().await.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    let url = server().url().replace("dbname=postgres", &format!("dbname={database}"));
    let first = PostgresStore::connect(&url, keys(OLD).await).await.unwrap();
    first.migrate().await.unwrap();

    assert_names_the_key("connect", PostgresStore::connect(&url, keys(NAMESAKE).await).await);
    PostgresStore::connect(&url, keys(&format!("{NEW},{OLD}")).await).await.unwrap();
}

/// For example behind a pooler, which accepts a connection without its server.
#[tokio::test]
async fn a_database_that_does_not_tell_its_keys_is_out_of_reach() {
    let database = format!("keys_{:08x}", rand::random::<u32>());
    server().client().await.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    let url = server().url().replace("dbname=postgres", &format!("dbname={database}"));
    PostgresStore::connect(&url, keys(OLD).await).await.unwrap().migrate().await.unwrap();
    let (blocker, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    blocker.batch_execute("BEGIN; LOCK TABLE batchsuite.keys").await.unwrap();

    let error = PostgresStore::connect(&url, keys(OLD).await).await.unwrap_err();

    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_processes_that_begin_with_different_keys_of_one_name_one_can_seal() {
    for _ in 0..10 {
        let schema = TestSchema::new(server());
        let process = async |text: &str| {
            let store = PostgresStore::at(server().url(), keys(text).await).schema(schema.name()).build().unwrap();
            store.migrate().await?;
            store.save(rotation(&store.load(&company("acme")).await?, "1")).await
        };
        let (one, other) = tokio::join!(process(OLD), process(NAMESAKE));

        let is_saved = |answer: &Result<Saved, StoreError>| matches!(answer, Ok(Saved::Yes { .. }));
        assert!(is_saved(&one) != is_saved(&other), "{one:?} {other:?}");
        assert!(one.is_err() != other.is_err(), "{one:?} {other:?}");
    }
}

/// Keys that the test can change, like another process.
#[derive(Clone, Debug)]
struct Changing(Arc<Mutex<KeySet>>);

#[async_trait]
impl KeySource for Changing {
    async fn load(&self) -> Result<KeySet, KeySourceError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// A pair in hand must be stored, whatever an operator changes in the keys.
#[tokio::test]
async fn a_reload_that_brings_a_wrong_key_leaves_the_keys_before_it_at_work() {
    let stage = under_the_old_key().await;
    let source = Changing(Arc::new(Mutex::new(KeySet::parse(NEW).unwrap())));
    let keyring = Keyring::load(source.clone()).await.unwrap();
    let reloaded = PostgresStore::at(server().url(), keyring.clone()).schema(stage.schema.name()).build().unwrap();
    let row = paired(&reloaded, &company("new")).await;

    *source.0.lock().unwrap() = KeySet::parse(&format!("{NAMESAKE},{NEW}")).unwrap();
    keyring.reload().await.unwrap();
    let (log, _guard) = Log::of_this_test();
    let row = saved(&reloaded, rotation(&row, "2")).await;

    assert!(are_tokens(&row.tokens, "2"), "{row:?}");
    assert_eq!(log.lines("the reloaded keys are refused").len(), 1, "the keys are compared once after each reload");
    assert_names_the_key("check", reloaded.check().await);
    let alone = store(&stage, NEW).await.load(&company("new")).await.unwrap();
    assert!(are_tokens(&alone.tokens, "2"), "the pair is under the new key");
}

#[tokio::test]
async fn the_key_that_sealed_last_must_be_there_or_be_declared_lost() {
    let stage = under_the_old_key().await;
    let check = async |text: &str| store(&stage, text).await.check().await;

    let error = check(NEW).await.unwrap_err();
    let line = std::error::Error::source(&error).unwrap().to_string();
    assert!(line.contains("there is no key named old") && line.contains("old:lost"), "{line}");
    check(&format!("{NEW},old:lost")).await.unwrap();
    check(&format!("{NEW},{OLD}")).await.unwrap();

    // A rotation in the right order: new data are encrypted with the new key, and a check no longer needs the old key.
    let both = store(&stage, &format!("{NEW},{OLD}")).await;
    let row = saved(&both, rotation(&both.load(&company("acme")).await.unwrap(), "2")).await;
    check(NEW).await.unwrap();
    // The same in the other direction.
    saved(&store(&stage, &format!("{OLD},{NEW}")).await, rotation(&row, "3")).await;
    check(OLD).await.unwrap();
    // Where the server keeps a key's row does not matter.
    stage.execute("UPDATE {schema}.keys SET primary_since = primary_since WHERE name = 'new'").await;
    check(OLD).await.unwrap();
}

#[tokio::test]
async fn a_new_first_key_is_recorded_when_it_encrypts_and_not_before() {
    let stage = under_the_old_key().await;
    let check = async |text: &str| store(&stage, text).await.check().await;
    let both = store(&stage, &format!("{NEW},{OLD}")).await;

    both.check().await.unwrap();
    both.list(all()).await.unwrap();
    let row = both.load(&company("acme")).await.unwrap();
    assert!(are_tokens(&row.tokens, "1"), "{row:?}");
    check(OLD).await.expect("reading records nothing");

    saved(&both, rotation(&row, "2")).await;
    let line = std::error::Error::source(&check(OLD).await.unwrap_err()).unwrap().to_string();
    assert!(line.contains("there is no key named new"), "{line}");
}
