//! Remove auth and a new opt-in during a refresh in another process.

use batchsuite_auth::status::Status;
use batchsuite_tests::{Worker, eventually};

use crate::stage::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_flight_brings_home_after_a_removal_is_discarded() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let (flying, other) = (world.worker().await, world.worker().await);
    flying.stop_at("before_commit").await;
    let call = flying.call("acme-0").await;
    flying.is_at("before_commit").await;

    world.remove("acme-0").await;
    flying.go().await;

    assert_eq!(call.wait().await["error"], "not authenticated");
    for worker in [&flying, &other] {
        assert_eq!(worker.token("acme-0").await["error"], "not authenticated");
    }
    assert!(matches!(world.status("acme-0").await, Status::Unauthenticated), "{:?}", world.status("acme-0").await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_flight_brings_home_after_a_new_opt_in_is_discarded() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let (flying, other) = (world.worker().await, world.worker().await);
    flying.stop_at("before_commit").await;
    let call = flying.call("acme-0").await;
    flying.is_at("before_commit").await;

    world.opt_in("acme-0").await;
    flying.go().await;

    let token = call.wait().await;
    world.assert_works(&token);
    assert_eq!(token["version"], 1, "the token is the new opt-in's: {token}");
    assert_eq!(other.token("acme-0").await["token"], token["token"]);
    // The kept refresh token is the new opt-in's.
    world.access_tokens_end(&[&flying, &other]).await;
    world.assert_works(&other.token("acme-0").await);
    assert_eq!(world.rotations(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_between_claim_and_send_leaves_nothing_behind() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let flying = world.worker().await;
    flying.stop_at("before_send").await;
    let call = flying.call("acme-0").await;
    flying.is_at("before_send").await;

    world.remove("acme-0").await;
    world.opt_in("acme-0").await;
    flying.go().await;

    let token = call.wait().await;
    world.assert_works(&token);
    assert_eq!(world.cause("acme-0").await, None);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_removed_opt_in_is_gone_from_every_process() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let workers = world.workers(3).await;
    for worker in &workers {
        world.assert_works(&worker.token("acme-0").await);
    }

    world.remove("acme-0").await;

    for worker in &workers {
        is_gone(worker, "acme-0").await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_read_before_a_removal_is_not_handed_out_after_it() {
    let world = World::new().await;
    world.companies("acme", 2).await;
    let (reader, other) = (world.worker().await, world.worker().await);
    world.assert_works(&other.token("acme-0").await);
    world.assert_works(&reader.token("acme-1").await);
    reader.stop_at("after_load").await;
    let call = reader.call("acme-0").await;
    reader.is_at("after_load").await;

    world.remove("acme-0").await;
    world.remove("acme-1").await;
    // The process knows of the later removal, so it knows of the earlier one.
    is_gone(&reader, "acme-1").await;
    reader.go().await;

    assert_eq!(call.wait().await["error"], "not authenticated");
    assert_eq!(reader.token("acme-0").await["error"], "not authenticated");
    world.end().await;
}

/// Waits until a process stops serving the company's token. It learns of the removal from the feed: the bounded age of
/// 30 s is for processes that cannot read the feed.
async fn is_gone(worker: &Worker, name: &str) {
    let is_gone = async || worker.token(name).await["error"] == "not authenticated";
    eventually("no token is handed out", is_gone).await;
}
