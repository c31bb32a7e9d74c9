//! Decisions that come too late, and tokens that are known to have ended.

use batchsuite_auth::error::TokenError;
use batchsuite_tests::{Moment, Verb, acme, ada, eventually, log::Log, seconds};

use crate::stage::Stage;

#[tokio::test(start_paused = true)]
async fn a_claim_that_failed_can_no_longer_be_saved() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    let read = stage.row(&acme()).await.number;

    process.store.fail_once(Verb::Claim, Moment::Before);
    process.auth.access_token(&acme()).await.unwrap_err();

    eventually("the row is saved again", async || stage.row(&acme()).await.number > read).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_too_late_to_be_saved_is_logged_and_made_again() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    let claim = process.store.hold(Verb::Claim, Moment::Before);
    let caller = process.caller(&acme());
    claim.reached().await;
    stage.ups.clock().advance(seconds(6));
    claim.release();

    caller.await.unwrap().unwrap();
    assert_eq!((process.store.calls(Verb::Claim), stage.refreshes()), (2, 1));
    assert_eq!(log.lines("a claim came to the store too late").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_another_process_forestalled_is_not_called_late() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let (winner, loser) = (stage.process(), stage.process());
    stage.opt_in(&winner, &acme()).await;
    stage.access_tokens_end();

    let claim = loser.store.hold(Verb::Claim, Moment::Before);
    let caller = loser.caller(&acme());
    claim.reached().await;
    winner.token(&acme()).await;
    claim.release();

    caller.await.unwrap().unwrap();
    assert_eq!((loser.store.calls(Verb::Claim), stage.refreshes()), (1, 1));
    assert_eq!(log.lines("a claim came to the store too late").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_a_rejected_caller_reads_ends_the_cached_token_without_the_feed() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    other.store.fail(Verb::Changes, Moment::Before);
    stage.live(seconds(3)).await;
    let token = other.token(&acme()).await;
    one.auth.remove_auth(&acme(), &ada()).await.unwrap();

    let error = other.auth.report_rejected(&acme(), &token).await.unwrap_err();
    assert!(matches!(error, TokenError::NotAuthenticated), "{error:?}");

    let error = other.auth.access_token(&acme()).await.unwrap_err();
    assert!(matches!(error, TokenError::NotAuthenticated), "{error:?}");
}
