//! A process that is stopped (SIGSTOP) and continues after others have taken over.

use std::time::Duration;

use batchsuite_auth::{events::EventKind, machine::CauseKind};
use batchsuite_tests::Worker;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::stage::World;

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
    // An unavoidable false alarm: no other process can know that the pair still exists.
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
    // The age of a claim is measured by a clock that the test cannot move.
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
    let post = world.post().await;
    let (stalled, other) = (world.worker_by_way_of(&post).await, world.worker().await);
    post.hold_requests();
    let late = stalled.call("acme-0").await;
    post.holds_a_request().await;
    world.leases_end(&[&stalled, &other]).await;
    other.stop_at("before_commit").await;
    let probe = other.call("acme-0").await;
    other.is_at("before_commit").await;

    stalled.stop_at("after_load").await;
    post.deliver();
    // It has received the refusal and reads whether the row is still its own. It must not write the verdict.
    stalled.is_at("after_load").await;
    assert_eq!(world.refreshes(), 2);
    assert_eq!(world.cause("acme-0").await, None, "no verdict from the process that lost the row");
    stalled.go().await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_arrive_while_it_is_stopped_are_read_before_any_deadline_is_judged() {
    // The default durations, scaled: 0.6 s to connect, 2.5 s per request, 3.7 s around it, and a lease of 7.5 s. The
    // second client has a later deadline of its own, so that only the outer one could cut.
    for own_deadline in [None, Some(Duration::from_secs(5))] {
        let (world, process, told) = answered_while_stopped(own_deadline).await;

        assert_eq!(told["errors"], json!({}), "{own_deadline:?}: {told}");
        assert_eq!(told["tokens"].as_object().unwrap().len(), COMPANIES as usize, "{own_deadline:?}");
        for index in 0..COMPANIES {
            let name = format!("acme-{index}");
            assert_eq!(world.cause(&name).await, None, "{own_deadline:?}: {name}");
            assert!(!world.events(&name).await.contains(&EventKind::RefreshUnanswered), "{own_deadline:?}: {name}");
        }
        assert_eq!((world.refreshes(), world.rotations()), (COMPANIES, COMPANIES), "{own_deadline:?}");
        // UPS accepts the stored tokens.
        world.access_tokens_end(&[&process]).await;
        let told = process.ask(json!({"do": "each", "company": "acme", "companies": COMPANIES})).await;
        assert_eq!(told["errors"], json!({}), "{own_deadline:?}: {told}");
        world.end().await;
    }
}

const COMPANIES: u64 = 20;
/// The deadline of a whole request in a process that is eight times as fast as the default.
const DEADLINE: Duration = Duration::from_millis(2500);

/// After it continues, a process reads for at least this long before it judges deadlines.
const TIME_TO_READ: Duration = Duration::from_millis(500);

/// A process stopped after UPS had answered all its requests and before any deadline, and the answers for its callers
/// when it continues long afterwards.
async fn answered_while_stopped(own_deadline: Option<Duration>) -> (World, Worker, Value) {
    let mut more_tries = 2;
    // On a busy machine a deadline may pass before the process is stopped; then another process is used. If a continued
    // process read for longer than the minimum, its errors count only after several tries.
    for _ in 0..20 {
        let world = World::new().await;
        world.companies("acme", COMPANIES as usize).await;
        let post = world.post().await;
        let process = world.hurried_worker(&post, 8, own_deadline).await;
        post.hold_answers();
        let begun = Instant::now();
        let callers = process.begin(json!({"do": "each", "company": "acme", "companies": COMPANIES})).await;
        while world.rotations() < COMPANIES && begun.elapsed() < DEADLINE {
            sleep(Duration::from_millis(1)).await;
        }
        process.freeze();
        if world.rotations() < COMPANIES || begun.elapsed() >= DEADLINE {
            continue;
        }

        // Longer than every deadline, and shorter than the lease.
        post.deliver();
        sleep(Duration::from_secs(5)).await;
        process.thaw();
        let goes_on = Instant::now();

        let told = callers.wait().await;
        if told["errors"] == json!({}) || goes_on.elapsed() < TIME_TO_READ || more_tries == 0 {
            return (world, process, told);
        }
        more_tries -= 1;
    }
    panic!("no process was stopped in time");
}
