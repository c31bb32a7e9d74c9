//! The event log: each event is written with its change, and delivered once.

use std::time::Duration;

use batchsuite_auth::{
    EventFilter, EventStream,
    error::Responsible,
    events::{Event, EventId, EventKind},
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    store::{EventOrder, StoreErrorKind},
};
use batchsuite_tests::{CAUSE, DAY, Moment, Process, Verb, acme, ada, company, log::Log, seconds};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::stage::{Stage, policy};

/// A life with every kind of event that a company can have.
async fn eventful(stage: &Stage, one: &Process, other: &Process) -> Vec<EventKind> {
    use EventKind::*;

    // Declined, then opted in.
    let trip = one.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.decline(&trip.url).await;
    one.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
    stage.opt_in(one, &acme()).await;
    // Refreshed, not sent, misconfigured.
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
    // Unanswered, then reported as lost by one process and recovered by the other.
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
    // A warning and the end, reported by the first keeper to notice.
    for _ in 0..14 {
        stage.ups.clock().advance(4 * DAY + DAY / 2);
        stage.live(seconds(12)).await;
    }
    // A new opt-in, invalidated and removed.
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
    policy.keep_alive_before_end = seconds(0);
    policy.fresh_if_used_within = seconds(0);
    let process = || stage.process_with(|builder| builder.policy(policy.clone()));
    (process(), process())
}

/// The events that a stream yields without further changes.
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
            let filter = EventFilter::new().with_company(acme()).with_order(order).with_after(after).with_limit(3);
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
async fn a_stream_that_fails_is_no_busy_loop_for_a_plain_loop() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let mut policy = policy();
    policy.feed_interval = seconds(5);
    let process = stage.process_with(|builder| builder.without_keeper().policy(policy));
    let mut stream = process.auth.event_stream(Some(EventId::START));
    stage.opt_in(&process, &acme()).await;
    process.store.fail(Verb::Events, Moment::Before);

    let (mut errors, began) = (0, Instant::now());
    while began.elapsed() < seconds(60) {
        // An impatient caller does not cause a busy loop either.
        if let Ok(told) = tokio::time::timeout(seconds(1), stream.next()).await {
            assert!(told.unwrap().is_err());
            errors += 1;
            assert!(errors < 100, "a busy loop");
        }
    }
    process.store.mend(Verb::Events);
    let first = stream.next().await.unwrap().unwrap();

    assert!((10..=14).contains(&errors), "{errors} errors in a minute");
    assert_eq!(process.store.calls(Verb::Events), errors + 1, "one read per error");
    assert_eq!(first.kind, EventKind::Started, "nothing is lost");
    let lines = [log.lines("the store fails"), log.lines("the store works again")];
    assert_eq!(lines.each_ref().map(Vec::len), [1, 1], "{lines:#?}");
    assert!(lines[0][0].contains("reading the event log") && lines[0][0].contains(CAUSE), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_log_is_told_at_once_and_says_where_to_go_on() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.opt_in(&process, &company("another")).await;
    let mut stream = process.auth.event_stream(Some(EventId::START));
    let up_to = EventId::new(2);
    process.store.fail_as(Verb::Events, StoreErrorKind::Pruned { up_to });

    let began = Instant::now();
    for _ in 0..3 {
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.responsible()), (StoreErrorKind::Pruned { up_to }, Responsible::Developer));
    }
    assert!(began.elapsed() >= seconds(2), "a plain loop is no busy loop: {:?}", began.elapsed());
    process.store.mend(Verb::Events);
    let told = told(process.auth.event_stream(Some(up_to))).await;

    assert_eq!(told.iter().map(|event| event.id.number()).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(log.lines("an operator must look").len(), 0, "the store is healthy");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_pauses_after_a_failure_ends_with_the_authenticator() {
    let stage = Stage::new().await;
    let process = stage.process();
    let mut stream = process.auth.event_stream(None);
    process.store.fail_as(Verb::Events, StoreErrorKind::Misconfigured);
    for _ in 0..5 {
        assert!(stream.next().await.unwrap().is_err());
    }

    let pausing = tokio::spawn(async move { stream.next().await.is_none() });
    tokio::task::yield_now().await;
    let began = Instant::now();
    process.auth.shutdown().await;

    assert!(pausing.await.unwrap());
    assert!(began.elapsed() < seconds(1));
}

/// The waiting caller is dropped during a read, and another task continues with the stream.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_caller_goes_away_while_it_reads_loses_nothing_and_reads_nothing_twice() {
    for moment in [Moment::Before, Moment::After] {
        let stage = Stage::new().await;
        let process = stage.process();
        stage.opt_in(&process, &acme()).await;
        let mut stream = process.auth.event_stream(Some(EventId::START));
        let read = process.store.hold(Verb::Events, moment);

        assert!(tokio::time::timeout(seconds(1), stream.next()).await.is_err());
        assert!(tokio::time::timeout(seconds(1), stream.next()).await.is_err());
        read.release();
        let told = tokio::spawn(async move { [stream.next().await, stream.next().await] }).await.unwrap();

        let kinds = told.map(|event| event.unwrap().unwrap().kind);
        assert_eq!(kinds, [EventKind::Started, EventKind::Authenticated], "{moment:?}");
        assert_eq!(process.store.calls(Verb::Events), 1, "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_one_for_combinators_and_ends_for_good() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let stream = process.auth.event_stream(Some(EventId::START));

    let mut kinds = stream.map(|event| event.unwrap().kind);
    let first: Vec<_> = kinds.by_ref().take(2).collect().await;
    let waiting = tokio::spawn(async move { (kinds.next().await, kinds.next().await) });
    tokio::task::yield_now().await;
    process.auth.shutdown().await;

    assert_eq!(first, [EventKind::Started, EventKind::Authenticated]);
    assert_eq!(waiting.await.unwrap(), (None, None));
}

/// The process's own events are delivered at once, whether or not they change callers' answers.
#[tokio::test(start_paused = true)]
async fn an_event_of_this_process_is_told_at_once_however_seldom_the_log_is_read() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.feed_interval = seconds(30);
    let process = stage.process_with(|builder| builder.without_keeper().policy(policy));
    let mut stream = process.auth.event_stream(None);
    let nothing = tokio::time::timeout(Duration::from_millis(1), stream.next()).await;
    assert!(nothing.is_err());
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = stream.next().await {
            told.send((event.unwrap().kind, Instant::now())).unwrap();
        }
    });
    let mut expect = async |kind: EventKind| {
        let written = Instant::now();
        let (told, at) = tells.recv().await.unwrap();
        assert_eq!(told, kind);
        assert!(at - written < Duration::from_millis(10), "{kind}: {:?}", at - written);
    };

    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    expect(EventKind::Started).await;
    let query = stage.ups.decline(&trip.url).await;
    process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
    expect(EventKind::Declined).await;
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    expect(EventKind::Started).await;
    stage.ups.fault(Endpoint::Token, Fault::Unavailable, Times::Once);
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
    expect(EventKind::Failed).await;
    stage.opt_in(&process, &acme()).await;
    expect(EventKind::Started).await;
    expect(EventKind::Authenticated).await;
    stage.access_tokens_end();
    process.token(&acme()).await;
    expect(EventKind::Refreshed).await;
    stage.access_tokens_end();
    stage.ups.go_offline().await;
    process.auth.access_token(&acme()).await.unwrap_err();
    expect(EventKind::RefreshFailed).await;
    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    expect(EventKind::Removed).await;
    process.auth.after_restore().await.unwrap();
    expect(EventKind::Restored).await;
}

