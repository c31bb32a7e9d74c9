//! Events that a consumer does not see: they were pruned, or cannot be read.

use batchsuite_auth::{
    BatchSuiteAuth, Environment, EventId,
    fake_ups::FakeUps,
    store::{Prune, Store as _},
};
use batchsuite_tests::{ada, company, log::Log, seconds, sqlite::TestFile};
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

/// A process over a file, and its log, of which others write the events.
async fn over_a_file(ups: &FakeUps, file: &TestFile) -> BatchSuiteAuth {
    ups.authenticator().http(ups.in_process()).store(file.store().await).without_keeper().build().unwrap()
}

/// Writes an event for each of these companies. Those of `b` are of a kind that this release does not know.
async fn some_unreadable(auth: &BatchSuiteAuth, file: &TestFile, names: &[&str]) {
    for name in names {
        auth.authenticate(&company(name), &ada()).await.unwrap();
    }
    let later = r#"UPDATE events SET content = '{"kind": "of_a_later_release"}' WHERE company = 'b'"#;
    file.connection().execute(later, []).unwrap();
}

#[tokio::test]
async fn events_that_cannot_be_read_are_a_gap_that_names_them_alone_in_their_order() {
    let (ups, file, notes) = (FakeUps::start().await, TestFile::new(), Notes::default());
    let auth = over_a_file(&ups, &file).await;
    let delivery = auth.deliver(CONSUMER, notes.clone()).unwrap();
    delivery.begun().await;
    some_unreadable(&auth, &file, &["a"]).await;
    notes.reach(1).await;
    delivery.stop().await;
    some_unreadable(&auth, &file, &["b", "b", "c", "b", "d", "b"]).await;
    let (log, _guard) = Log::of_this_test();
    notes.answer([Answer::Fail]);

    let delivery = auth.deliver(CONSUMER, notes.clone()).unwrap();
    notes.reach(7).await;
    delivery.stop().await;

    let told = |note: &Note| match note {
        Note::Event(event) => (event.id.number() - 1, event.id.number()),
        Note::Gap(gap) => (gap.after.number(), gap.up_to.number()),
    };
    assert_eq!(
        notes.all().iter().map(told).collect::<Vec<_>>(),
        [(0, 1), (1, 3), (1, 3), (3, 4), (4, 5), (5, 6), (6, 7)],
        "the first gap is told again"
    );
    let Note::Gap(gap) = &notes.all()[1] else { panic!("{:?}", notes.all()) };
    assert_eq!(gap.to_string(), "events after number 1 up to 3 cannot be read by this release");
    let lines = log.lines("this release cannot read events that this consumer is to see");
    let names = |line: &str| ["ERROR", CONSUMER, "after=1", "up_to=3"].iter().all(|word| line.contains(word));
    assert!(lines.len() == 3 && names(&lines[0]), "{lines:#?}");
    // Each is told once.
    let delivery = auth.deliver(CONSUMER, notes.clone()).unwrap();
    some_unreadable(&auth, &file, &["e"]).await;
    notes.reach(8).await;
    delivery.stop().await;
    assert_eq!(notes.ids().last(), Some(&EventId::new(8)));
    assert_eq!(notes.count(), 8);
}
