//! The end of a delivery in a process.

use std::sync::{Arc, OnceLock};

use batchsuite_auth::{DeliveryEnded, DeliveryHandle, Event, Shutdown};
use batchsuite_tests::{Hold, Verb, acme, log::Log, opt_in, seconds};
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{Answer, CONSUMER, Notes, Stage, begun, happen};

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_event_in_progress_and_gives_the_lease_back_at_once() {
    let stage = Stage::new().await;
    let (first, second) = (Notes::default(), Notes::default());
    let (one, delivery) = stage.delivering(&first).await;
    let work = Hold::default();
    first.answer([Answer::Wait(work.clone())]);
    happen(&one, &["acme", "bolt"]).await;
    work.reached().await;

    let auth = one.auth.clone();
    let shutdown = tokio::spawn(async move { auth.shutdown().await });
    sleep(seconds(5)).await;
    assert!(!shutdown.is_finished());
    work.release();
    assert_eq!(shutdown.await.unwrap(), Shutdown::Complete);
    assert_eq!(delivery.ended().await, DeliveryEnded::Stopped);

    // The wall clock has not moved: the lease would still run.
    let _other = stage.delivering(&second).await;
    second.reach(1).await;
    assert_eq!((first.companies(), second.companies()), (vec!["acme".into()], vec!["bolt".into()]));
}

#[tokio::test(start_paused = true)]
async fn quiesce_hands_the_delivery_to_another_process() {
    let stage = Stage::new().await;
    let (first, second) = (Notes::default(), Notes::default());
    let (one, delivery) = stage.delivering(&first).await;
    let _other = stage.delivering(&second).await;
    opt_in(&one.auth, &stage.ups, &acme()).await;
    first.reach(2).await;

    one.auth.quiesce();
    delivery.ended().await;
    let begun = Instant::now();
    happen(&one, &["bolt"]).await;
    second.reach(1).await;

    assert!(begun.elapsed() <= seconds(30));
    assert_eq!((first.count(), second.companies()), (2, vec!["bolt".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_a_failure_does_not_delay_the_end() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    notes.always(Some(Answer::RetryAfter(seconds(3600))));
    let (process, _) = stage.delivering(&notes).await;
    happen(&process, &["acme"]).await;
    notes.reach(1).await;

    let begun = Instant::now();
    assert!(process.auth.shutdown().await.is_complete());

    assert!(begun.elapsed() < seconds(1));
    notes.always(None);
    let _again = stage.delivering(&notes).await;
    notes.reach(2).await;
    assert_eq!(notes.companies(), ["acme", "acme"], "the event was not passed over");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_can_be_stopped_alone() {
    let stage = Stage::new().await;
    let (stopped, other) = (Notes::default(), Notes::default());
    let (process, delivery) = stage.delivering(&stopped).await;
    begun(&process, "other", &other).await;

    assert_eq!(delivery.stop().await, DeliveryEnded::Stopped);
    happen(&process, &["acme"]).await;
    other.reach(1).await;
    sleep(seconds(60)).await;

    assert_eq!(stopped.count(), 0);
    begun(&process, CONSUMER, &stopped).await;
    stopped.reach(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_end_its_delivery_and_the_event_waits_for_the_next_one() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let notes = Notes::default();
    notes.answer([Answer::Stop]);
    let (process, delivery) = stage.delivering(&notes).await;

    happen(&process, &["acme"]).await;

    assert_eq!(delivery.ended().await, DeliveryEnded::GivenUp);
    sleep(seconds(600)).await;
    assert_eq!(notes.count(), 1);
    let lines = log.lines("a handler ends its delivery");
    assert!(lines.len() == 1 && lines[0].contains("nobody listens any more"), "{lines:#?}");
    begun(&process, CONSUMER, &notes).await;
    notes.reach(2).await;
    assert_eq!(notes.companies(), ["acme", "acme"]);
}

/// It would wait for itself, with the lease, for ever.
#[tokio::test(start_paused = true)]
async fn a_handler_can_stop_its_own_delivery() {
    let stage = Stage::new().await;
    let process = stage.process();
    let own = Arc::new(OnceLock::<DeliveryHandle>::new());
    let given = Arc::clone(&own);
    let stops = move |_: Event| {
        let own = Arc::clone(&given);
        async move {
            assert_eq!(own.get().unwrap().stop().await, DeliveryEnded::Stopped);
            Ok(())
        }
    };
    let delivery = own.get_or_init(|| process.auth.deliver(CONSUMER, stops).unwrap());
    delivery.begun().await;

    happen(&process, &["acme", "bolt"]).await;

    let ended = timeout(seconds(60), delivery.ended()).await;
    assert_eq!(ended, Ok(DeliveryEnded::Stopped));
    let notes = Notes::default();
    begun(&process, CONSUMER, &notes).await;
    notes.reach(1).await;
    assert_eq!(notes.companies(), ["bolt"], "the event that was in progress is done");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_ends_with_the_last_handle_of_its_authenticator() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, delivery) = stage.delivering(&notes).await;
    happen(&process, &["acme"]).await;
    notes.reach(1).await;
    let store = std::sync::Arc::downgrade(&process.store);

    drop(process);
    assert_eq!(delivery.ended().await, DeliveryEnded::Stopped);

    drop(delivery);
    sleep(seconds(60)).await;
    assert!(store.upgrade().is_none(), "the store is released");
    let _again = stage.delivering(&notes).await;
    sleep(seconds(5)).await;
    assert_eq!(notes.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_begun_after_the_shutdown_delivers_nothing() {
    let stage = Stage::new().await;
    let process = stage.process();
    process.auth.shutdown().await;

    let delivery = process.auth.deliver(CONSUMER, Notes::default()).unwrap();

    delivery.begun().await;
    assert_eq!(delivery.ended().await, DeliveryEnded::Stopped);
    assert_eq!(process.store.calls(Verb::TakeDelivery), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_long_for_a_store_that_is_away() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    process.store.hang(Verb::AdvanceDelivery);

    let begun = Instant::now();
    assert!(process.auth.shutdown().await.is_complete());

    assert!(begun.elapsed() <= seconds(15), "{:?}", begun.elapsed());
}
