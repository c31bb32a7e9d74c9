//! Taking over from an attempt without a known outcome.

use std::time::Duration;

use batchsuite_auth::{events::EventKind, machine::CauseKind};
use batchsuite_tests::{Moment, Process, Verb, acme, seconds};

use crate::stage::Stage;

/// A holder with the new pair whose database is unavailable until its lease has ended.
async fn holder_waits_for_its_database(stage: &Stage, holder: &Process) {
    holder.store.fail(Verb::Commit, Moment::Before);
    drop(holder.caller(&acme()));
    stage.live(seconds(61)).await;
    // A moment between two of its tries.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.rotations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_merely_waits_for_the_database_gets_one_more_commit_retry_interval() {
    let stage = Stage::new().await;
    let (holder, other) = (stage.process(), stage.process());
    stage.opt_in(&holder, &acme()).await;
    stage.access_tokens_end();
    holder_waits_for_its_database(&stage, &holder).await;

    let caller = other.caller(&acme());
    holder.store.mend(Verb::Commit);
    let token = caller.await.unwrap().unwrap();

    assert_eq!(token.revision().version, 2);
    assert_eq!(stage.refreshes(), 1, "no process sent the spent token");
    assert!(!other.kinds(&acme()).await.contains(&EventKind::Invalidated));
}

#[tokio::test(start_paused = true)]
async fn a_holder_gets_its_time_also_while_the_old_token_is_still_served() {
    let stage = Stage::new().await;
    let (holder, other) = (stage.process(), stage.process());
    stage.opt_in(&holder, &acme()).await;
    // Both have cached the token, and it is in the early window: the refresh continues in the background.
    other.token(&acme()).await;
    stage.refreshes_are_due();
    holder_waits_for_its_database(&stage, &holder).await;

    let served = other.token(&acme()).await;
    assert_eq!(served.revision().version, 1);
    holder.store.mend(Verb::Commit);
    stage.live(seconds(5)).await;

    assert_eq!(other.token(&acme()).await.revision().version, 2);
    assert_eq!(stage.refreshes(), 1, "no process sent the spent token");
    assert!(!other.kinds(&acme()).await.contains(&EventKind::Invalidated));
}

#[tokio::test(start_paused = true)]
async fn the_false_verdict_a_late_refusal_writes_nothing_while_the_new_holders_answer_travels() {
    let stage = Stage::new().await;
    let (a, b) = (stage.process(), stage.process());
    stage.opt_in(&a, &acme()).await;
    stage.access_tokens_end();

    // A's process is stopped past its lease and even its deadline; its request has not arrived yet.
    let late = a.http.hold_request();
    let of_a = a.caller(&acme());
    late.reached().await;
    stage.ups.clock().advance(seconds(61));
    let travelling = b.http.hold_answer();
    let of_b = b.caller(&acme());
    travelling.reached().await;
    assert_eq!(stage.rotations(), 1);
    late.release();
    stage.live(seconds(2)).await;

    assert_eq!(stage.refreshes(), 2, "A's late request was refused");
    assert_eq!(a.cause(&acme()).await, None, "A writes nothing");
    travelling.release();
    let (of_a, of_b) = (of_a.await.unwrap().unwrap(), of_b.await.unwrap().unwrap());
    assert_eq!(of_a.expose_secret(), of_b.expose_secret());
    assert!(!a.kinds(&acme()).await.contains(&EventKind::Invalidated));
}

#[tokio::test(start_paused = true)]
async fn a_late_pair_over_rotation_lost_recovers_the_opt_in() {
    let stage = Stage::new().await;
    let (a, b) = (stage.process(), stage.process());
    stage.opt_in(&a, &acme()).await;
    stage.access_tokens_end();

    // A has the pair and is stopped past its lease; B's probe is refused.
    let commit = a.store.hold(Verb::Commit, Moment::Before);
    let of_a = a.caller(&acme());
    commit.reached().await;
    stage.live(seconds(61)).await;
    let error = b.auth.access_token(&acme()).await.unwrap_err();
    assert!(error.needs_reauthorization(), "{error:?}");
    assert_eq!(b.cause(&acme()).await, Some(CauseKind::RotationLost));
    commit.release();
    stage.live(seconds(2)).await;
    drop(of_a);

    assert_eq!(b.cause(&acme()).await, None);
    assert_eq!(b.kinds(&acme()).await.last(), Some(&EventKind::Recovered));
    assert_eq!(b.token(&acme()).await.revision().version, 2);
    stage.access_tokens_end();
    b.token(&acme()).await;
    assert_eq!(stage.rotations(), 2, "the late pair works");
}

#[tokio::test(start_paused = true)]
async fn an_opt_in_that_recovered_tells_a_later_password_change_as_one() {
    let stage = Stage::new().await;
    let (a, b) = (stage.process(), stage.process());
    stage.opt_in(&a, &acme()).await;
    stage.access_tokens_end();
    let commit = a.store.hold(Verb::Commit, Moment::Before);
    let of_a = a.caller(&acme());
    commit.reached().await;
    stage.live(seconds(61)).await;
    b.auth.access_token(&acme()).await.unwrap_err();
    commit.release();
    stage.live(seconds(2)).await;
    drop(of_a);

    stage.ups.change_password("demo@example.com");
    stage.access_tokens_end();
    b.auth.access_token(&acme()).await.unwrap_err();

    // The late pair answers the only request in doubt.
    assert_eq!(b.cause(&acme()).await, Some(CauseKind::OptInInvalidated));
}
