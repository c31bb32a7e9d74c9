//! An unexpired access token is served, whatever happens to its refresh.

use batchsuite_auth::{
    error::TokenError,
    fake_ups::{Endpoint, Fault, Times},
    machine::CauseKind,
};
use batchsuite_tests::{Moment, Verb, acme, ada, eventually, seconds};

use crate::stage::Stage;

#[tokio::test(start_paused = true)]
async fn a_good_token_is_served_while_one_refresh_is_due_and_under_way() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let first = process.token(&acme()).await;
    stage.refreshes_are_due();

    let answer = process.http.hold_answer();
    for _ in 0..100 {
        assert_eq!(process.token(&acme()).await.expose_secret(), first.expose_secret());
    }
    answer.reached().await;
    for _ in 0..100 {
        assert_eq!(process.token(&acme()).await.expose_secret(), first.expose_secret());
    }
    assert_eq!(stage.refreshes(), 1, "one at a time");
    answer.release();
    stage.live(seconds(2)).await;

    assert_eq!(process.token(&acme()).await.revision().version, 2);
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_good_token_is_served_while_its_refresh_is_under_way_also_if_it_is_not_cached() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.refreshes_are_due();
    let answer = process.http.hold_answer();
    process.token(&acme()).await;
    answer.reached().await;

    // This clears the cache.
    process.auth.after_restore().await.unwrap();
    let begun = tokio::time::Instant::now();
    let served = process.token(&acme()).await;

    assert_eq!(served.revision().version, 1);
    assert!(begun.elapsed() < seconds(1), "no caller waits for an unneeded refresh: {:?}", begun.elapsed());
    answer.release();
    stage.live(seconds(2)).await;
    assert_eq!(process.token(&acme()).await.revision().version, 2);
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_good_token_is_served_while_its_refresh_is_unanswered() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.refreshes_are_due();
    stage.ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once);

    for _ in 0..30 {
        assert_eq!(process.token(&acme()).await.revision().version, 1);
        stage.live(seconds(1)).await;
    }
    assert!(stage.grant_of(&acme()).await.unanswered.is_some());
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_good_token_whose_refresh_does_not_succeed_is_served_without_asking_the_store_each_time() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.refreshes_are_due();
    stage.ups.go_offline().await;
    process.token(&acme()).await;
    stage.live(seconds(2)).await;
    process.token(&acme()).await;
    let loads = process.store.calls(Verb::Load);

    for _ in 0..100 {
        process.token(&acme()).await;
        tokio::task::yield_now().await;
    }

    assert!(process.store.calls(Verb::Load) - loads <= 4, "{}", process.store.calls(Verb::Load) - loads);
}

#[tokio::test(start_paused = true)]
async fn a_good_token_is_served_after_rotation_lost_until_it_ends() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.refreshes_are_due();
    stage.ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once);
    for _ in 0..100 {
        assert_eq!(process.token(&acme()).await.revision().version, 1);
        stage.live(seconds(1)).await;
    }
    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));

    assert_eq!(process.token(&acme()).await.revision().version, 1);
    let cold = stage.process();
    assert_eq!(cold.token(&acme()).await.revision().version, 1, "a process without a cached token serves it, too");
    stage.ups.clock().advance(seconds(600));

    for process in [&process, &cold] {
        let error = process.auth.access_token(&acme()).await.unwrap_err();
        assert!(
            matches!(&error, TokenError::ReauthRequired(cause) if cause.kind == CauseKind::RotationLost),
            "{error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_spent_token_of_a_lost_rotation_is_erased_after_the_last_opinion_and_its_access_token_is_kept() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.second_opinions = Vec::new());
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.refreshes_are_due();
    stage.ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once);
    for _ in 0..100 {
        process.token(&acme()).await;
        stage.live(seconds(1)).await;
    }
    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));

    let stored = stage.tokens_of(&acme()).await.unwrap();

    assert!(stored.access.is_some() && stored.refresh.is_none(), "{stored:?}");
    assert_eq!(process.token(&acme()).await.revision().version, 1);
}

#[tokio::test(start_paused = true)]
async fn a_good_token_is_never_served_after_opt_in_invalidated() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    other.token(&acme()).await;
    stage.refreshes_are_due();
    stage.ups.change_password("demo@example.com");

    process.token(&acme()).await;
    eventually("UPS is asked", async || stage.refreshes() == 1).await;
    stage.live(seconds(2)).await;

    for process in [process, other, stage.process()] {
        let error = process.auth.access_token(&acme()).await.unwrap_err();
        let TokenError::ReauthRequired(cause) = error else { panic!("{error:?}") };
        assert_eq!(cause.kind, CauseKind::OptInInvalidated);
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_token_is_never_served_after_remove_auth() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    // The process must know its own changes without the feed.
    process.store.fail(Verb::Changes, Moment::Before);
    stage.live(seconds(3)).await;
    process.token(&acme()).await;

    process.auth.remove_auth(&acme(), &ada()).await.unwrap();

    assert!(matches!(process.auth.access_token(&acme()).await, Err(TokenError::NotAuthenticated)));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_took_long_to_arrive_is_not_cached_past_the_end_of_its_token() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;

    let load = other.store.hold(Verb::Load, Moment::After);
    let caller = other.caller(&acme());
    load.reached().await;
    stage.access_tokens_end();
    load.release();

    assert_eq!(caller.await.unwrap().unwrap().revision().version, 2, "an expired token is not served");
    assert_eq!(other.token(&acme()).await.revision().version, 2, "an expired token is not cached");
}
