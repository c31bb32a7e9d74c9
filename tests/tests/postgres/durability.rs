//! What was stored is stored, whatever the default of the server is.

use batchsuite_auth::{
    events::EventKind,
    ids::AttemptId,
    machine::{Phase, Verdict},
    store::{
        ClaimRefresh, Claimed, Connect, GiveBack, GrantKey, NewEvent, NewPair, SettleRefresh, Snapshot, Store,
        TakeConsent, WarnExpiring,
    },
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::{
    DAY, HOUR,
    postgres::{Log, Server, TestSchema, keyring},
};
use tokio_postgres::{Client, types::Type};

use crate::stage::{CLIENT, Stage, actor, commit, company, connect, consent, pair, stored};

/// A server that, by default, tells of a commit ten seconds before it is on the disk.
fn careless() -> &'static Server {
    let settings = "-c synchronous_commit=off -c wal_writer_delay=10000ms -c autovacuum=off";
    Box::leak(Box::new(Server::start_with(Log::Normal, &[], settings)))
}

async fn stage(server: &'static Server) -> Stage {
    let schema = TestSchema::new(server);
    // No setting of a session helps.
    let builder = PostgresStore::at(server.url(), keyring().await).unnamed_statements();
    let store = builder.schema(schema.name()).build().unwrap();
    store.migrate().await.unwrap();
    Stage { schema, store }
}

/// Whether everything that was written is on the disk.
async fn is_flushed(client: &Client) -> bool {
    let flushed = "SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()";
    client.query_one(flushed, &[]).await.unwrap().get(0)
}

/// Something else may be written at the same moment, so there are some tries.
async fn assert_durable(client: &Client, verb: &str, write: impl AsyncFn(GrantKey)) {
    for number in 0..5 {
        write(company(&format!("{}-{number}", verb.replace(' ', "-")))).await;
        if is_flushed(client).await {
            return;
        }
    }
    panic!("{verb} is not durable when it returns");
}

async fn claim(store: &PostgresStore, grant: &Snapshot) -> AttemptId {
    let (key, revision, attempt) = (grant.key.clone(), grant.opt_in.revision, AttemptId::random());
    let claim = ClaimRefresh { key, revision, attempt, lease: HOUR };
    assert_eq!(store.claim_refresh(claim).await.unwrap(), Claimed::Yes);
    attempt
}

#[tokio::test]
async fn every_write_is_on_the_disk_when_it_returns() {
    let server = careless();
    let stage = stage(server).await;
    let (store, client) = (&stage.store, server.client().await);
    let grant = async |key: &GrantKey| stored(store.connect(connect(key)).await.unwrap());
    client.batch_execute("CREATE TABLE careless (x integer); INSERT INTO careless VALUES (1)").await.unwrap();
    assert!(!is_flushed(&client).await, "by default this server is careless");

    assert_durable(&client, "begin_consent", async |key| store.begin_consent(consent(&key)).await.unwrap()).await;
    assert_durable(&client, "take_consent", async |key| {
        let consent = consent(&key);
        store.begin_consent(consent.clone()).await.unwrap();
        let take = TakeConsent {
            environment: key.environment,
            state: consent.state,
            browser: consent.browser,
            actor: consent.actor,
            event: None,
        };
        store.take_consent(take).await.unwrap();
    })
    .await;
    assert_durable(&client, "connect", async |key| drop(grant(&key).await)).await;
    assert_durable(&client, "claim", async |key| {
        claim(store, &grant(&key).await).await;
    })
    .await;
    assert_durable(&client, "give_back", async |key| {
        let grant = grant(&key).await;
        let (revision, attempt) = (grant.opt_in.revision, claim(store, &grant).await);
        let _ = store.give_back(GiveBack { key, revision, attempt, retry_in: HOUR, event: None }).await.unwrap();
    })
    .await;
    assert_durable(&client, "commit", async |key| {
        let grant = grant(&key).await;
        let attempt = claim(store, &grant).await;
        store.commit_refresh(commit(&grant, attempt, pair("2"))).await.unwrap();
    })
    .await;
    assert_durable(&client, "settle", async |key| {
        let grant = grant(&key).await;
        let settle = SettleRefresh {
            revision: grant.opt_in.revision,
            attempt: claim(store, &grant).await,
            key,
            verdict: Verdict::Refused,
            evidence: Default::default(),
            retry_in: HOUR,
        };
        let _ = store.settle_refresh(settle).await.unwrap();
    })
    .await;
    assert_durable(&client, "remove", async |key| drop(store.remove(&key, &actor()).await.unwrap())).await;
    assert_durable(&client, "mark", async |key| {
        store.mark_unanswered(key.environment).await.unwrap();
    })
    .await;
    assert_durable(&client, "record", async |key| {
        let (environment, company) = (key.environment, Some(key.company));
        let event = NewEvent { environment, company, actor: None, kind: EventKind::Failed, evidence: None };
        store.record(event).await.unwrap();
    })
    .await;
    assert_durable(&client, "record_use", async |key| {
        grant(&key).await;
        store.record_use(key.environment, &[key.company]).await.unwrap();
    })
    .await;
    assert_durable(&client, "warn", async |key| {
        let pair = NewPair { refresh_lifetime: Some(DAY), ..pair("1") };
        store.connect(Connect { pair, ..connect(&key) }).await.unwrap();
        let (environment, client_id) = (key.environment, CLIENT.to_owned());
        let warn = WarnExpiring { environment, client_id, windows: vec![2 * DAY], limit: 10 };
        assert_eq!(store.warn_expiring(warn).await.unwrap(), 1);
    })
    .await;
    stage.schema.advance(90 * DAY).await;
    assert_durable(&client, "prune", async |key| {
        grant(&key).await;
        stage.schema.advance(90 * DAY).await;
        assert!(store.prune_events(DAY).await.unwrap() > 0);
    })
    .await;
}

/// A service keeps its own data beside the opt-ins.
#[tokio::test]
async fn what_the_host_itself_writes_over_the_pool_is_on_the_disk_too() {
    let server = careless();
    let client = server.client().await;
    client.batch_execute("CREATE TABLE hosts (name text)").await.unwrap();
    let insert = "INSERT INTO hosts VALUES ($1)";
    let (own, pooled) = (PostgresPool::at(server.url()), PostgresPool::at(server.url()).unnamed_statements());
    let (own, pooled) = (own.build().unwrap(), pooled.build().unwrap());

    assert_durable(&client, "a statement", async |key| {
        own.rows(insert, &[Type::TEXT], &[&key.company.as_str()]).await.unwrap();
    })
    .await;
    for pool in [&own, &pooled] {
        assert_durable(&client, "a transaction", async |key| {
            let mut transaction = pool.begin().await.unwrap();
            transaction.rows(insert, &[Type::TEXT], &[&key.company.as_str()]).await.unwrap();
            transaction.commit().await.unwrap();
        })
        .await;
    }
    // A stronger setting stays.
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
    let grant = stage.authenticated(&company("acme")).await;

    let attempt = stage.claimed(&grant).await;
    server.crash();
    server.start_again();
    let after = stage.another_on(server).await.load(&company("acme")).await.unwrap();
    assert!(matches!(after.opt_in.phase, Phase::Sent { attempt: holder, .. } if holder == attempt), "{after:?}");

    let store = stage.another_on(server).await;
    store.commit_refresh(commit(&grant, attempt, pair("2"))).await.unwrap();
    server.crash();
    server.start_again();
    let after = stage.another_on(server).await.load(&company("acme")).await.unwrap();
    assert!(after.tokens.unwrap().is_pair(&pair("2")));
}
