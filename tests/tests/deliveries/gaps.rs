//! Events that were pruned before a consumer saw them.

use batchsuite_auth::{
    Environment, EventId,
    store::{Prune, Store as _},
};
use batchsuite_tests::{log::Log, seconds};
use tokio::time::sleep;

use crate::stage::{Answer, CONSUMER, Note, Notes, Stage, happen};

/// Three events that the consumer has not seen, two of which an operator prunes.
async fn with_a_gap(stage: &Stage) {
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    happen(&process, &["seen"]).await;
    notes.reach(1).await;
    process.auth.shutdown().await;
    let writer = stage.process();
    happen(&writer, &["lost", "lost"]).await;
    stage.ups.clock().advance(seconds(3600));
    happen(&writer, &["kept"]).await;
    let prune = Prune { environment: Environment::Cie, older_than: seconds(60), limit: 100, undelivered: true };
    assert_eq!(stage.store.prune(prune).await.unwrap().events, 3);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_an_error_that_names_the_missing_events_and_the_delivery_goes_on_after_it() {
    let stage = Stage::new().await;
    with_a_gap(&stage).await;
    let (log, _guard) = Log::of_this_test();
    let notes = Notes::default();

    let (process, _) = stage.delivering(&notes).await;
    notes.reach(2).await;

    let all = notes.all();
    let Note::Gap(gap) = &all[0] else { panic!("{all:?}") };
    assert_eq!((gap.after, gap.up_to), (EventId::new(1), EventId::new(3)));
    assert_eq!(gap.to_string(), "events after number 1 up to 3 were pruned");
    assert_eq!(notes.companies(), ["kept"]);
    let lines = log.lines("events were pruned that this consumer has not seen");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let names = |line: &str| ["ERROR", CONSUMER, "after=1", "up_to=3"].iter().all(|word| line.contains(word));
    assert!(names(&lines[0]), "{lines:#?}");
    // The gap is told once.
    process.auth.shutdown().await;
    let _again = stage.delivering(&notes).await;
    sleep(seconds(60)).await;
    assert_eq!(notes.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_after_a_gap_comes_before_the_handler_has_taken_note_of_it() {
    let stage = Stage::new().await;
    with_a_gap(&stage).await;
    let notes = Notes::default();
    notes.answer([Answer::Fail, Answer::Panic]);

    let _again = stage.delivering(&notes).await;
    notes.reach(4).await;

    let gaps = notes.all().iter().map(|note| matches!(note, Note::Gap(_))).collect::<Vec<_>>();
    assert_eq!(gaps, [true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn pruning_keeps_the_events_that_a_delivery_has_not_passed() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    notes.always(Some(Answer::Fail));
    let (process, _) = stage.delivering(&notes).await;
    happen(&process, &["acme", "bolt"]).await;
    stage.ups.clock().advance(seconds(3600));

    assert_eq!(process.auth.prune_events(seconds(60)).await.unwrap(), 0);
    notes.always(None);
    sleep(seconds(300)).await;

    assert_eq!(process.auth.prune_events(seconds(60)).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn pruning_on_request_deletes_what_a_delivery_has_not_passed_and_it_is_told_of_the_gap() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    notes.always(Some(Answer::Fail));
    let (process, _) = stage.delivering(&notes).await;
    happen(&process, &["acme", "bolt"]).await;
    stage.ups.clock().advance(seconds(3600));

    assert_eq!(process.auth.prune_undelivered_events(seconds(7200)).await.unwrap(), 0, "they are younger");
    assert_eq!(process.auth.prune_undelivered_events(seconds(60)).await.unwrap(), 2);
    notes.always(None);
    sleep(seconds(300)).await;

    assert!(notes.all().iter().any(|note| matches!(note, Note::Gap(_))), "{:?}", notes.all());
}
