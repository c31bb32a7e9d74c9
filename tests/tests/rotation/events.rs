//! The event log: each event comes with its change, and is told once.

use batchsuite_auth::{
    EventFilter, EventStream,
    events::{Event, EventId, EventKind},
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    store::EventOrder,
};

use crate::{
    flaky::{Moment, Verb},
    stage::{DAY, Process, Stage, acme, ada, company, policy, seconds},
};

/// A life with an event of every kind that a company can have.
async fn eventful(stage: &Stage, one: &Process, other: &Process) -> Vec<EventKind> {
    use EventKind::*;

    // Declined, then opted in.
    let trip = one.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.decline(&trip.url).await;
    one.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
    stage.opt_in(one, &acme()).await;
    // Refreshed; not sent; misconfigured.
    stage.access_tokens_end();
    one.token(&acme()).await;
    stage.access_tokens_end();
    stage.ups.go_offline().await;
    one.auth.access_token(&acme()).await.unwrap_err();
    stage.ups.go_online().await;
    stage.ups.clock().advance(seconds(10));
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidClient, Times::Once);
    one.auth.access_token(&acme()).await.unwrap_err();
    stage.ups.clock().advance(seconds(60));
    // Unanswered, then lost by one process, recovered by the other.
    let commit = one.store.hold(Verb::Commit, Moment::Before);
    drop(one.caller(&acme()));
    commit.reached().await;
    stage.ups.clock().advance(seconds(61));
    stage.ups.fault(Endpoint::Refresh, Fault::Reset, Times::Once);
    other.auth.access_token(&acme()).await.unwrap_err();
    stage.ups.clock().advance(seconds(120));
    other.auth.access_token(&acme()).await.unwrap_err();
    commit.release();
    stage.live(seconds(2)).await;
    // A warning and the end, told by whichever keeper comes first.
    for _ in 0..14 {
        stage.ups.clock().advance(4 * DAY + DAY / 2);
        stage.live(seconds(12)).await;
    }
    // A new opt-in, invalidated, and removed.
    stage.opt_in(other, &acme()).await;
    stage.ups.change_password(FakeUps::USER);
    stage.access_tokens_end();
    other.auth.access_token(&acme()).await.unwrap_err();
    other.auth.remove_auth(&acme(), &ada()).await.unwrap();

    vec![
        Started,
        Declined,
        Started,
        Authenticated,
        Refreshed,
        RefreshFailed,
        Misconfigured,
        RefreshUnanswered,
        Invalidated,
        Recovered,
        ExpiringSoon,
        ExpiringSoon,
        ExpiringSoon,
        Expired,
        Started,
        Authenticated,
        Invalidated,
        Removed,
    ]
}

fn two_processes(stage: &Stage) -> (Process, Process) {
    let mut policy = policy();
    policy.keep_alive = seconds(0);
    policy.used_within = seconds(0);
    let process = || stage.process_with(|builder| builder.policy(policy.clone()));
    (process(), process())
}

/// What a stream has to tell by now.
async fn told(mut stream: EventStream) -> Vec<Event> {
    let mut told = Vec::new();
    while let Ok(event) = tokio::time::timeout(seconds(10), stream.next()).await {
        told.push(event.unwrap().unwrap());
    }
    told
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_event_comes_with_its_change_and_is_read_in_both_orders() {
    let stage = Stage::new().await;
    let (one, other) = two_processes(&stage);
    let expected = eventful(&stage, &one, &other).await;

    assert_eq!(one.kinds(&acme()).await, expected);
    for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let filter = EventFilter { company: Some(acme()), order, after, limit: Some(3) };
            let page = other.auth.events(filter).await.unwrap();
            if page.items.is_empty() {
                break;
            }
            read.extend(page.items.iter().map(|event| event.kind));
            after = page.next;
        }
        if order == EventOrder::NewestFirst {
            read.reverse();
        }
        assert_eq!(read, expected, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_live_stream_tells_each_event_once_across_two_processes() {
    let stage = Stage::new().await;
    let (one, other) = two_processes(&stage);
    let streams = [&one, &other]
        .map(|process| tokio::spawn(told_until_shutdown(process.auth.event_stream(Some(EventId::START)))));

    let expected = eventful(&stage, &one, &other).await;
    stage.live(seconds(5)).await;
    one.auth.shutdown().await;
    other.auth.shutdown().await;

    for stream in streams {
        let told = stream.await.unwrap();
        assert_eq!(told.iter().map(|event| event.kind).collect::<Vec<_>>(), expected);
        assert!(told.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
}

async fn told_until_shutdown(mut stream: EventStream) -> Vec<Event> {
    let mut told = Vec::new();
    while let Some(event) = stream.next().await {
        told.push(event.unwrap());
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_cursor_begins_with_what_happens_next_and_a_failed_read_loses_nothing() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let mut stream = process.auth.event_stream(None);
    assert!(tokio::time::timeout(seconds(3), stream.next()).await.is_err(), "nothing happens yet");

    stage.opt_in(&process, &company("other")).await;
    process.store.fail_once(Verb::Events, Moment::After);
    assert!(stream.next().await.unwrap().is_err());

    let kinds: Vec<_> = told(stream).await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Started, EventKind::Authenticated]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_reads_on_past_many_pages() {
    let stage = Stage::new().await;
    let process = stage.process();
    for number in 0..150 {
        stage.opt_in(&process, &company(&format!("company {number}"))).await;
    }

    let told = told(process.auth.event_stream(Some(EventId::START))).await;

    assert_eq!(told.len(), 300);
    assert!(told.windows(2).all(|pair| pair[0].id < pair[1].id));
}
