//! `events`.

use batchsuite_auth::fake_ups::FakeUps;
use batchsuite_tests::{Backend, acme, ada, company, on_each_backend};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::stage::Stage;

on_each_backend!(the_latest_events_are_shown_oldest_first, new_events_are_followed_until_an_interrupt,);

async fn the_latest_events_are_shown_oldest_first(backend: Backend) {
    let stage = Stage::new(backend).await;
    let service = stage.service().await;
    stage.opt_in(&service, &acme(), FakeUps::USER).await;
    stage.opt_in_and_end(&service, &company("bolt")).await;

    let all = stage.run(&["events", "--json"]).await.ended(0).objects();
    let kinds: Vec<_> = all.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["started", "authenticated", "started", "authenticated", "invalidated"]);
    let ids: Vec<_> = all.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted());
    let last = stage.run(&["events", "--json", "--last", "2"]).await.ended(0).objects();
    assert_eq!(last, all[3..]);
    let after = stage.run(&["events", "--json", "--after", &ids[1].to_string()]).await.ended(0).objects();
    assert_eq!(after, all[2..]);
    let beyond = u64::MAX.to_string();
    stage.run(&["events", "--after", &beyond]).await.ended(0).says("No event.");
    assert_eq!(stage.run(&["events", "--json", "--last", &beyond]).await.ended(0).objects(), all);
    let of_acme = stage.run(&["events", "--json", "--company", "acme"]).await.ended(0).objects();
    assert_eq!(of_acme, all[..2]);
    let table = stage.run(&["events"]).await.ended(0).says("EVENT").says("invalidated").says("opt_in_invalidated");
    table.says("by ada");
}

async fn new_events_are_followed_until_an_interrupt(backend: Backend) {
    let stage = Stage::new(backend).await;
    let service = stage.service().await;
    stage.opt_in(&service, &acme(), FakeUps::USER).await;
    let mut all = stage.start(&["events", "--follow"]);
    let mut of_bolt = stage.start(&["events", "--follow", "--json", "--company", "bolt"]);
    all.until("authenticated").await;

    stage.opt_in(&service, &company("bolt"), FakeUps::USER).await;
    stage.opt_in(&service, &company("coil"), FakeUps::USER).await;
    service.remove_auth(&company("bolt"), &ada()).await.unwrap();

    for (name, kind) in [
        ("bolt", "started"),
        ("bolt", "authenticated"),
        ("coil", "started"),
        ("coil", "authenticated"),
        ("bolt", "removed"),
    ] {
        let line = all.line().await.unwrap();
        assert!(line.contains(name) && line.contains(kind), "{kind} of {name}: {line}");
        if name == "bolt" {
            let event: Value = serde_json::from_str(&of_bolt.line().await.unwrap()).unwrap();
            assert_eq!((&event["company"], &event["kind"]), (&json!(name), &json!(kind)));
        }
    }
    all.signal(Signal::INT);
    of_bolt.signal(Signal::TERM);
    let rest = all.ended().await.ended(0);
    assert_eq!(rest.stdout, "");
    assert_eq!(of_bolt.ended().await.ended(0).stdout, "");
}
