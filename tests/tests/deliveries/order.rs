//! Which events a consumer is told of, and in which order.

use batchsuite_auth::{Event, EventKind};
use batchsuite_tests::{Verb, company, seconds};
use tokio::{sync::mpsc::unbounded_channel, time::sleep};

use crate::stage::{CONSUMER, Notes, Stage, begun, happen};

#[tokio::test(start_paused = true)]
async fn three_processes_deliver_each_event_of_all_once_and_in_order() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(stage.delivering(&notes).await);
    }

    let names: Vec<String> = (0..250).map(|number| format!("company-{number}")).collect();
    for (index, name) in names.iter().enumerate() {
        happen(&processes[index % 3].0, &[name]).await;
    }
    notes.reach(250).await;
    stage.live(seconds(120)).await;

    assert_eq!(notes.companies(), names);
    assert_eq!(notes.overlaps(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_consumer_begins_with_what_happens_next_and_each_has_a_cursor_of_its_own() {
    let stage = Stage::new().await;
    let (mails, billing) = (Notes::default(), Notes::default());
    let process = stage.process();
    happen(&process, &["before"]).await;
    begun(&process, CONSUMER, &mails).await;
    happen(&process, &["acme"]).await;
    mails.reach(1).await;
    begun(&process, "billing", &billing).await;

    happen(&process, &["bolt"]).await;
    mails.reach(2).await;
    billing.reach(1).await;

    assert_eq!((mails.companies(), billing.companies()), (vec!["acme".into(), "bolt".into()], vec!["bolt".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_consumer_goes_on_where_it_was() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    happen(&process, &["acme"]).await;
    notes.reach(1).await;
    process.auth.shutdown().await;
    happen(&stage.process(), &["bolt"]).await;

    let _again = stage.delivering(&notes).await;
    notes.reach(2).await;
    sleep(seconds(60)).await;

    assert_eq!(notes.companies(), ["acme", "bolt"]);
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_a_handler_of_all_events() {
    let stage = Stage::new().await;
    let process = stage.process();
    let (tell, mut told) = unbounded_channel();
    let handler = move |event: Event| {
        let tell = tell.clone();
        async move { Ok(tell.send(event)?) }
    };
    process.auth.deliver(CONSUMER, handler).unwrap().begun().await;

    happen(&process, &["acme"]).await;

    let event = told.recv().await.unwrap();
    assert_eq!((event.kind, event.company), (EventKind::Started, Some(company("acme"))));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_wants_costs_no_write_and_does_not_come_back() {
    let stage = Stage::new().await;
    let notes = Notes::wanting(EventKind::Removed);
    let (process, _) = stage.delivering(&notes).await;
    let names: Vec<String> = (0..200).map(|number| format!("company-{number}")).collect();
    for name in &names {
        happen(&process, &[name]).await;
    }
    sleep(seconds(10)).await;
    let (writes, read) = (process.store.calls(Verb::AdvanceDelivery), process.store.calls(Verb::Events));
    assert!(writes <= 1, "{writes} writes");

    process.auth.shutdown().await;
    let (other, _) = stage.delivering(&notes).await;
    sleep(seconds(1) / 10).await;

    assert!(read >= 2, "the events were read");
    assert_eq!(notes.all(), []);
    assert_eq!(other.store.calls(Verb::Events), 1, "the end of the log is reached at once");
}

#[tokio::test(start_paused = true)]
async fn an_event_has_the_same_id_whenever_it_is_delivered_and_no_other_has_it() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (process, _) = stage.delivering(&notes).await;
    notes.answer([crate::stage::Answer::Fail]);

    happen(&process, &["acme", "acme"]).await;
    notes.reach(3).await;

    let ids: Vec<_> = notes.events().iter().map(Event::stable_id).collect();
    assert_eq!(ids[0], ids[1], "the same event again");
    assert_ne!(ids[1], ids[2]);
    assert!(ids[0].starts_with("cie_1_") && !ids[0].contains('.'), "{ids:?}");
}

#[tokio::test]
async fn a_consumer_needs_a_name() {
    let stage = Stage::new().await;
    let process = stage.process();
    for name in ["", "a\nb", &"x".repeat(129)] {
        assert!(process.auth.deliver(name, Notes::default()).is_err(), "{name:?}");
    }
}
