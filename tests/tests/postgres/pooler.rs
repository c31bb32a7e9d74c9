//! Behind PgBouncer in transaction mode, with statements that have no name.

use std::time::Duration;

use batchsuite_auth::{
    Environment,
    store::{EventOrder, EventQuery, Store},
};
use batchsuite_tests::postgres::PgBouncer;

use crate::stage::{Stage, actor, commit, company, connect, consent, pair, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_verb_works_in_transaction_mode() {
    let pooler = PgBouncer::start(server());
    let stage =
        Stage::with(pooler.url(), |builder| builder.unnamed_statements().connections(8).listens_on(server().url()))
            .await;
    let start = stage.store.changes(Environment::Cie, None, Duration::ZERO).await.unwrap().cursor;

    // More callers than the pooler has servers, so that each statement meets whichever is free.
    let mut lives = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (stage, key) = ((stage.store.clone(), stage.another().await), company(&format!("company-{number}")));
        lives.spawn(async move {
            let store = stage.0;
            store.begin_consent(consent(&key)).await.unwrap();
            let grant = crate::stage::stored(store.connect(connect(&key)).await.unwrap());
            let attempt = batchsuite_auth::ids::AttemptId::random();
            let claim = batchsuite_auth::store::ClaimRefresh {
                key: key.clone(),
                revision: grant.opt_in.revision,
                attempt,
                lease: Duration::from_secs(60),
            };
            assert_eq!(store.claim_refresh(claim).await.unwrap(), batchsuite_auth::store::Claimed::Yes);
            store.commit_refresh(commit(&grant, attempt, pair("2"))).await.unwrap();
            store.remove(&key, &actor()).await.unwrap();
        });
    }
    lives.join_all().await;

    let changes = stage.store.changes(Environment::Cie, Some(start), Duration::from_secs(30)).await.unwrap();
    assert_eq!(changes.changed.len(), 20);
    let query = EventQuery {
        environment: Environment::Cie,
        company: None,
        order: EventOrder::OldestFirst,
        after: None,
        limit: 1000,
    };
    assert_eq!(stage.store.events(query).await.unwrap().items.len(), 80);
    stage.store.check().await.unwrap();
}
