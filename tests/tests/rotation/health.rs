//! The health of a process: each fault shows within an interval and is gone after.

use batchsuite_auth::{
    Clock, Health, KeeperHealth,
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    store::StoreErrorKind,
};
use batchsuite_tests::{DAY, HOUR, Moment, Process, Verb, acme, company, seconds};

use crate::stage::{Stage, policy};

/// A process with a keeper that looks every ten seconds.
async fn with_keeper() -> (Stage, Process) {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder.policy(policy()));
    stage.opt_in(&process, &acme()).await;
    stage.live(seconds(12)).await;
    (stage, process)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_is_seen_within_an_interval_and_so_is_its_return() {
    let (stage, process) = with_keeper().await;
    assert!(process.auth.health().is_healthy(), "{:?}", process.auth.health());

    process.store.go_away();
    stage.live(seconds(2)).await;
    let away = process.auth.health();
    assert!(!away.is_ready() && away.store_fails_since.is_some() && away.store_error.is_some(), "{away:?}");

    process.store.come_back();
    stage.live(seconds(2)).await;
    assert!(process.auth.health().is_healthy(), "{:?}", process.auth.health());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_write_is_not_ready_though_the_feed_is_read() {
    let (stage, process) = with_keeper().await;
    process.store.fail(Verb::Wake, Moment::Before);
    stage.live(seconds(11)).await;
    for _ in 0..30 {
        let read_only = process.auth.health();
        assert!(!read_only.is_ready() && !read_only.feed_is_stale, "{read_only:?}");
        stage.live(seconds(2)).await;
    }

    process.store.mend(Verb::Wake);
    stage.live(seconds(11)).await;
    assert!(process.auth.health().is_healthy(), "{:?}", process.auth.health());
}

#[tokio::test(start_paused = true)]
async fn an_error_about_one_value_is_no_failure_of_the_store() {
    let (stage, process) = with_keeper().await;
    process.store.fail_as(Verb::Load, StoreErrorKind::Corrupt);
    process.auth.status(&acme()).await.unwrap_err();
    assert!(process.auth.health().is_ready());

    process.store.fail_as(Verb::Load, StoreErrorKind::Misconfigured);
    process.auth.status(&acme()).await.unwrap_err();
    let since = process.auth.health().store_fails_since;
    assert!(since.is_some());
    process.store.mend(Verb::Load);
    stage.live(seconds(2)).await;
    assert_eq!(process.auth.health().store_fails_since, None);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_cannot_be_read_is_stale_after_the_longest_age_of_the_cache() {
    let (stage, process) = with_keeper().await;
    process.store.hang(Verb::Changes);
    stage.live(seconds(28)).await;
    assert!(!process.auth.health().feed_is_stale);

    stage.live(seconds(5)).await;
    let stale = process.auth.health();
    assert!(stale.feed_is_stale && !stale.is_ready() && stale.store_fails_since.is_none(), "{stale:?}");
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_hangs_is_silent_after_three_intervals_and_lags_are_told() {
    let (stage, process) = with_keeper().await;
    assert!(matches!(process.auth.health().keeper, KeeperHealth::Works { .. }));

    process.store.hang(Verb::Wake);
    stage.live(seconds(45)).await;
    let silent = process.auth.health();
    assert!(matches!(silent.keeper, KeeperHealth::Silent { .. }), "{silent:?}");
    assert!(!silent.is_healthy() && silent.is_ready(), "callers are served: {silent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_without_a_keeper_or_that_stops_has_none() {
    let stage = Stage::new().await;
    let without = stage.process();
    assert_eq!(without.auth.health().keeper, KeeperHealth::Off);

    let (stage, process) = with_keeper().await;
    process.auth.quiesce();
    stage.live(seconds(1)).await;
    let stopping = process.auth.health();
    assert_eq!(stopping.keeper, KeeperHealth::Off);
    assert!(stopping.is_stopping && !stopping.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_way_to_ups_that_is_cut_is_seen_and_so_is_its_mend() {
    let (stage, process) = with_keeper().await;
    let companies: Vec<_> = (0..3).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&process, company).await;
    }
    stage.ups.fault(Endpoint::Refresh, Fault::Reset, Times::UntilCleared);
    stage.access_tokens_end();
    stage.live(seconds(2)).await;
    for company in &companies {
        process.auth.access_token(company).await.unwrap_err();
    }
    let cut = process.auth.health();
    assert!(!cut.is_healthy() && cut.is_ready() && !cut.ups.is_empty(), "{cut:?}");

    stage.ups.clear_faults(Endpoint::Refresh);
    stage.live(seconds(90)).await;
    let mended: Health = process.auth.health();
    assert!(mended.is_healthy(), "{mended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_may_not_begin_enough_refreshes_lags_until_it_has_caught_up() {
    let stage = Stage::new().await;
    let first = stage.process();
    for number in 0..20 {
        stage.opt_in(&first, &company(&format!("company {number}"))).await;
    }
    // The opt-ins are kept alive from three quarters of their 60 days on.
    stage.ups.clock().advance(46 * DAY);

    let process = stage.process_with(|builder| {
        let mut policy = policy();
        policy.refresh_rate = 1;
        policy.keep_alive_before_end = 30 * DAY;
        builder.policy(policy)
    });
    stage.live(seconds(12)).await;
    let behind = process.auth.health();
    let KeeperHealth::Works { lag, .. } = behind.keeper else { panic!("{behind:?}") };
    assert!(lag > seconds(300), "{lag:?}");
    assert!(!behind.is_healthy() && behind.is_ready(), "{behind:?}");

    stage.live(seconds(60)).await;
    assert!(process.auth.health().is_healthy(), "{:?}", process.auth.health());
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_lags_tells_when_it_will_have_caught_up() {
    let stage = Stage::over(FakeUps::builder().refresh_lifetime(20 * HOUR).start().await);
    let first = stage.process();
    for number in 0..25 {
        stage.opt_in(&first, &company(&format!("company {number}"))).await;
        stage.ups.clock().advance(seconds(600));
    }
    // Each is kept alive from three quarters of its 20 hours on: the last one about now, the first one for four hours.
    stage.ups.clock().advance(15 * HOUR);
    let process = stage.process_with(|builder| {
        let mut policy = policy();
        policy.refresh_rate = 1;
        policy.keep_alive_before_end = 30 * DAY;
        builder.policy(policy)
    });

    stage.live(seconds(35)).await;
    let told = process.auth.health();
    let KeeperHealth::Works { caught_up_at: Some(told), .. } = told.keeper else { panic!("{told:?}") };
    while !process.auth.health().keeper.keeps_up() {
        stage.live(seconds(1)).await;
    }
    let caught_up_at = stage.ups.clock().now();

    let wrong = (caught_up_at - told).abs().to_std().unwrap();
    assert!(wrong <= seconds(10), "{told} was told, and it was {caught_up_at}");
    stage.live(seconds(10)).await;
    let KeeperHealth::Works { lag, caught_up_at, .. } = process.auth.health().keeper else { panic!() };
    assert_eq!((lag, caught_up_at), (seconds(0), None));
}

#[tokio::test(start_paused = true)]
async fn a_keeper_works_from_the_start_and_is_silent_if_its_first_round_hangs() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder.policy(policy()));
    process.store.hang(Verb::Wake);
    let started = process.auth.health();
    assert!(matches!(started.keeper, KeeperHealth::Works { .. }), "{started:?}");

    stage.live(seconds(60)).await;
    let silent = process.auth.health();
    assert!(matches!(silent.keeper, KeeperHealth::Silent { .. }), "{silent:?}");
}
