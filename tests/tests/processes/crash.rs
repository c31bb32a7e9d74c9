//! The crash table: a process is killed at each point of a refresh.
//!
//! | killed | UPS | afterwards |
//! |---|---|---|
//! | before the claim | was not asked | works at once |
//! | after the claim | was not asked | works, after a probe |
//! | after the send, which never arrived | was asked, did nothing | works, after a probe |
//! | after the send, which arrived | rotated | `RotationLost` |
//! | after the answer, before the commit | rotated | `RotationLost` |
//! | after the commit, before the reply | rotated | works at once |
//!
//! The next process learns of it through a caller. If no caller asks for the company again, a keeper finds it within
//! the lease and two minutes.

use std::{env, time::Duration};

use batchsuite_auth::{
    events::EventKind,
    fake_ups::{Endpoint, Fault, Times},
    machine::CauseKind,
};
use batchsuite_tests::{Backend, Worker, eventually, on_each_backend};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::stage::World;

on_each_backend!(
    killed_before_the_claim_works_at_once,
    killed_after_the_claim_works_after_a_probe,
    killed_after_a_send_that_came_to_nothing_works_after_a_probe,
    killed_after_a_send_that_rotated_says_rotation_lost,
    killed_after_the_answer_and_before_the_commit_says_rotation_lost,
    killed_after_the_commit_and_before_the_reply_works_at_once,
    killed_at_any_moment_every_rotation_is_stored_or_told_as_lost,
);

/// The state of the company afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    /// The next caller gets a token.
    WorksAtOnce,
    /// The next caller after the lease gets a token: the refresh token was still good.
    WorksAfterAProbe,
    /// The next caller after the lease is told so: the new tokens died with the process.
    RotationLost,
}

/// The number of processes killed at each point: `CRASHES`, or 20.
fn crashes() -> usize {
    env::var("CRASHES").map_or(20, |count| count.parse().expect("CRASHES is a number"))
}

/// The same where a keeper must find the company.
pub(crate) fn unasked() -> usize {
    crashes().div_ceil(4)
}

/// Kills one process after another at the point that `reach` leads to. UPS rotates each company once, for the killed
/// process or a later one.
async fn crash(backend: Backend, reach: impl AsyncFn(&World, &Worker, &str), afterwards: Afterwards) {
    asked_for_again(backend, &reach, afterwards).await;
    not_asked_for_again(backend, &reach, afterwards).await;
}

async fn asked_for_again(backend: Backend, reach: impl AsyncFn(&World, &Worker, &str), afterwards: Afterwards) {
    let world = World::with(backend).await;
    world.companies("acme", crashes()).await;
    let survivor = world.worker().await;
    for index in 0..crashes() {
        let name = format!("acme-{index}");
        let before = world.rotations();
        let victim = world.worker().await;

        reach(&world, &victim, &name).await;
        victim.kill().await;

        assert_eq!(world.cause(&name).await, None, "nothing is reported before it is known");
        if afterwards != Afterwards::WorksAtOnce {
            let asked = world.refreshes();
            // The first wait is long enough for a caller to send if it could: the holder of an expired claim gets some
            // extra time.
            let patience = if index == 0 { 1000 } else { 50 };
            let hasty = json!({"do": "token", "company": name, "patience": patience});
            assert_eq!(survivor.ask(hasty).await["error"], "out of patience");
            assert_eq!(world.refreshes(), asked, "nothing is sent before the lease ends");
            world.leases_end(&[&survivor]).await;
            check(&world, &survivor.token(&name).await, &name, afterwards).await;
            assert_eq!(world.refreshes(), asked + 1, "one probe");
        }
        check(&world, &survivor.token(&name).await, &name, afterwards).await;
        assert_eq!(world.rotations() - before, 1, "{name}");
    }
    if afterwards == Afterwards::RotationLost {
        world.opt_in("acme-0").await;
        world.assert_works(&survivor.token("acme-0").await);
    }
    world.end().await;
}

/// The same with a keeper instead of callers.
async fn not_asked_for_again(backend: Backend, reach: impl AsyncFn(&World, &Worker, &str), afterwards: Afterwards) {
    let world = World::with(backend).await;
    world.companies("acme", unasked()).await;
    let keeper = world.keeper().await;
    for index in 0..unasked() {
        let name = format!("acme-{index}");
        let victim = world.worker().await;

        reach(&world, &victim, &name).await;
        victim.kill().await;

        let (asked, before) = (world.refreshes(), world.events(&name).await);
        keeper.has_been_round().await;
        assert_eq!(world.refreshes(), asked, "nothing is sent before the lease ends");
        world.a_keeper_must_have_found_it(&[&keeper]).await;
        let expected = match afterwards {
            Afterwards::WorksAtOnce => None,
            Afterwards::WorksAfterAProbe => Some(EventKind::Refreshed),
            Afterwards::RotationLost => Some(EventKind::Invalidated),
        };
        if let Some(expected) = expected {
            eventually("the keeper finds the company", async || world.events(&name).await.contains(&expected)).await;
        }
        keeper.has_been_round().await;
        let news = world.events(&name).await.split_off(before.len());
        assert_eq!(news, Vec::from_iter(expected), "the outcome is reported once");
        assert_eq!(world.refreshes() - asked, u64::from(expected.is_some()), "one probe");
        check(&world, &keeper.token(&name).await, &name, afterwards).await;
        // Otherwise UPS would be asked again about this company during the next rounds.
        world.remove(&name).await;
    }
    assert_eq!(world.rotations(), unasked() as u64);
    world.end().await;
}

