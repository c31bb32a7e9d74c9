//! The crash table of a second opinion: a keeper asks UPS again about a refused refresh token and is killed at each
//! point. There are no callers. The next keeper finds the company within the lease and two minutes.
//!
//! | killed | UPS | afterwards |
//! |---|---|---|
//! | before the claim | was not asked | asked; recovered |
//! | after the claim | was not asked | asked after the lease; recovered |
//! | after the send, which never arrived | was asked, did nothing | asked after the lease; recovered |
//! | after the send, which arrived | rotated | asked after the lease; `RotationLost` |
//! | after the answer, before the commit | rotated | asked after the lease; `RotationLost` |
//! | after the answer, before the verdict is saved | refused again | asked after the lease; `RotationLost` |
//! | after the commit | rotated | recovered, not asked |
//! | after the verdict is saved | refused again | as before, asked at the next time |

use batchsuite_auth::{
    events::{Event, EventKind},
    fake_ups::{Endpoint, Fault, Times},
    machine::CauseKind,
};
use batchsuite_tests::{Backend, Worker, eventually, on_each_backend};

use self::Afterwards::{OptInInvalidated, Recovered, RotationLost};
use crate::{crash::unasked, stage::World};

on_each_backend!(
    an_ask_killed_before_its_claim_is_made_by_another_and_recovers,
    an_ask_killed_after_its_claim_is_made_again_and_recovers,
    an_ask_killed_after_a_send_that_came_to_nothing_is_made_again_and_recovers,
    an_ask_killed_after_a_send_that_rotated_changes_the_cause,
    an_ask_killed_after_its_pair_and_before_the_commit_changes_the_cause,
    an_ask_killed_after_its_refusal_and_before_the_verdict_changes_the_cause,
    an_ask_killed_after_its_commit_has_recovered,
    an_ask_killed_after_its_verdict_changes_nothing_before_the_next_one,
);

/// The killed process's trace in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// No trace.
    Nothing,
    /// A claim: no process may send the token before the lease ends.
    Claim,
    /// The outcome of its request.
    Outcome,
}

/// The state of the company afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    /// It is authenticated again.
    Recovered,
    /// The new tokens died with the process.
    RotationLost,
    /// Refused, as before.
    OptInInvalidated,
}

/// The moment when a process is killed.
#[derive(Clone, Debug)]
struct Killed {
    /// A point in the flight. `None`: while UPS has the request.
    at: Option<&'static str>,
    /// A fault of UPS at that time.
    ups: Option<(Fault, Times)>,
}

impl Killed {
    fn at(place: &'static str) -> Self {
        Self { at: Some(place), ups: None }
    }

    fn while_ups_has(fault: Fault) -> Self {
        Self { at: None, ups: Some((fault, Times::Once)) }
    }

    /// UPS refuses the refresh token again, this many times.
    fn refused(self, times: Times) -> Self {
        Self { ups: Some((Fault::InvalidRefreshToken, times)), ..self }
    }
}

/// Kills one keeper after another at that moment, each while it asks UPS again about a company of its own. `last`: the
/// state of the company after the last request here, when UPS has no fault any more.
async fn crash(backend: Backend, killed: Killed, left: Left, [afterwards, last]: [Afterwards; 2]) {
    let world = World::with(backend).await;
    let caller = world.worker().await;
    for index in 0..unasked() {
        let name = format!("acme-{index}");
        refuse(&world, &caller, &name).await;
        let answered = world.rotations();
        kill_a_keeper(&world, &caller, &killed).await;
        let (asked, before) = (world.refreshes(), world.log(&name).await);
        let known = if left == Left::Outcome { afterwards } else { Afterwards::OptInInvalidated };
        assert_stands(&world, &caller, &name, known).await;

        let survivor = world.keeper().await;
        if left == Left::Claim {
            // Makes the row visible to other keepers, so that only the claim can hold them up.
            world.nothing_is_hidden().await;
            // Enough rounds for a keeper to send if it could: the holder of an expired claim gets some extra time.
            for _ in 0..3 {
                survivor.has_been_round().await;
            }
            assert_eq!(world.refreshes(), asked, "nothing is sent before the lease ends");
        }
        world.a_keeper_must_have_found_it(&[&caller, &survivor]).await;
        let asks = u64::from(left != Left::Outcome);
        eventually("UPS is asked again", async || world.refreshes() >= asked + asks).await;
        eventually("the row has the outcome", async || world.cause(&name).await == cause_of(afterwards)).await;
        survivor.has_been_round().await;

        assert_eq!(world.refreshes(), asked + asks, "once");
        assert_stands(&world, &caller, &name, afterwards).await;
        assert!(world.rotations() - answered <= 1, "UPS rotates at most once");
        let news = world.log(&name).await.split_off(before.len());
        assert_eq!(news.iter().map(told).collect::<Vec<_>>(), Vec::from_iter(news_of(left, afterwards)));
        if afterwards != Afterwards::Recovered {
            next_ask(&world, &caller, &survivor).await;
            eventually("the row has the outcome", async || world.cause(&name).await == cause_of(last)).await;
            assert_stands(&world, &caller, &name, last).await;
        }
        // Otherwise UPS would be asked about this company during the next rounds.
        world.remove(&name).await;
    }
    world.no_transaction_is_left_open().await;
}