/// Two authenticators share one store in memory: each receives the other's events at once.
#[tokio::test(start_paused = true)]
async fn an_event_in_the_same_memory_store_is_told_at_once_to_every_authenticator() {
    let stage = Stage::new().await;
    let slow = || stage.process_with_policy(|policy| policy.feed_interval = seconds(30));
    let (one, other) = (slow(), slow());
    let mut stream = other.auth.event_stream(Some(EventId::START));
    let told = tokio::spawn(async move { (stream.next().await.unwrap().unwrap().kind, Instant::now()) });
    tokio::time::sleep(Duration::from_millis(100)).await;

    one.auth.authenticate(&acme(), &ada()).await.unwrap();
    let written = Instant::now();

    let (kind, at) = told.await.unwrap();
    assert_eq!(kind, EventKind::Started);
    assert!(at - written < Duration::from_millis(20), "{:?}", at - written);
}

#[tokio::test(start_paused = true)]
async fn a_warning_of_this_process_is_told_at_once() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.feed_interval = seconds(30);
    policy.keep_alive_before_end = seconds(0);
    let process = stage.process_with(|builder| builder.policy(policy));
    stage.opt_in(&process, &acme()).await;
    let mut stream = process.auth.event_stream(Some(EventId::START));
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    stage.ups.clock().advance(47 * DAY);
    let warn = process.store.hold(Verb::Notify, Moment::After);
    let told = tokio::spawn(async move { (stream.next().await.unwrap().unwrap().kind, Instant::now()) });
    warn.reached().await;
    tokio::task::yield_now().await;
    let written = Instant::now();
    warn.release();

    let (kind, at) = told.await.unwrap();
    assert_eq!(kind, EventKind::ExpiringSoon);
    assert!(at - written < Duration::from_millis(10), "{:?}", at - written);
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
