//! The state of a delivery: which process has it, how far its handler is behind, whether it fails.

use batchsuite_auth::Environment;
use batchsuite_tests::{Hold, seconds};

use crate::stage::{Answer, CONSUMER, Notes, Stage, begun, happen};

#[tokio::test(start_paused = true)]
async fn the_lag_is_the_age_of_the_first_event_that_is_not_done() {
    let (stage, notes, [first, second]) = (Stage::new().await, Notes::default(), [(); 2].map(|()| Hold::default()));
    let (process, delivery) = stage.delivering(&notes).await;
    stage.live(seconds(2)).await;
    let idle = delivery.health();
    assert!(idle.is_here && idle.lag.is_zero() && !idle.handler_fails, "{idle:?}");
    assert_eq!((delivery.consumer(), delivery.environment()), (CONSUMER, Environment::Cie));

    notes.answer([Answer::Wait(first.clone()), Answer::Wait(second.clone())]);
    happen(&process, &["acme"]).await;
    notes.reach(1).await;
    stage.live(seconds(30)).await;
    happen(&process, &["bolt"]).await;
    stage.live(seconds(30)).await;
    let busy = delivery.health();
    assert!((seconds(60)..seconds(63)).contains(&busy.lag) && !busy.handler_fails, "{busy:?}");

    first.release();
    notes.reach(2).await;
    let next = delivery.health();
    assert!((seconds(30)..seconds(33)).contains(&next.lag), "{next:?}");

    second.release();
    stage.live(seconds(2)).await;
    assert!(delivery.health().lag.is_zero(), "{:?}", delivery.health());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_seen_until_it_works_again() {
    let (stage, notes) = (Stage::new().await, Notes::default());
    let (process, delivery) = stage.delivering(&notes).await;
    notes.always(Some(Answer::Fail));
    happen(&process, &["acme"]).await;
    stage.live(seconds(60)).await;
    let failing = delivery.health();
    assert!(failing.handler_fails && failing.lag >= seconds(59), "{failing:?}");

    notes.always(None);
    stage.live(seconds(301)).await;
    let mended = delivery.health();
    assert!(mended.is_here && mended.lag.is_zero() && !mended.handler_fails, "{mended:?}");
}

#[tokio::test(start_paused = true)]
async fn one_process_has_the_delivery_and_none_after_the_handler_gave_it_up() {
    let (stage, notes) = (Stage::new().await, Notes::default());
    let (process, delivery) = stage.delivering(&notes).await;
    let other = stage.process();
    let waiting = begun(&other, CONSUMER, &notes).await;
    stage.live(seconds(5)).await;
    assert!(delivery.health().is_here && !waiting.health().is_here);

    notes.always(Some(Answer::Stop));
    happen(&process, &["acme"]).await;
    stage.live(seconds(120)).await;
    let (ended, waiting) = (delivery.health(), waiting.health());
    assert!(!ended.is_here && !waiting.is_here && ended.lag.is_zero() && !ended.handler_fails, "{ended:?} {waiting:?}");
}
