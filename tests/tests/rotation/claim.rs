//! Claim before send: the loser does not send, and a late holder releases its claim.

use std::time::Duration;

use batchsuite_auth::{events::EventKind, test_util::machine::Phase};
use batchsuite_tests::{Moment, Verb, acme, company, seconds};

use crate::stage::Stage;

#[tokio::test(start_paused = true)]
async fn the_claim_is_stored_before_ups_sees_the_request() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    let request = process.http.hold_request();
    let caller = process.caller(&acme());
    request.reached().await;

    assert!(matches!(stage.grant_of(&acme()).await.phase, Phase::Claimed { .. }));
    assert_eq!(stage.refreshes(), 0);
    request.release();
    caller.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_sends_nothing() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    process.store.fail(Verb::Claim, Moment::Before);
    let error = process.auth.access_token(&acme()).await.unwrap_err();

    assert!(error.is_transient(), "{error:?}");
    assert_eq!(stage.refreshes(), 0);
    process.store.mend(Verb::Claim);
    process.token(&acme()).await;
    assert!(stage.grant_of(&acme()).await.suspect_until.is_none(), "nothing was in doubt");
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_sends_nothing_and_is_released() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    process.store.fail_once(Verb::Claim, Moment::After);
    let error = process.auth.access_token(&acme()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    stage.live(seconds(1)).await;
    assert_eq!(stage.refreshes(), 0);
    assert!(matches!(stage.grant_of(&acme()).await.phase, Phase::Idle), "no lease keeps others waiting");

    process.token(&acme()).await;
    assert_eq!((stage.refreshes(), stage.rotations()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_claim_sends_nothing_and_waits_for_the_winners_pair() {
    let stage = Stage::new().await;
    let (winner, loser) = (stage.process(), stage.process());
    stage.opt_in(&winner, &acme()).await;
    stage.access_tokens_end();

    // The loser has read the row and is about to claim it when the winner claims it.
    let claim = loser.store.hold(Verb::Claim, Moment::Before);
    let late = loser.caller(&acme());
    claim.reached().await;
    let answer = winner.http.hold_answer();
    let first = winner.caller(&acme());
    answer.reached().await;
    claim.release();
    stage.live(seconds(2)).await;
    assert_eq!(stage.refreshes(), 1, "the loser does not send");
    answer.release();

    let (first, late) = (first.await.unwrap().unwrap(), late.await.unwrap().unwrap());
    assert_eq!(first.expose_secret(), late.expose_secret());
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_one_company_does_not_read_again_for_news_of_others() {
    let stage = Stage::new().await;
    let (holder, waiting) = (stage.process(), stage.process());
    stage.opt_in(&holder, &acme()).await;
    let (answer, first) = stage.caller_before_the_answer(&holder).await;
    let caller = waiting.caller(&acme());
    stage.live(seconds(3)).await;

    let loads = waiting.store.calls(Verb::Load);
    for number in 0..100 {
        stage.opt_in(&holder, &company(&format!("company {number}"))).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(waiting.store.calls(Verb::Load) - loads < 5, "{}", waiting.store.calls(Verb::Load) - loads);

    answer.release();
    first.await.unwrap().unwrap();
    let begun = tokio::time::Instant::now();
    caller.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(10), "the caller gets the pair at once: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_too_old_is_released_and_not_sent() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    // The process is stopped after its claim for longer than the maximum age of a claim.
    let claim = process.store.hold(Verb::Claim, Moment::After);
    let caller = process.caller(&acme());
    claim.reached().await;
    tokio::time::advance(seconds(6)).await;
    assert_eq!(stage.refreshes(), 0);
    claim.release();

    caller.await.unwrap().unwrap();
    assert_eq!(process.store.calls(Verb::Release), 1, "the old claim is released");
    assert_eq!((process.store.calls(Verb::Claim), stage.refreshes()), (2, 1), "a new claim is made and sent");
    assert!(stage.grant_of(&acme()).await.suspect_until.is_none(), "nothing was in doubt");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_old_past_its_lease_disturbs_nobody() {
    let stage = Stage::new().await;
    let (stopped, other) = (stage.process(), stage.process());
    stage.opt_in(&stopped, &acme()).await;
    stage.access_tokens_end();

    let claim = stopped.store.hold(Verb::Claim, Moment::After);
    let caller = stopped.caller(&acme());
    claim.reached().await;
    stage.live(seconds(61)).await;
    let answer = other.http.hold_answer();
    let probe = other.caller(&acme());
    answer.reached().await;
    claim.release();
    stage.live(seconds(3)).await;

    assert_eq!(stage.refreshes(), 1, "the stopped process sends nothing");
    assert!(
        matches!(stage.grant_of(&acme()).await.phase, Phase::Claimed { .. }),
        "another process's claim is not released"
    );
    answer.release();
    probe.await.unwrap().unwrap();
    caller.abort();
    assert_eq!(stage.rotations(), 1);
    assert_eq!(stopped.cause(&acme()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_is_transient_and_a_cached_token_is_served_on() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.store.fail(Verb::Load, Moment::Before);

    process.token(&acme()).await;
    stage.access_tokens_end();
    let error = process.auth.access_token(&acme()).await.unwrap_err();

    assert!(error.is_transient() && !error.needs_reauthorization(), "{error:?}");
    process.store.mend(Verb::Load);
    process.token(&acme()).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_no_longer_than_max_wait() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.max_wait = Duration::from_secs(3));
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    let answer = process.http.hold_answer();
    let begun = tokio::time::Instant::now();
    let error = process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(begun.elapsed().as_secs(), 3);
    assert!(error.is_transient() && error.retry_after().is_some(), "{error:?}");
    answer.release();
    process.token(&acme()).await;
    assert_eq!(stage.refreshes(), 1, "the refresh went on without its caller");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_read_too_long_ago_is_read_again_before_anything_is_sent() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    // The store is slow to return the row, or the process is stopped; the claim itself takes no time.
    let load = process.store.hold(Verb::Load, Moment::After);
    let caller = process.caller(&acme());
    load.reached().await;
    tokio::time::advance(seconds(6)).await;
    load.release();

    caller.await.unwrap().unwrap();
    assert_eq!((process.store.calls(Verb::Release), process.store.calls(Verb::Claim), stage.refreshes()), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_time_is_looked_at_once_more_when_the_connection_is_there() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    let connection = process.http.hold_connection();
    let caller = process.caller(&acme());
    connection.reached().await;
    stage.live(seconds(6)).await;
    connection.release();

    caller.await.unwrap().unwrap();
    assert_eq!((process.store.calls(Verb::Release), process.store.calls(Verb::Claim), stage.refreshes()), (1, 2, 1));
    assert!(stage.grant_of(&acme()).await.suspect_until.is_none(), "nothing was in doubt");
    assert!(!process.kinds(&acme()).await.contains(&EventKind::RefreshFailed), "nothing failed");
}

#[tokio::test(start_paused = true)]
async fn who_comes_too_late_again_and_again_pauses() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    let connections: Vec<_> = (0..8).map(|_| process.http.hold_connection()).collect();
    let caller = process.caller(&acme());
    for connection in &connections {
        connection.reached().await;
        tokio::time::advance(seconds(6)).await;
        connection.release();
    }
    caller.await.unwrap().unwrap_err();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = process.auth.access_token(&acme()).await.unwrap_err();

    assert!(error.is_transient() && error.retry_after().is_some(), "{error:?}");
    assert_eq!((process.store.calls(Verb::Claim), stage.refreshes()), (8, 0));
    stage.live(seconds(3)).await;
    process.token(&acme()).await;
}
