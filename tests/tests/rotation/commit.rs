//! Commit: a pair is stored before its first use, and kept until it is stored.

use batchsuite_auth::events::EventKind;
use batchsuite_tests::{Moment, Verb, acme, seconds};

use crate::stage::Stage;

#[tokio::test(start_paused = true)]
async fn a_pair_is_published_only_after_its_commit() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    let commit = process.store.hold(Verb::Commit, Moment::Before);
    let callers: Vec<_> = (0..10).map(|_| process.caller(&acme())).collect();
    commit.reached().await;
    let late = process.caller(&acme());
    stage.live(seconds(2)).await;
    assert_eq!(stage.rotations(), 1);
    assert!(callers.iter().chain([&late]).all(|caller| !caller.is_finished()), "no caller has the new token yet");
    commit.release();

    for caller in callers.into_iter().chain([late]) {
        assert_eq!(caller.await.unwrap().unwrap().revision().version, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_database_is_away_when_the_new_pair_must_be_stored_it_is_held_and_retried_then_stored() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    process.store.fail(Verb::Commit, Moment::Before);
    let error = process.auth.access_token(&acme()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    stage.live(seconds(600)).await;
    assert!(process.store.calls(Verb::Commit) > 100, "the commit is retried");
    process.store.mend(Verb::Commit);

    assert_eq!(process.token(&acme()).await.revision().version, 2);
    assert_eq!((stage.refreshes(), stage.rotations()), (1, 1));
    stage.access_tokens_end();
    assert_eq!(process.token(&acme()).await.revision().version, 3, "the pair that was held works");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_written_without_an_answer_is_found_stored() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    process.store.fail_once(Verb::Commit, Moment::After);
    let token = process.token(&acme()).await;

    assert_eq!(token.revision().version, 2);
    assert_eq!(process.store.calls(Verb::Commit), 1, "the row is read again and contains the pair");
    let refreshed = process.kinds(&acme()).await.into_iter().filter(|kind| *kind == EventKind::Refreshed).count();
    assert_eq!(refreshed, 1, "it is told once");
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_commit_wins_though_its_lease_is_over_and_another_process_claimed() {
    let stage = Stage::new().await;
    let (slow, other) = (stage.process(), stage.process());
    stage.opt_in(&slow, &acme()).await;
    stage.access_tokens_end();

    // UPS has rotated. The pair waits for its commit past the lease, and another process has begun a probe.
    let commit = slow.store.hold(Verb::Commit, Moment::Before);
    let first = slow.caller(&acme());
    commit.reached().await;
    stage.live(seconds(61)).await;
    let request = other.http.hold_request();
    let probe = other.caller(&acme());
    request.reached().await;
    commit.release();
    stage.live(seconds(2)).await;
    drop(first);
    assert!(
        stage.grant_of(&acme()).await.suspect_until.is_some(),
        "a commit over another process's attempt leaves a mark"
    );
    request.release();

    // The probe is refused and writes nothing, because the row has changed.
    assert_eq!(probe.await.unwrap().unwrap().revision().version, 2);
    assert_eq!(other.cause(&acme()).await, None);
    stage.access_tokens_end();
    slow.token(&acme()).await;
    assert_eq!(stage.rotations(), 2);
}

#[tokio::test(start_paused = true)]
async fn save_first_judge_after_a_pair_whose_access_token_is_unusable_is_stored_and_refreshed_once_more() {
    use batchsuite_auth::fake_ups::{Edit, Endpoint, Times};

    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Edit::default().remove("access_token"), Times::UntilCleared);

    let error = process.auth.access_token(&acme()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(stage.rotations(), 2, "one more refresh at once, then a cool-down");
    for _ in 0..5 {
        assert!(process.auth.access_token(&acme()).await.is_err());
    }
    assert_eq!(stage.rotations(), 2);
    stage.ups.clear_faults(Endpoint::Refresh);
    stage.ups.clock().advance(seconds(60));

    assert_eq!(process.token(&acme()).await.revision().version, 4);
}
