//! A process that is stopped (SIGSTOP) and goes on later, when others have taken over.

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
    // It has heard the refusal, and reads whether the row is still its own: the verdict must not be written.
    stalled.is_at("after_load").await;
    assert_eq!(world.refreshes(), 2);
    assert_eq!(world.cause("acme-0").await, None, "no verdict from whoever lost the row");
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
    // The default times in their ratio: 0.6 s to connect, 2.5 s in all, 3.7 s around it, a lease of 7.5 s. Then a client whose own deadline
    // comes later, so that the outer one alone would cut.
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
        // What was stored is what UPS knows.
        world.access_tokens_end(&[&process]).await;
        let told = process.ask(json!({"do": "each", "company": "acme", "companies": COMPANIES})).await;
        assert_eq!(told["errors"], json!({}), "{own_deadline:?}: {told}");
        world.end().await;
    }
}

const COMPANIES: u64 = 20;
/// The shortest time that a whole request has in a process that is eight times as fast as the default times.
const DEADLINE: Duration = Duration::from_millis(2500);

/// So long a process reads at least, once it goes on, before it judges that a deadline has passed.
const TIME_TO_READ: Duration = Duration::from_millis(500);

/// A process that was stopped when UPS had answered all its requests and no deadline had passed, and what its callers are told
/// when it goes on long after.
async fn answered_while_stopped(own_deadline: Option<Duration>) -> (World, Worker, Value) {
    let mut more_tries = 2;
    // On a busy machine a deadline may pass before the process is stopped: then it is another process's turn. If one that goes on
    // took longer than its time to read, its errors count after a few tries only.
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

        // Longer than every deadline, shorter than the lease.
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
