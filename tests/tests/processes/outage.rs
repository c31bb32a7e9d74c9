//! The database restarts, is unavailable, or is cut off during a commit.

use std::time::Duration;

use batchsuite_auth::{events::EventKind, machine::CauseKind};
use batchsuite_tests::{Worker, eventually, wire::Wire};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::stage::{World, own_server};

/// A process waits this long for UPS's answer. An answer that it cannot read in time counts as unanswered.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_during_flights_loses_no_opt_in() {
    for _ in 0..5 {
        if restarted_during_flights().await {
            return;
        }
    }
    panic!("the server never stopped within the time that a process waits for an answer");
}

/// Returns whether UPS's answers were held until the server was stopped. On a busy machine that can take too long.
async fn restarted_during_flights() -> bool {
    let server = own_server();
    let world = World::on(server).await;
    world.companies("acme", 200).await;
    world.companies("late", 20).await;
    let post = world.post().await;
    let workers = [world.worker_by_way_of(&post).await, world.worker_by_way_of(&post).await];
    let each = |prefix: &str, companies: usize| json!({"do": "each", "company": prefix, "companies": companies});

    // UPS's answers arrive while the server is stopped. No flight has ended by then, and each holds a pair that it
    // cannot store.
    post.hold_answers();
    let held_since = Instant::now();
    let flights = join_all(workers.iter().map(|worker| worker.begin(each("acme", 200)))).await;
    eventually("flights are under way", async || world.rotations() > 20).await;
    tokio::task::block_in_place(|| server.stop());
    for worker in &workers {
        assert_eq!(worker.ask(json!({"do": "gaps"})).await["microseconds"], json!([]), "a flight has ended");
    }
    post.deliver();
    let is_in_time = held_since.elapsed() < DEADLINE / 2;
    let late = join_all(workers.iter().map(|worker| worker.ask(each("late", 20)))).await;
    tokio::task::block_in_place(|| server.start_again());
    let during = join_all(flights.into_iter().map(|flight| flight.wait())).await;
    if !is_in_time {
        world.end().await;
        return false;
    }

    assert!(late.iter().all(|answer| answer["tokens"] == json!({})), "the server was available: {late:?}");
    let answers = late.iter().chain(&during);
    let errors: Vec<_> = answers.flat_map(|answer| answer["errors"].as_object().unwrap().keys()).collect();
    assert!(!errors.is_empty(), "the restart interrupted no flight");
    assert!(errors.iter().all(|error| error.contains("transient")), "{errors:?}");
    // A claim with an unknown outcome ends with its lease.
    world.leases_end(&[&workers[0], &workers[1]]).await;
    for (prefix, companies) in [("acme", 200), ("late", 20)] {
        for answer in join_all(workers.iter().map(|worker| worker.each(prefix, companies))).await {
            assert_eq!(answer["errors"], json!({}));
            let tokens = answer["tokens"].as_object().unwrap();
            assert_eq!(tokens.len(), companies);
            tokens.keys().for_each(|token| world.assert_works(&json!({"token": token})));
        }
    }
    assert_eq!((world.rotations(), world.refreshes()), (220, 220), "each token was sent once");
    world.end().await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_is_kept_while_the_database_is_away_and_stored_over_a_verdict() {
    let server = own_server();
    let world = World::on(server).await;
    world.companies("acme", 1).await;
    let (holder, other) = (world.worker().await, world.worker().await);
    holder.stop_at("before_commit").await;
    let call = holder.call("acme-0").await;
    holder.is_at("before_commit").await;
    world.leases_end(&[&holder, &other]).await;
    assert_eq!(other.token("acme-0").await["cause"], "RotationLost");
    assert_eq!(world.cause("acme-0").await, Some(CauseKind::RotationLost));

    tokio::task::block_in_place(|| server.stop());
    fails_to_commit(&holder).await;
    tokio::task::block_in_place(|| server.start_again());
    holder.go().await;

    world.assert_works(&call.wait().await);
    assert_eq!(world.cause("acme-0").await, None);
    assert!(world.events("acme-0").await.contains(&EventKind::Recovered));
    assert_eq!(world.rotations(), 1);
    world.end().await;
}

/// Lets a stopped process fail several times to store the pair. It stops again after the last try.
async fn fails_to_commit(process: &Worker) {
    // The first try saves; later tries first read whether the save took effect.
    for point in ["after_commit", "after_load", "after_load"] {
        process.stop_at(point).await;
        process.go().await;
        process.is_at(point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_which_nobody_knows_whether_it_happened_is_found_stored() {
    const COMPANIES: usize = 10;
    let server = own_server();
    let world = World::on(server).await;
    world.companies("acme", COMPANIES).await;
    let wire = Wire::before(server).await;
    let worker = world.worker_at(&wire.url()).await;

    for index in 0..COMPANIES {
        let name = format!("acme-{index}");
        worker.stop_at("before_commit").await;
        let call = worker.call(&name).await;
        worker.is_at("before_commit").await;
        // The cut must hit the commit itself, not its preparation or another concurrent statement.
        wire.swallow_answers_to(Some("save_and_replace"));
        worker.go().await;
        is_refreshed(&world, &name).await;
        wire.swallow_answers_to(None);

        // The process got no answer, so it asks again.
        for token in [call.wait().await, worker.token(&name).await] {
            world.assert_works(&token);
            assert_eq!(token["version"], 2, "{token}");
        }
        let stored = world.events(&name).await.into_iter().filter(|kind| *kind == EventKind::Refreshed).count();
        assert_eq!(stored, 1, "the pair was stored once");
    }

    assert_eq!(wire.swallowed(), COMPANIES, "each cut hit a commit");
    assert_eq!((world.rotations(), world.refreshes()), (COMPANIES as u64, COMPANIES as u64));
    world.end().await;
}

/// Waits until the refresh is stored.
async fn is_refreshed(world: &World, name: &str) {
    eventually("the refresh is stored", async || world.events(name).await.contains(&EventKind::Refreshed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_until_the_pair_is_stored() {
    let server = own_server();
    let world = World::on(server).await;
    world.companies("acme", 1).await;
    let (leaving, other) = (world.worker().await, world.worker().await);
    leaving.stop_at("before_commit").await;
    let _ = leaving.call("acme-0").await;
    leaving.is_at("before_commit").await;
    tokio::task::block_in_place(|| server.stop());
    let mut shutdown = leaving.begin(json!({"do": "shutdown"})).await;
    fails_to_commit(&leaving).await;
    assert!(!shutdown.is_told(), "it did not wait");

    tokio::task::block_in_place(|| server.start_again());
    leaving.go().await;
    shutdown.wait().await;
    leaving.kill().await;

    world.assert_works(&other.token("acme-0").await);
    assert_eq!((world.rotations(), world.refreshes()), (1, 1));
    world.end().await;
}