async fn check(world: &World, answer: &Value, name: &str, afterwards: Afterwards) {
    if afterwards == Afterwards::RotationLost {
        assert_eq!((&answer["error"], &answer["cause"]), (&"reauth".into(), &"RotationLost".into()), "{answer}");
        assert_eq!(world.cause(name).await, Some(CauseKind::RotationLost));
    } else {
        world.assert_works(answer);
        assert_eq!(world.cause(name).await, None);
        assert!(!world.events(name).await.contains(&EventKind::Invalidated));
    }
}

/// Brings the process to `point`.
async fn to(point: &str, victim: &Worker, name: &str) {
    victim.stop_at(point).await;
    let _ = victim.call(name).await;
    victim.is_at(point).await;
}

/// Brings a request of the process to a UPS with this fault.
async fn to_ups(fault: Fault, world: &World, victim: &Worker, name: &str) {
    let asked = world.refreshes();
    world.ups.fault(Endpoint::Refresh, fault, Times::Once);
    let _ = victim.call(name).await;
    eventually("UPS is asked", async || world.refreshes() > asked).await;
}

async fn killed_before_the_claim_works_at_once(backend: Backend) {
    let reach = async |_: &World, victim: &Worker, name: &str| to("before_claim", victim, name).await;

    crash(backend, reach, Afterwards::WorksAtOnce).await;
}

async fn killed_after_the_claim_works_after_a_probe(backend: Backend) {
    let reach = async |_: &World, victim: &Worker, name: &str| to("after_claim", victim, name).await;

    crash(backend, reach, Afterwards::WorksAfterAProbe).await;
}

async fn killed_after_a_send_that_came_to_nothing_works_after_a_probe(backend: Backend) {
    let reach = async |world: &World, victim: &Worker, name: &str| to_ups(Fault::Hang, world, victim, name).await;

    crash(backend, reach, Afterwards::WorksAfterAProbe).await;
}

async fn killed_after_a_send_that_rotated_says_rotation_lost(backend: Backend) {
    let reach = async |world: &World, victim: &Worker, name: &str| {
        to_ups(Fault::Delay { milliseconds: 20_000 }, world, victim, name).await;
    };

    crash(backend, reach, Afterwards::RotationLost).await;
}

async fn killed_after_the_answer_and_before_the_commit_says_rotation_lost(backend: Backend) {
    let reach = async |_: &World, victim: &Worker, name: &str| to("before_commit", victim, name).await;

    crash(backend, reach, Afterwards::RotationLost).await;
}

async fn killed_after_the_commit_and_before_the_reply_works_at_once(backend: Backend) {
    let reach = async |_: &World, victim: &Worker, name: &str| to("after_commit", victim, name).await;

    crash(backend, reach, Afterwards::WorksAtOnce).await;
}

/// No rotation disappears: each of UPS's rotations is stored or reported as lost.
async fn killed_at_any_moment_every_rotation_is_stored_or_told_as_lost(backend: Backend) {
    const COMPANIES: usize = 20;
    let world = World::with(backend).await;
    let order = |prefix: &str| json!({"do": "each", "company": prefix, "companies": COMPANIES});
    for round in 0..crashes() {
        let prefix = format!("acme-{round}");
        world.companies(&prefix, COMPANIES).await;
        let (victim, survivor) = (world.worker_called(&prefix).await, world.worker().await);
        let (before, asked) = (world.rotations(), world.refreshes());
        // Measured in flights and not in time, so that it falls in their middle on slow and fast machines.
        let moment = asked + (COMPANIES * round / crashes()) as u64;

        let flights = [victim.begin(order(&prefix)).await, survivor.begin(order(&prefix)).await];
        while world.refreshes() < moment {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(rand::random_range(0..5))).await;
        victim.kill().await;
        // A claim that the server reads from the socket only later would have a whole lease ahead of it.
        world.nothing_is_left_of(&prefix).await;
        world.leases_end(&[&survivor]).await;
        drop(flights);
        survivor.each(&prefix, COMPANIES).await;

        let (mut stored, mut lost) = (0, 0);
        for index in 0..COMPANIES {
            let name = format!("{prefix}-{index}");
            match world.cause(&name).await {
                None => {
                    world.assert_works(&survivor.token(&name).await);
                    stored += 1;
                }
                cause => {
                    assert_eq!(cause, Some(CauseKind::RotationLost));
                    lost += 1;
                }
            }
        }
        assert_eq!(world.rotations() - before, stored + lost, "round {round}: {stored} stored, {lost} lost");
    }
    world.end().await;
}
