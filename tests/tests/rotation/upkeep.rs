//! What an operator does about all companies, and the client row that tells of it.

use batchsuite_auth::{
    BatchSuiteAuth, Client, Environment, EventFilter, EventId,
    events::{EventContent, EventKind},
    fake_ups::FakeUps,
    store::{NewEvent, Store as _},
};
use batchsuite_tests::{HOUR, Moment, Verb, acme, seconds};
use tokio::time::timeout;

use crate::stage::{Stage, policy};

#[tokio::test(start_paused = true)]
async fn a_restore_is_unfinished_until_every_company_is_marked_and_the_next_one_has_its_own_time() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let unfinished =
        async || BatchSuiteAuth::client_state(&stage.store, Environment::Cie).await.unwrap().unfinished_restore;
    let list = process.store.hold(Verb::List, Moment::Before);
    let auth = process.auth.clone();
    let restore = tokio::spawn(async move { auth.after_restore().await.unwrap() });
    list.reached().await;
    assert_eq!(unfinished().await, Some(stage.row(&acme()).await.as_of));

    list.release();

    assert_eq!((restore.await.unwrap(), unfinished().await), (1, None));
    stage.ups.clock().advance(seconds(60));
    process.auth.report_rejected(&acme(), &process.token(&acme()).await).await.unwrap();
    stage.ups.clock().advance(seconds(60));
    assert_eq!((process.auth.after_restore().await.unwrap(), unfinished().await), (1, None), "the new pair is older");
}

#[tokio::test(start_paused = true)]
async fn pruning_deletes_more_events_than_one_batch_holds_and_counts_them() {
    const EVENTS: u64 = 5_001;
    let stage = Stage::new().await;
    let process = stage.process();
    for _ in 0..EVENTS {
        let event = NewEvent { company: Some(acme()), event: EventContent::new(EventKind::Failed) };
        stage.store.append(Environment::Cie, event).await.unwrap();
    }
    stage.ups.clock().advance(HOUR);

    assert_eq!(process.auth.prune_events(seconds(60)).await.unwrap(), EVENTS);

    let left = stage.process().auth.events(EventFilter::new().with_after(EventId::new(EVENTS))).await.unwrap();
    assert!(left.items.is_empty(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn another_client_id_is_announced_once_and_told_to_the_readers_of_its_process_at_once() {
    let stage = Stage::new().await;
    let announced = async || BatchSuiteAuth::client_state(&stage.store, Environment::Cie).await.unwrap().client_id;
    assert_eq!(announced().await, None);
    let first = stage.process_with(|builder| builder);
    stage.live(seconds(12)).await;
    assert_eq!(announced().await.as_deref(), Some(stage.ups.client_id()));
    first.auth.shutdown().await;

    let mut policy = policy();
    policy.feed_interval = seconds(30);
    let other = stage.build(Client::new("another", FakeUps::CLIENT_SECRET), |builder| builder.policy(policy));
    other.store.hang(Verb::Changes);
    let mut stream = other.auth.event_stream(Some(EventId::START));
    // The keeper begins after ten seconds; the log itself is read every thirty.
    let told = timeout(seconds(20), stream.next()).await.expect("it is told at once").unwrap().unwrap();

    assert_eq!((told.kind, announced().await.as_deref()), (EventKind::ClientChanged, Some("another")));
    other.auth.shutdown().await;
}
