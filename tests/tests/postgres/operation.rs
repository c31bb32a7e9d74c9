//! What an operator asks for.

use std::time::Duration;

use batchsuite_auth::{
    Environment, Policy,
    events::{EventId, EventKind},
    fake_ups::FakeUps,
    store::{EventOrder, EventQuery, Store, StoreError, StoreErrorKind},
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{DAY, HOUR};

use crate::stage::{Stage, actor, commit, company, consent, pair, server};

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

fn from(after: Option<EventId>) -> EventQuery {
    EventQuery { environment: Environment::Cie, company: None, order: EventOrder::OldestFirst, after, limit: 10 }
}

#[tokio::test]
async fn a_reader_behind_what_was_pruned_is_told_of_the_gap_and_goes_on_after_it() {
    let stage = Stage::new().await;
    let ids = async |store: &PostgresStore, after| {
        let page = store.events(from(after)).await?;
        Ok::<_, StoreError>(page.items.into_iter().map(|event| event.id.number()).collect::<Vec<_>>())
    };
    for name in ["a", "b", "c"] {
        stage.authenticated(&company(name)).await;
    }
    stage.schema.advance(90 * DAY).await;
    stage.authenticated(&company("d")).await;
    assert_eq!(ids(&stage.store, Some(EventId::new(1))).await.unwrap(), [2, 3, 4]);

    assert_eq!(stage.store.prune_events(30 * DAY).await.unwrap(), 3);

    let up_to = EventId::new(3);
    for behind in [EventId::START, EventId::new(1), EventId::new(2)] {
        // Also of one company: whether it had events in the gap, nobody knows.
        for company in [None, Some(company("d").company)] {
            let error = stage.store.events(EventQuery { company, ..from(Some(behind)) }).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Pruned { up_to });
            assert!(error.to_string().contains("number 3"), "{error}");
        }
    }
    assert_eq!(ids(&stage.store, Some(up_to)).await.unwrap(), [4]);
    assert_eq!(ids(&stage.store, None).await.unwrap(), [4], "without a cursor, nothing was missed");
    let newest = EventQuery { order: EventOrder::NewestFirst, ..from(None) };
    assert_eq!(stage.store.events(newest).await.unwrap().items.len(), 1);
    assert_eq!(stage.store.prune_events(30 * DAY).await.unwrap(), 0);
    assert_eq!(ids(&stage.store, Some(up_to)).await.unwrap(), [4]);
}

#[tokio::test]
async fn a_stream_of_events_tells_the_gap_and_begins_after_a_log_that_is_pruned_to_its_end() {
    let stage = Stage::new().await;
    stage.authenticated(&company("a")).await;
    stage.schema.advance(90 * DAY).await;
    assert_eq!(stage.store.prune_events(30 * DAY).await.unwrap(), 1);
    let ups = FakeUps::start().await;
    let mut policy = Policy::default();
    policy.feed_interval = Duration::from_millis(50);
    let auth = ups.authenticator().store(stage.store.clone()).policy(policy).without_keeper().build().unwrap();

    let error = auth.event_stream(Some(EventId::START)).next().await.unwrap().unwrap_err();
    let StoreErrorKind::Pruned { up_to } = error.kind() else { panic!("{error}") };
    let (mut restarted, mut from_now) = (auth.event_stream(Some(up_to)), auth.event_stream(None));
    let both = async { tokio::join!(restarted.next(), from_now.next()) };
    let write = async {
        // The second stream begins with its first reading.
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            auth.authenticate(&company("b").company, &actor()).await.unwrap();
        }
    };
    let (restarted, from_now) = tokio::select! {
        both = both => both,
        () = write => panic!("a stream tells nothing"),
    };

    assert_eq!(restarted.unwrap().unwrap().id, EventId::new(2));
    assert!(from_now.unwrap().unwrap().id > up_to);
}

/// One that a later release wrote, or a hand.
#[tokio::test]
async fn an_event_that_cannot_be_read_hides_no_other() {
    let stage = Stage::new().await;
    for name in ["a", "b", "c"] {
        stage.authenticated(&company(name)).await;
    }
    let damage = format!("UPDATE {0}.events SET kind = 'of a later release' WHERE company = 'b'", stage.schema.name());
    server().client().await.batch_execute(&damage).await.unwrap();

    let page = stage.store.events(from(None)).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let page = stage.store.events(EventQuery { limit: 2, ..from(None) }).await.unwrap();
    assert_eq!((page.items.len(), page.next), (1, Some(EventId::new(2))), "the cursor goes past it");
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
