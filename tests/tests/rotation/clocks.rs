//! Changed clocks: each change costs at most one refresh, and nothing recorded outlives the wrong clock.

use std::{ops::RangeInclusive, time::Duration};

use batchsuite_auth::{
    clock::{Clock, Timestamp},
    error::TokenError,
    machine::CauseKind,
    status::Status,
};
use batchsuite_tests::{DAY, HOUR, Moment, Process, Verb, acme, seconds};

use crate::stage::Stage;

fn jump_back(stage: &Stage, by: Duration) {
    let clock = stage.ups.clock();
    clock.set(clock.now() - by);
}

async fn served_as_ever(stage: &Stage, process: &Process, refreshes: RangeInclusive<u64>) {
    for _ in 0..5 {
        process.token(&acme()).await;
        stage.live(seconds(2)).await;
    }
    assert!(refreshes.contains(&stage.refreshes()), "{}", stage.refreshes());
    assert_eq!(process.cause(&acme()).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_clock_jumps_5_h_ahead() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;

    stage.ups.clock().advance(5 * HOUR);

    served_as_ever(&stage, &process, 1..=1).await;
}

#[tokio::test(start_paused = true)]
async fn the_clock_jumps_5_h_back() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;

    jump_back(&stage, 5 * HOUR);

    served_as_ever(&stage, &process, 1..=1).await;
}

#[tokio::test(start_paused = true)]
async fn the_clock_jumps_a_year_ahead_and_back() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;

    stage.ups.clock().advance(365 * DAY);
    let error = process.auth.access_token(&acme()).await.unwrap_err();
    assert!(
        matches!(&error, TokenError::ReauthRequired(cause) if cause.kind == CauseKind::RefreshExpired),
        "{error:?}"
    );
    stage.live(seconds(30)).await;
    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RefreshExpired), "derived");
    jump_back(&stage, 365 * DAY);

    served_as_ever(&stage, &process, 0..=1).await;
    process.auth.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_and_a_pause_that_a_wrong_clock_set_end_with_it() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(30 * DAY);
    stage.ups.go_offline().await;
    process.auth.access_token(&acme()).await.unwrap_err();
    stage.ups.go_online().await;

    jump_back(&stage, 30 * DAY - HOUR);

    served_as_ever(&stage, &process, 1..=1).await;
}

/// UPS answers at once, and the answer travels for 2.5 s (plus half a second, for the manual clock).
const ON_THE_WAY: Duration = Duration::from_secs(3);
/// The fake's lifetimes.
const LIFETIMES: [Duration; 2] = [Duration::from_secs(3_599), Duration::from_secs(5_183_999)];

/// Asserts that the process trusts no token for longer than UPS, which issued it at `issued`.
async fn ends_when_ups_says(stage: &Stage, process: &Process, issued: Timestamp) {
    let status = process.auth.status(&acme()).await.unwrap().status;
    let Status::Authenticated { refresh_expires_at, .. } = status else { panic!("{status:?}") };
    assert!(refresh_expires_at.unwrap() <= issued + LIFETIMES[1], "{refresh_expires_at:?}");
    stage.ups.go_offline().await;
    stage.ups.clock().set(issued + LIFETIMES[0] - seconds(1));
    process.token(&acme()).await;
    stage.ups.clock().set(issued + LIFETIMES[0]);
    let error = process.auth.access_token(&acme()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    stage.ups.go_online().await;
}

#[tokio::test(start_paused = true)]
async fn a_pair_whose_answer_was_late_is_not_served_past_its_true_end() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let (answer, caller) = stage.caller_before_the_answer(&process).await;
    let issued = stage.ups.clock().now();
    stage.live(ON_THE_WAY).await;
    // The store is unavailable when the pair arrives.
    process.store.fail(Verb::Commit, Moment::Before);
    answer.release();
    stage.live(ON_THE_WAY).await;
    process.store.mend(Verb::Commit);

    let token = caller.await.unwrap().unwrap();

    assert!(token.expires_at() <= issued + LIFETIMES[0], "{}", token.expires_at());
    ends_when_ups_says(&stage, &process, issued).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_pair_whose_answer_was_late_is_not_served_past_its_true_end() {
    let stage = Stage::new().await;
    let process = stage.process();
    let (answer, callback) = stage.callback_before_the_answer(&process).await;
    let issued = stage.ups.clock().now();
    stage.live(ON_THE_WAY).await;
    answer.release();

    let done = callback.await.unwrap().unwrap();

    assert!(done.refresh_expires_at.unwrap() <= issued + LIFETIMES[1]);
    ends_when_ups_says(&stage, &process, issued).await;
}
