//! The database restarts, is away, or is cut off in the middle of a commit.

use std::time::Duration;

use batchsuite_auth::{events::EventKind, machine::CauseKind};
use batchsuite_tests::postgres::{Log, Server};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    proxy::Proxy,
    stage::{World, eventually},
};

/// A server that a test may stop: nobody else is on it.
fn own_server() -> &'static Server {
    Box::leak(Box::new(Server::start(Log::Normal)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_during_flights_loses_no_opt_in() {
    let server = own_server();
    let world = World::on(server).await;
    world.companies("acme", 200).await;
    let workers = world.workers(2).await;
    let order = json!({"do": "each", "company": "acme", "companies": 200});

    let flights = join_all(workers.iter().map(|worker| worker.begin(order.clone()))).await;
    eventually("flights are under way", || world.refreshes() > 20).await;
    tokio::task::block_in_place(|| {
        server.stop();
        server.start_again();
    });
    let during = join_all(flights.into_iter().map(|flight| flight.wait())).await;

    let failed = |text: &str| text.contains("reauth") || text.contains("not authenticated");
    for answer in &during {
        let errors = answer["errors"].as_object().unwrap();
        assert!(!errors.keys().any(|error| failed(error)), "{errors:?}");
    }
    // A claim of which nobody knows whether it was taken ends with its lease.
    world.leases_end(&[&workers[0], &workers[1]]).await;
    for answer in join_all(workers.iter().map(|worker| worker.ask(order.clone()))).await {
        assert_eq!(answer["errors"], json!({}));
        let tokens = answer["tokens"].as_object().unwrap();
        assert_eq!(tokens.len(), 200);
        tokens.keys().for_each(|token| world.assert_works(&json!({"token": token})));
    }
    assert_eq!((world.rotations(), world.refreshes()), (200, 200), "each token was sent once");
    world.end().await;
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
    holder.go().await;
    // Some tries to store it fail.
    sleep(Duration::from_millis(300)).await;
    tokio::task::block_in_place(|| server.start_again());

    world.assert_works(&call.wait().await);
    assert_eq!(world.cause("acme-0").await, None);
    assert!(world.events("acme-0").await.contains(&EventKind::Recovered));
    assert_eq!(world.rotations(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_which_nobody_knows_whether_it_happened_is_found_stored() {
    let server = own_server();
    let world = World::on(server).await;
    world.companies("acme", 1).await;
    let proxy = Proxy::before(server).await;
    let worker = world.worker_at(&proxy.url()).await;
    worker.stop_at("before_commit").await;
    let call = worker.call("acme-0").await;
    worker.is_at("before_commit").await;

    proxy.swallow_answers(true);
    worker.go().await;
    // Once it is in the log, the commit has happened and its answer was swallowed.
    for _ in 0..500 {
        if world.events("acme-0").await.contains(&EventKind::Refreshed) {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    proxy.swallow_answers(false);

    let token = call.wait().await;
    world.assert_works(&token);
    assert_eq!(token["version"], 2);
    let stored = world.events("acme-0").await.into_iter().filter(|kind| *kind == EventKind::Refreshed).count();
    assert_eq!(stored, 1, "the pair was stored once");
    assert_eq!((world.rotations(), world.refreshes()), (1, 1));
    world.end().await;
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
    let shutdown = leaving.begin(json!({"do": "shutdown"})).await;
    leaving.go().await;
    sleep(Duration::from_millis(300)).await;

    tokio::task::block_in_place(|| server.start_again());
    shutdown.wait().await;
    leaving.kill().await;

    world.assert_works(&other.token("acme-0").await);
    assert_eq!((world.rotations(), world.refreshes()), (1, 1));
    world.end().await;
}
