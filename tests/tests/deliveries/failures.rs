//! A handler that fails: it is given the same event again, and delays nothing but its own delivery.

use batchsuite_auth::HandlerError;
use batchsuite_auth::{Event, fake_ups::FakeUps};
use batchsuite_tests::{Hold, acme, ada, company, log::Log, opt_in, seconds};
use tokio::time::{Instant, sleep};

use crate::stage::{Answer, CONSUMER, Notes, Stage, begun, happen};

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_given_the_same_event_again_and_no_later_one_before() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    notes.answer([Answer::Fail, Answer::Panic, Answer::Fail]);

    happen(&process, &["acme", "bolt"]).await;
    notes.reach(5).await;

    assert_eq!(notes.companies(), ["acme", "acme", "acme", "acme", "bolt"]);
}

#[tokio::test(start_paused = true)]
async fn the_pauses_grow_to_five_minutes() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    notes.always(Some(Answer::Fail));

    happen(&process, &["acme"]).await;
    let (mut count, mut pauses) = (1, Vec::new());
    notes.reach(1).await;
    for _ in 0..11 {
        let before = Instant::now();
        count += 1;
        while notes.count() < count {
            sleep(seconds(1) / 10).await;
        }
        pauses.push(before.elapsed().as_secs_f64());
    }

    for (index, pause) in pauses.iter().enumerate() {
        let full = (1 << index).min(300) as f64;
        assert!((full * 0.7..=full + 0.5).contains(pause), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_ask_for_a_longer_pause() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    notes.answer([Answer::RetryAfter(seconds(900))]);
    happen(&process, &["acme"]).await;
    notes.reach(1).await;

    sleep(seconds(899)).await;
    assert_eq!(notes.count(), 1);
    sleep(seconds(2)).await;
    assert_eq!(notes.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_log_has_one_line_when_a_handler_begins_to_fail_and_one_when_it_works_again() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    for _ in 0..2 {
        notes.answer([Answer::Fail, Answer::Fail, Answer::Panic]);
        let before = notes.count();
        happen(&process, &["acme"]).await;
        notes.reach(before + 4).await;
        sleep(seconds(1)).await;
    }

    let [fails, works] = [log.lines("a handler fails"), log.lines("the handler works again")];
    assert_eq!((fails.len(), works.len()), (2, 2), "{fails:#?} {works:#?}");
    assert!(fails[0].contains(CONSUMER) && fails[0].contains("the mail server is away"), "{fails:#?}");
    assert!(fails[0].contains("event 1 (started)"), "{fails:#?}");
    assert!(works[0].contains("failures=3"), "{works:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_or_hangs_for_an_hour_delays_no_refresh_and_no_other_consumer() {
    let stage = Stage::new().await;
    let (dead, hung, healthy) = (Notes::default(), Notes::default(), Notes::default());
    let process = stage.process();
    dead.always(Some(Answer::Fail));
    let hold = Hold::default();
    hung.always(Some(Answer::Wait(hold.clone())));
    for (consumer, notes) in [("dead", &dead), ("hung", &hung), ("healthy", &healthy)] {
        begun(&process, consumer, notes).await;
    }
    opt_in(&process.auth, &stage.ups, &acme()).await;

    for hour in 0..2 {
        let begun = Instant::now();
        stage.ups.clock().advance(seconds(3600));
        process.token(&acme()).await;
        assert!(begun.elapsed() < seconds(1), "a refresh takes no longer");
        happen(&process, &["other"]).await;
        healthy.reach(2 + (hour + 1) * 2).await;
        assert!(begun.elapsed() < seconds(2), "the other consumer is told at once");
        stage.live(seconds(1800)).await;
    }
    assert!(dead.ids().iter().all(|id| *id == dead.ids()[0]), "no event overtakes the one that fails");
    dead.always(None);
    hung.always(None);
    hold.release();
    stage.live(seconds(301)).await;

    let events = healthy.ids();
    assert_eq!(hung.ids(), events, "each once");
    assert_eq!(dead.ids()[dead.count() - events.len()..], events, "and none is lost");
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_use_the_authenticator() {
    let stage = Stage::new().await;
    let process = stage.process();
    let auth = process.auth.clone();
    let delivery = process
        .auth
        .deliver(CONSUMER, move |event: Event| {
            let auth = auth.clone();
            async move {
                auth.status(event.company.as_ref().unwrap()).await?;
                Ok(())
            }
        })
        .unwrap();
    delivery.begun().await;
    opt_in(&process.auth, &stage.ups, &company("acme")).await;
    stage.ups.change_password(FakeUps::USER);
    process.auth.remove_auth(&acme(), &ada()).await.unwrap();

    assert!(process.auth.shutdown().await.is_complete());
}

#[test]
fn an_error_of_a_handler_is_shown_with_its_causes() {
    let error = HandlerError::from(std::io::Error::other("no route to the mail server"));
    assert_eq!(error.to_string(), "no route to the mail server");
    assert_eq!(format!("{error:?}"), error.to_string());
}