/// The company opts in, and UPS refuses its refresh token.
async fn refuse(world: &World, caller: &Worker, name: &str) {
    world.ups.clear_faults(Endpoint::Refresh);
    world.opt_in(name).await;
    world.access_tokens_end(&[caller]).await;
    world.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    assert_stands(world, caller, name, Afterwards::OptInInvalidated).await;
}

/// Kills a keeper while it asks UPS again.
async fn kill_a_keeper(world: &World, caller: &Worker, killed: &Killed) {
    let (victim, asked) = (world.keeper().await, world.refreshes());
    if let Some((fault, times)) = &killed.ups {
        world.ups.fault(Endpoint::Refresh, fault.clone(), *times);
    }
    if let Some(place) = killed.at {
        victim.stop_at(place).await;
    }
    world.a_second_opinion_is_due(0, &[caller, &victim]).await;
    match killed.at {
        Some(place) => victim.is_at(place).await,
        None => eventually("UPS is asked", async || world.refreshes() > asked).await,
    }
    victim.kill().await;
}

/// Checks the answers for callers and people.
async fn assert_stands(world: &World, caller: &Worker, name: &str, expected: Afterwards) {
    let token = caller.token(name).await;
    match expected {
        Afterwards::Recovered => world.assert_works(&token),
        refused => assert_eq!((&token["error"], &token["cause"]), (&"reauth".into(), &format!("{refused:?}").into())),
    }
    assert_eq!(world.cause(name).await, cause_of(expected));
}

fn cause_of(afterwards: Afterwards) -> Option<CauseKind> {
    match afterwards {
        Afterwards::Recovered => None,
        Afterwards::RotationLost => Some(CauseKind::RotationLost),
        Afterwards::OptInInvalidated => Some(CauseKind::OptInInvalidated),
    }
}

/// The only event after the kill, if any.
fn news_of(left: Left, afterwards: Afterwards) -> Option<(EventKind, Option<CauseKind>)> {
    match afterwards {
        _ if left == Left::Outcome => None,
        Afterwards::Recovered => Some((EventKind::Recovered, None)),
        refused => Some((EventKind::Invalidated, cause_of(refused))),
    }
}

fn told(event: &Event) -> (EventKind, Option<CauseKind>) {
    (event.kind, event.cause)
}

/// Checks that the refused refresh token is kept for the next request, which comes when it is due.
async fn next_ask(world: &World, caller: &Worker, survivor: &Worker) {
    let asked = world.refreshes();
    world.ups.clear_faults(Endpoint::Refresh);
    survivor.has_been_round().await;
    assert_eq!(world.refreshes(), asked, "not before it is due");
    world.a_second_opinion_is_due(1, &[caller, survivor]).await;
    eventually("UPS is asked at the next time", async || world.refreshes() > asked).await;
    survivor.has_been_round().await;
    assert_eq!(world.refreshes(), asked + 1, "once");
}

async fn an_ask_killed_before_its_claim_is_made_by_another_and_recovers(backend: Backend) {
    crash(backend, Killed::at("before_claim"), Left::Nothing, [Recovered; 2]).await;
}

async fn an_ask_killed_after_its_claim_is_made_again_and_recovers(backend: Backend) {
    crash(backend, Killed::at("after_claim"), Left::Claim, [Recovered; 2]).await;
}

async fn an_ask_killed_after_a_send_that_came_to_nothing_is_made_again_and_recovers(backend: Backend) {
    crash(backend, Killed::while_ups_has(Fault::Hang), Left::Claim, [Recovered; 2]).await;
}

async fn an_ask_killed_after_a_send_that_rotated_changes_the_cause(backend: Backend) {
    let late = Fault::Delay { milliseconds: 20_000 };
    crash(backend, Killed::while_ups_has(late), Left::Claim, [RotationLost; 2]).await;
}

async fn an_ask_killed_after_its_pair_and_before_the_commit_changes_the_cause(backend: Backend) {
    crash(backend, Killed::at("before_commit"), Left::Claim, [RotationLost; 2]).await;
}

async fn an_ask_killed_after_its_refusal_and_before_the_verdict_changes_the_cause(backend: Backend) {
    let killed = Killed::at("before_settle").refused(Times::UntilCleared);
    crash(backend, killed, Left::Claim, [RotationLost, Recovered]).await;
}

async fn an_ask_killed_after_its_commit_has_recovered(backend: Backend) {
    crash(backend, Killed::at("after_commit"), Left::Outcome, [Recovered; 2]).await;
}

async fn an_ask_killed_after_its_verdict_changes_nothing_before_the_next_one(backend: Backend) {
    let killed = Killed::at("after_settle").refused(Times::Once);
    crash(backend, killed, Left::Outcome, [OptInInvalidated, Recovered]).await;
}
