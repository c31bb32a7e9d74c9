//! Clocks that are set: at most one refresh each, and nothing recorded that outlives the wrong clock.

use std::{ops::RangeInclusive, time::Duration};

use batchsuite_auth::{clock::Clock, error::TokenError, machine::CauseKind};

use crate::stage::{DAY, HOUR, Process, Stage, acme, seconds};

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
