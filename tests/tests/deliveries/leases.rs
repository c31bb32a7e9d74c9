//! One process at a time: the lease, and what becomes of it.

use std::time::Duration;

use batchsuite_auth::{EventKind, test_util::simulation};
use batchsuite_tests::{Hold, Moment, Process, Verb, acme, log::Log, opt_in, seconds};
use tokio::time::{Instant, sleep};

use crate::stage::{Answer, CONSUMER, Notes, Stage, begun, happen};

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_a_slow_handler() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    let _other = stage.delivering(&notes).await;
    let work = Hold::default();
    notes.answer([Answer::Wait(work.clone())]);

    happen(&process, &["acme", "bolt"]).await;
    work.reached().await;
    stage.live(seconds(50)).await;
    assert_eq!(log.lines("a handler has worked for long").len(), 0, "the lease was renewed, and no minute has passed");
    stage.live(seconds(550)).await;
    assert_eq!(notes.companies(), ["acme"]);
    work.release();
    notes.reach(2).await;
    stage.live(seconds(120)).await;

    assert_eq!(notes.companies(), ["acme", "bolt"], "each once");
    assert_eq!(log.lines("a handler has worked for long").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_waits_for_a_delivery_has_begun_with_its_first_look() {
    let stage = Stage::new().await;
    let (_first, _delivery) = stage.delivering(&Notes::default()).await;
    let looked = Instant::now();
    let (_second, delivery) = stage.delivering(&Notes::default()).await;
    assert_eq!(looked.elapsed(), Duration::ZERO);
    assert_eq!(format!("{delivery:?}"), "DeliveryHandle { consumer: \"billing-mails\", .. }");
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_the_pauses_of_a_failing_handler() {
    let stage = Stage::new().await;
    let (failing, other) = (Notes::default(), Notes::default());
    let (process, _) = stage.delivering(&failing).await;
    let _other = stage.delivering(&other).await;
    failing.always(Some(Answer::Fail));

    happen(&process, &["acme"]).await;
    stage.live(seconds(900)).await;

    assert!(failing.count() > 5);
    assert_eq!(other.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_loses_the_store_loses_the_delivery_and_the_event_is_repeated() {
    let stage = Stage::new().await;
    let (first, second) = (Notes::default(), Notes::default());
    let (one, _) = stage.delivering(&first).await;
    let (other, _) = stage.delivering(&second).await;
    happen(&one, &["acme"]).await;
    first.reach(1).await;
    sleep(seconds(1)).await;
    one.store.fail(Verb::AdvanceDelivery, Moment::Before);
    one.store.fail(Verb::TakeDelivery, Moment::Before);

    happen(&other, &["bolt", "cog"]).await;
    stage.live(seconds(59)).await;
    assert_eq!((first.companies(), second.count()), (vec!["acme".into(), "bolt".into()], 0));
    stage.live(seconds(35)).await;
    one.store.mend(Verb::AdvanceDelivery);
    one.store.mend(Verb::TakeDelivery);
    stage.live(seconds(120)).await;

    assert_eq!(first.companies(), ["acme", "bolt"], "the one that lost it begins nothing more");
    assert_eq!(second.companies(), ["bolt", "cog"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_works_when_its_delivery_is_lost_is_ended() {
    let stage = Stage::new().await;
    let (first, second) = (Notes::default(), Notes::default());
    let (one, _) = stage.delivering(&first).await;
    let work = Hold::default();
    first.answer([Answer::Wait(work.clone())]);
    happen(&one, &["acme"]).await;
    work.reached().await;
    // As if the process had been stopped past its lease.
    one.store.fail(Verb::AdvanceDelivery, Moment::Before);
    stage.ups.clock().advance(seconds(61));
    let _other = stage.delivering(&second).await;
    second.reach(1).await;

    one.store.mend(Verb::AdvanceDelivery);
    stage.live(seconds(60)).await;
    assert_eq!(first.working(), 0);
    work.release();
    stage.live(seconds(60)).await;
    happen(&one, &["bolt"]).await;
    second.reach(2).await;

    assert_eq!((first.companies(), second.companies()), (vec!["acme".into()], vec!["acme".into(), "bolt".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_unnoticed_is_taken_again_and_the_event_is_not_repeated() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    let work = Hold::default();
    notes.answer([Answer::Wait(work.clone())]);
    happen(&process, &["acme"]).await;
    work.reached().await;
    stage.ups.clock().advance(seconds(61));

    work.release();
    happen(&process, &["bolt"]).await;
    notes.reach(2).await;

    assert_eq!(notes.companies(), ["acme", "bolt"]);
}

/// The delivery has read an event of acme, and does not know it yet.
async fn reading_an_event(process: &Process) -> Hold {
    // The first read of the log is over, and the next is that of the event.
    sleep(seconds(1) / 2).await;
    let read = process.store.hold(Verb::Events, Moment::After);
    happen(process, &["acme"]).await;
    read.reached().await;
    read
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_after_a_lease_that_may_have_ended() {
    let stage = Stage::new().await;
    let (first, second) = (Notes::default(), Notes::default());
    let (one, _) = stage.delivering(&first).await;
    let read = reading_an_event(&one).await;
    let _other = stage.delivering(&second).await;
    stage.live(seconds(100)).await;
    assert_eq!(second.companies(), ["acme"]);

    read.release();
    stage.live(seconds(60)).await;

    assert_eq!(first.count(), 0);
}

/// A simulated machine, for one test.
struct Machine;

impl Machine {
    fn new() -> Self {
        simulation::start(true);
        Self
    }

    /// The machine is suspended: the runtime's clock stands still.
    fn suspend(&self, stage: &Stage, by: Duration) {
        simulation::suspend(by);
        stage.ups.clock().advance(by);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        simulation::start(false);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_after_a_suspension_in_which_the_lease_ended() {
    let (machine, stage) = (Machine::new(), Stage::new().await);
    let (first, second) = (Notes::default(), Notes::default());
    let (one, _) = stage.delivering(&first).await;
    let read = reading_an_event(&one).await;
    machine.suspend(&stage, seconds(61));
    let _other = stage.delivering(&second).await;
    second.reach(1).await;

    read.release();
    stage.live(seconds(5)).await;

    assert_eq!((first.count(), second.companies()), (0, vec!["acme".into()]));
}

#[tokio::test(start_paused = true)]
async fn after_two_thirds_of_a_lease_it_is_renewed_before_an_event_is_handed_over() {
    for (suspended, writes) in [(Duration::from_millis(39_999), 1), (seconds(40), 2)] {
        let (machine, stage) = (Machine::new(), Stage::new().await);
        let notes = Notes::default();
        let (process, _) = stage.delivering(&notes).await;
        let read = process.store.hold(Verb::Events, Moment::After);
        happen(&process, &["acme"]).await;
        read.reached().await;
        let before = process.store.calls(Verb::AdvanceDelivery);
        machine.suspend(&stage, suspended);

        let released = Instant::now();
        read.release();
        notes.reach(1).await;
        assert!(released.elapsed() < seconds(1), "the renewal delays nothing");
        sleep(seconds(1) / 10).await;

        assert_eq!(process.store.calls(Verb::AdvanceDelivery) - before, writes, "{suspended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_a_long_row_of_events_that_nobody_wants() {
    let stage = Stage::new().await;
    let notes = Notes::wanting(EventKind::Removed);
    let process = stage.process();
    let names: Vec<String> = (0..3_000).map(|number| format!("company-{number}")).collect();
    let delivery = begun(&process, CONSUMER, &notes).await;
    let read = process.store.hold(Verb::Events, Moment::Before);
    read.reached().await;
    happen(&process, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let before = process.store.calls(Verb::AdvanceDelivery);
    // A hundred are read at once, in a second.
    process.store.set_distance(seconds(1));

    read.release();
    sleep(seconds(25)).await;

    assert_eq!(process.store.calls(Verb::AdvanceDelivery) - before, 1);
    drop(delivery);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_delivered_meanwhile_is_not_repeated() {
    let stage = Stage::new().await;
    let (first, second) = (Notes::default(), Notes::default());
    let (one, _) = stage.delivering(&first).await;
    let work = Hold::default();
    first.answer([Answer::Wait(work.clone())]);
    happen(&one, &["acme", "bolt"]).await;
    work.reached().await;
    // As if the process had been stopped past its lease.
    stage.ups.clock().advance(seconds(61));
    let (other, _) = stage.delivering(&second).await;
    second.reach(2).await;
    assert!(other.auth.shutdown().await.is_complete());

    work.release();
    stage.live(seconds(60)).await;
    happen(&one, &["cog"]).await;
    first.reach(2).await;

    assert_eq!(
        (first.companies(), second.companies()),
        (vec!["acme".into(), "cog".into()], vec!["acme".into(), "bolt".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_skips_no_event() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    let writer = stage.process();
    let mut expected = Vec::new();
    for name in ["acme", "bolt", "cog", "dot"] {
        process.store.go_away();
        happen(&writer, &[name]).await;
        stage.live(seconds(100)).await;
        process.store.come_back();
        expected.push(name.to_owned());
        notes.reach(expected.len()).await;
    }

    assert_eq!(notes.companies(), expected);
    let lines = [log.lines("the store fails"), log.lines("the store works again")]
        .map(|lines| lines.iter().filter(|line| line.contains("reading events to deliver")).count());
    assert_eq!(lines, [4, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_whose_move_got_no_answer_is_moved_again_and_the_event_is_not_repeated() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    process.store.fail_once(Verb::AdvanceDelivery, Moment::After);
    process.store.fail_once(Verb::Events, Moment::After);

    opt_in(&process.auth, &stage.ups, &acme()).await;
    notes.reach(2).await;
    stage.live(seconds(60)).await;

    assert_eq!(notes.count(), 2);
}
