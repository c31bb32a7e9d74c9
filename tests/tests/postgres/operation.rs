//! What an operator asks for.

use batchsuite_auth::{
    Environment,
    events::EventKind,
    store::{EventOrder, EventQuery, Store},
};

use crate::stage::{DAY, HOUR, Stage, actor, commit, company, consent, pair};

#[tokio::test]
async fn old_events_are_pruned_and_the_feed_misses_none() {
    let stage = Stage::new().await;
    let grant = stage.authenticated(&company("acme")).await;
    stage.schema.advance(90 * DAY).await;
    let attempt = stage.claimed(&grant).await;
    stage.store.commit_refresh(commit(&grant, attempt, pair("2"))).await.unwrap();

    let pruned = stage.store.prune_events(30 * DAY).await.unwrap();

    assert_eq!(pruned, 1);
    let query = EventQuery {
        environment: Environment::Cie,
        company: None,
        order: EventOrder::OldestFirst,
        after: None,
        limit: 10,
    };
    let left = stage.store.events(query).await.unwrap().items;
    assert_eq!(left.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Refreshed]);
    let told = stage.store.changes(Environment::Cie, Some(Default::default()), Default::default()).await.unwrap();
    assert_eq!(told.changed, [(company("acme").company, left[0].id)]);
}

#[tokio::test]
async fn the_overview_counts_how_companies_stand() {
    let stage = Stage::new().await;
    stage.store.begin_consent(consent(&company("began"))).await.unwrap();
    for name in ["waiting", "flying", "removed"] {
        stage.authenticated(&company(name)).await;
    }
    stage.store.remove(&company("removed"), &actor()).await.unwrap();
    stage.schema.advance(4 * HOUR).await;
    stage.claimed(&stage.store.load(&company("flying")).await.unwrap()).await;
    stage.store.mark_unanswered(Environment::Cie).await.unwrap();
    stage.store.record_use(Environment::Cie, &[company("waiting").company]).await.unwrap();

    let overview = stage.store.overview(Environment::Cie, DAY).await.unwrap();

    assert_eq!((overview.unauthenticated, overview.authenticated, overview.refresh_expired), (2, 2, 0));
    assert_eq!((overview.opt_in_invalidated, overview.rotation_lost), (0, 0));
    assert_eq!((overview.unanswered, overview.leases, overview.consents_pending), (2, 1, 0));
    let waits = overview.as_of - overview.oldest_due.expect("one waits");
    assert!((59..62).contains(&waits.num_minutes()), "{waits}");
}
