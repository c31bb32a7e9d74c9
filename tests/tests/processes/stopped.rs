//! A process that is stopped (SIGSTOP) and goes on later, when others have taken over.

use std::time::Duration;

use batchsuite_auth::{events::EventKind, machine::CauseKind};
use tokio::time::sleep;

use crate::stage::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_past_its_lease_with_the_pair_in_hand_it_recovers_the_opt_in() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let (stopped, other) = (world.worker().await, world.worker().await);
    stopped.stop_at("before_commit").await;
    let call = stopped.call("acme-0").await;
    stopped.is_at("before_commit").await;
    stopped.freeze();
    world.leases_end(&[&other]).await;
    // The false alarm that cannot be avoided: nobody else can know that the pair still lives.
    assert_eq!(other.token("acme-0").await["cause"], "RotationLost");

    stopped.thaw();
    stopped.go().await;

    world.assert_works(&call.wait().await);
    world.assert_works(&other.token("acme-0").await);
    assert_eq!(world.cause("acme-0").await, None, "no false alarm is left");
    assert!(world.events("acme-0").await.contains(&EventKind::Recovered));
    assert_eq!(world.rotations(), 1);
    world.access_tokens_end(&[&stopped, &other]).await;
    world.assert_works(&other.token("acme-0").await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_between_claim_and_send_it_sends_nothing_when_it_goes_on() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let (stopped, other) = (world.worker().await, world.worker().await);
    stopped.stop_at("after_claim").await;
    let call = stopped.call("acme-0").await;
    stopped.is_at("after_claim").await;
    stopped.freeze();
    world.leases_end(&[&other]).await;
    let token = other.token("acme-0").await;
    world.assert_works(&token);
    // The age of a claim is judged by a clock that nobody moves.
    sleep(Duration::from_secs(3)).await;

    stopped.thaw();
    stopped.go().await;

    assert_eq!(call.wait().await["token"], token["token"]);
    assert_eq!((world.rotations(), world.refreshes()), (1, 1), "the spent token was not sent");
    assert_eq!(world.cause("acme-0").await, None);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_refusal_writes_nothing_while_the_pair_of_another_travels() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let (stalled, other) = (world.worker().await, world.worker().await);
    stalled.stop_at("before_send").await;
    let late = stalled.call("acme-0").await;
    stalled.is_at("before_send").await;
    world.leases_end(&[&stalled, &other]).await;
    other.stop_at("before_commit").await;
    let probe = other.call("acme-0").await;
    other.is_at("before_commit").await;

    stalled.go().await;
    eventually("UPS refuses the late one", || world.refreshes() == 2).await;
    // It has heard the refusal, and had the time to write a verdict that it must not write.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.cause("acme-0").await, None, "no verdict from whoever lost the row");
    other.go().await;

    world.assert_works(&probe.wait().await);
    world.assert_works(&late.wait().await);
    assert_eq!(world.cause("acme-0").await, None);
    assert!(!world.events("acme-0").await.contains(&EventKind::Invalidated));
    assert_eq!(world.rotations(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_nobody_caused_is_still_told_as_a_password_change() {
    let world = World::new().await;
    world.companies("acme", 1).await;
    let worker = world.worker().await;
    world.ups.revoke("demo@example.com");

    assert_eq!(worker.token("acme-0").await["cause"], "OptInInvalidated");

    assert_eq!(world.cause("acme-0").await, Some(CauseKind::OptInInvalidated));
}
