//! The keeper: used companies are refreshed before their access token ends, idle ones before their refresh token does.

use batchsuite_auth::{
    CompanyId, EventFilter,
    events::EventKind,
    fake_ups::{Edit, Endpoint, FakeUps, Times},
};

use crate::{
    flaky::Verb,
    stage::{DAY, HOUR, Process, Stage, acme, company, policy, seconds},
};

/// A process with a keeper.
fn kept(stage: &Stage) -> Process {
    stage.process_with(|builder| builder)
}

async fn opted_in(stage: &Stage, process: &Process, count: usize) -> Vec<CompanyId> {
    let companies: Vec<_> = (0..count).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(process, company).await;
    }
    companies
}

#[tokio::test(start_paused = true)]
async fn a_used_company_is_refreshed_before_its_access_token_ends() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.live(seconds(15)).await;

    stage.ups.clock().advance(HOUR - seconds(300));
    stage.live(seconds(15)).await;
    assert_eq!(stage.refreshes(), 1);
    let answer = process.http.hold_answer();
    assert_eq!(process.token(&acme()).await.revision().version, 2, "nobody waits for UPS");
    drop(answer);

    // Not used for a day: it is let be.
    stage.ups.clock().advance(2 * DAY);
    stage.live(seconds(15)).await;
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_company_is_refreshed_before_its_refresh_token_ends_and_stays_idle() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(2 * DAY);
    stage.live(seconds(15)).await;
    assert_eq!(stage.refreshes(), 0, "it is not used");

    stage.ups.clock().advance(52 * DAY);
    stage.live(seconds(30)).await;
    assert_eq!(stage.refreshes(), 1, "within 7 days of the end");
    for _ in 0..5 {
        stage.ups.clock().advance(HOUR);
        stage.live(seconds(30)).await;
    }
    assert_eq!(stage.refreshes(), 1, "what the keeper does is no use");
}

#[tokio::test(start_paused = true)]
async fn a_company_whose_refresh_tokens_end_is_unknown_is_refreshed_in_time() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    stage.ups.fault(Endpoint::Token, Edit::default().remove("refresh_token_expires_in"), Times::Once);
    stage.opt_in(&process, &acme()).await;

    stage.ups.clock().advance(7 * DAY);
    stage.live(seconds(15)).await;

    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_keeper_honours_its_rate_limit() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.keeper_rate = 2;
    let process = stage.process_with(|builder| builder.policy(policy));
    opted_in(&stage, &process, 100).await;
    stage.ups.clock().advance(55 * DAY);

    let mut before = 0;
    for _ in 0..40 {
        stage.live(seconds(1)).await;
        let now = stage.refreshes();
        assert!(now - before <= 3, "{}", now - before);
        before = now;
    }
    assert!((20..=80).contains(&before), "{before}");
}

#[tokio::test(start_paused = true)]
async fn two_keepers_share_the_companies_without_refreshing_one_twice() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.keeper_rate = 5;
    let keeper = || stage.process_with(|builder| builder.policy(policy.clone()));
    let (one, other) = (keeper(), keeper());
    opted_in(&stage, &one, 100).await;
    stage.ups.clock().advance(55 * DAY);

    stage.live(seconds(40)).await;

    assert_eq!((stage.refreshes(), stage.rotations()), (100, 100));
    let shares = [one.store.calls(Verb::Claim), other.store.calls(Verb::Claim)];
    assert_eq!(shares.iter().sum::<usize>(), 100, "each is claimed once");
    assert!(shares.iter().all(|share| *share >= 20), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn expiry_warnings_come_14_7_3_and_1_days_before_the_end_each_once_and_expired_once() {
    let stage = Stage::new().await;
    let mut policy = policy();
    // Nothing is kept alive, so that it ends.
    policy.keep_alive = seconds(0);
    let keeper = || stage.process_with(|builder| builder.policy(policy.clone()));
    let (one, other) = (keeper(), keeper());
    stage.opt_in(&one, &acme()).await;

    let mut told = Vec::new();
    for day in 0..63 {
        stage.live(seconds(15)).await;
        let kinds = other.kinds(&acme()).await;
        told.resize(kinds.len(), day);
        stage.ups.clock().advance(DAY - seconds(15));
    }

    let kinds = other.kinds(&acme()).await;
    let days: Vec<_> = kinds.iter().copied().zip(told).skip(2).collect();
    let soon = EventKind::ExpiringSoon;
    assert_eq!(days, [(soon, 46), (soon, 53), (soon, 57), (soon, 59), (EventKind::Expired, 60)]);
    assert_eq!(stage.refreshes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_refresh_token_begins_the_warnings_anew() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.keep_alive = seconds(0);
    let process = stage.process_with(|builder| builder.policy(policy));
    stage.opt_in(&process, &acme()).await;
    for _ in 0..2 {
        stage.ups.clock().advance(47 * DAY);
        stage.live(seconds(15)).await;
        process.token(&acme()).await;
    }

    let soon = process.kinds(&acme()).await.into_iter().filter(|kind| *kind == EventKind::ExpiringSoon).count();
    assert_eq!(soon, 2);
}

#[tokio::test(start_paused = true)]
async fn without_keeper_nothing_is_done_before_somebody_asks() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;

    for _ in 0..61 {
        stage.ups.clock().advance(DAY);
        stage.live(seconds(15)).await;
    }

    assert_eq!(stage.refreshes(), 0);
    assert_eq!((process.store.calls(Verb::Due), process.store.calls(Verb::Warn)), (0, 0));
    let events = process.auth.events(EventFilter::default()).await.unwrap().items;
    assert_eq!(events.len(), 2, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn the_keeper_leaves_alone_what_needs_a_person() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.live(seconds(15)).await;
    stage.ups.change_password(FakeUps::USER);
    stage.ups.clock().advance(HOUR);
    stage.live(seconds(60)).await;
    assert_eq!(stage.refreshes(), 1);

    stage.live(seconds(600)).await;

    assert_eq!(stage.refreshes(), 1);
}
