//! The crash table: a process is killed at each point that a refresh comes by.
//!
//! | killed | UPS | afterwards |
//! |---|---|---|
//! | before the claim | was not asked | works at once |
//! | after the claim | was not asked | works, after a probe |
//! | after the send, which never arrived | was asked, did nothing | works, after a probe |
//! | after the send, which arrived | rotated | `RotationLost` |
//! | after the answer, before the commit | rotated | `RotationLost` |
//! | after the commit, before the reply | rotated | works at once |

use std::{env, time::Duration};

use batchsuite_auth::{
    events::EventKind,
    fake_ups::{Endpoint, Fault, Times},
    machine::CauseKind,
};
use batchsuite_tests::{Worker, eventually};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::stage::World;

/// What becomes of the company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    /// The next caller has a token.
    WorksAtOnce,
    /// The next caller after the lease has a token: the refresh token was still good.
    WorksAfterAProbe,
    /// The next caller after the lease is told so: the new tokens went with the process.
    RotationLost,
}

/// How many processes are killed at each point: `CRASHES`, or 20.
fn crashes() -> usize {
    env::var("CRASHES").map_or(20, |count| count.parse().expect("CRASHES is a number"))
}

/// Kills process after process where `reach` brings it; `rotations`: of each company, by the killed one and those after it.
async fn crash(reach: impl AsyncFn(&World, &Worker, &str), afterwards: Afterwards, rotations: u64) {
    let world = World::new().await;
    world.companies("acme", crashes()).await;
    let survivor = world.worker().await;
    for index in 0..crashes() {
        let name = format!("acme-{index}");
        let before = world.rotations();
        let victim = world.worker().await;

        reach(&world, &victim, &name).await;
        victim.kill().await;

        assert_eq!(world.cause(&name).await, None, "nothing is told before it is known");
        if afterwards != Afterwards::WorksAtOnce {
            let asked = world.refreshes();
            let hasty = json!({"do": "token", "company": name, "patience": 50});
            assert_eq!(survivor.ask(hasty).await["error"], "out of patience");
            assert_eq!(world.refreshes(), asked, "nothing is sent before the lease ends");
            world.leases_end(&[&survivor]).await;
            check(&world, &survivor.token(&name).await, &name, afterwards).await;
            assert_eq!(world.refreshes(), asked + 1, "one probe");
        }
        check(&world, &survivor.token(&name).await, &name, afterwards).await;
        assert_eq!(world.rotations() - before, rotations, "{name}");
    }
    if afterwards == Afterwards::RotationLost {
        world.opt_in("acme-0").await;
        world.assert_works(&survivor.token("acme-0").await);
    }
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

/// The process comes to `point`.
async fn to(point: &str, victim: &Worker, name: &str) {
    victim.stop_at(point).await;
    let _ = victim.call(name).await;
    victim.is_at(point).await;
}

/// The request of the process comes to a UPS with this fault.
async fn to_ups(fault: Fault, world: &World, victim: &Worker, name: &str) {
    let asked = world.refreshes();
    world.ups.fault(Endpoint::Refresh, fault, Times::Once);
    let _ = victim.call(name).await;
    eventually("UPS is asked", async || world.refreshes() > asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_claim_works_at_once() {
    let reach = async |_: &World, victim: &Worker, name: &str| to("before_claim", victim, name).await;

    crash(reach, Afterwards::WorksAtOnce, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_claim_works_after_a_probe() {
    let reach = async |_: &World, victim: &Worker, name: &str| to("after_claim", victim, name).await;

    crash(reach, Afterwards::WorksAfterAProbe, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_a_send_that_came_to_nothing_works_after_a_probe() {
    let reach = async |world: &World, victim: &Worker, name: &str| to_ups(Fault::Hang, world, victim, name).await;

    crash(reach, Afterwards::WorksAfterAProbe, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_a_send_that_rotated_says_rotation_lost() {
    let reach = async |world: &World, victim: &Worker, name: &str| {
        to_ups(Fault::Delay { milliseconds: 20_000 }, world, victim, name).await;
    };

    crash(reach, Afterwards::RotationLost, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_answer_and_before_the_commit_says_rotation_lost() {
    let reach = async |_: &World, victim: &Worker, name: &str| to("before_commit", victim, name).await;

    crash(reach, Afterwards::RotationLost, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_the_commit_and_before_the_reply_works_at_once() {
    let reach = async |_: &World, victim: &Worker, name: &str| to("after_commit", victim, name).await;

    crash(reach, Afterwards::WorksAtOnce, 1).await;
}

/// No rotation goes astray: what UPS rotated is stored, or told as lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_every_rotation_is_stored_or_told_as_lost() {
    const COMPANIES: usize = 20;
    let world = World::new().await;
    let order = |prefix: &str| json!({"do": "each", "company": prefix, "companies": COMPANIES});
    for round in 0..crashes() {
        let prefix = format!("acme-{round}");
        world.companies(&prefix, COMPANIES).await;
        let (victim, survivor) = (world.worker_called(&prefix).await, world.worker().await);
        let (before, asked) = (world.rotations(), world.refreshes());
        // Of the flights, not of the clock: it comes in their middle on a slow machine and on a fast one.
        let moment = asked + (COMPANIES * round / crashes()) as u64;

        let flights = [victim.begin(order(&prefix)).await, survivor.begin(order(&prefix)).await];
        while world.refreshes() < moment {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(rand::random_range(0..5))).await;
        victim.kill().await;
        // A claim that the server finds in a socket later would have a whole lease before it.
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
