//! Verdicts and releases: each ends only its own attempt, and is kept until the store accepts it.

use batchsuite_auth::{
    fake_ups::{Endpoint, Fault, Times},
    machine::CauseKind,
    test_util::machine::Phase,
};
use batchsuite_tests::{Moment, Verb, acme, seconds};

use crate::stage::Stage;

#[tokio::test(start_paused = true)]
async fn a_verdict_that_cannot_be_written_is_kept_and_retried() {
    for moment in [Moment::Before, Moment::After] {
        let stage = Stage::new().await;
        let process = stage.process();
        stage.opt_in(&process, &acme()).await;
        stage.ups.change_password("demo@example.com");
        stage.access_tokens_end();

        process.store.fail(Verb::Verdict, moment);
        drop(process.caller(&acme()));
        stage.live(seconds(20)).await;
        // A verdict that was written without an answer is found by reading, and not written again.
        let tries = process.store.calls(Verb::Verdict);
        assert_eq!(tries > 10, moment == Moment::Before, "{moment:?}: {tries}");
        process.store.mend(Verb::Verdict);
        stage.live(seconds(3)).await;

        assert_eq!(process.cause(&acme()).await, Some(CauseKind::OptInInvalidated), "{moment:?}");
        assert_eq!(stage.refreshes(), 1, "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_comes_after_its_row_was_taken_over_writes_nothing() {
    let stage = Stage::new().await;
    let (slow, other) = (stage.process(), stage.process());
    stage.opt_in(&slow, &acme()).await;
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    stage.access_tokens_end();

    // A refusal waits for the store past the lease; meanwhile another process rotates.
    let settle = slow.store.hold(Verb::Verdict, Moment::Before);
    drop(slow.caller(&acme()));
    settle.reached().await;
    stage.live(seconds(61)).await;
    let answer = other.http.hold_answer();
    let caller = other.caller(&acme());
    answer.reached().await;
    settle.release();
    stage.live(seconds(2)).await;

    assert!(matches!(stage.grant_of(&acme()).await.phase, Phase::Claimed { .. }), "the other process holds the row");
    assert_eq!(slow.cause(&acme()).await, None);
    answer.release();
    assert_eq!(caller.await.unwrap().unwrap().revision().version, 2);
    assert_eq!(slow.token(&acme()).await.revision().version, 2);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_cannot_be_written_is_kept_and_retried() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    stage.ups.go_offline().await;

    process.store.fail(Verb::Release, Moment::Before);
    drop(process.caller(&acme()));
    stage.live(seconds(10)).await;
    assert!(matches!(stage.grant_of(&acme()).await.phase, Phase::Claimed { .. }));
    process.store.mend(Verb::Release);
    stage.ups.go_online().await;
    stage.live(seconds(5)).await;

    assert_eq!(process.token(&acme()).await.revision().version, 2);
    assert!(stage.grant_of(&acme()).await.suspect_until.is_none(), "nothing was in doubt");
}
