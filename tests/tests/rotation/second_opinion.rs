//! The second opinion: a refusal is reported at once, and UPS is asked again before the refresh token is erased.

use batchsuite_auth::{
    CompanyId,
    clock::Clock,
    events::EventKind,
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    machine::CauseKind,
    status::Status,
};
use batchsuite_tests::{HOUR, Process, acme, ada, company, seconds};

use crate::stage::{Stage, policy};

/// A process with a keeper, and companies that it keeps fresh.
async fn in_use(stage: &Stage, count: usize) -> (Process, Vec<CompanyId>) {
    let process = stage.process_with(|builder| builder);
    let companies: Vec<_> = (0..count).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&process, company).await;
        process.token(company).await;
    }
    stage.live(seconds(15)).await;
    (process, companies)
}

/// The time in the company's status at which UPS is asked again.
async fn asked_again_at(process: &Process, company: &CompanyId) -> Option<batchsuite_auth::clock::Timestamp> {
    match process.auth.status(company).await.unwrap().status {
        Status::ReauthRequired(cause) => cause.asked_again_at,
        _ => None,
    }
}

/// The second of each refusal, counted from now.
async fn refusals_within(stage: &Stage, time: u64) -> Vec<u64> {
    let mut refusals = Vec::new();
    for second in 0..time {
        stage.live(seconds(1)).await;
        let new = stage.refreshes() - refusals.len() as u64;
        refusals.extend((0..new).map(|_| second));
    }
    refusals
}

#[tokio::test(start_paused = true)]
async fn a_wave_of_refusals_ends_with_every_opt_in_alive() {
    let stage = Stage::new().await;
    let (process, companies) = in_use(&stage, 50).await;
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::UntilCleared);
    stage.refreshes_are_due();

    // From the third refusal on.
    let trials = refusals_within(&stage, 20 * 60).await.split_off(2);
    stage.ups.clear_faults(Endpoint::Refresh);
    stage.live(HOUR).await;

    // One trial per pause. Pauses double from 30 s to a quarter of an hour.
    let pauses: Vec<_> = trials.windows(2).map(|trials| trials[1] - trials[0]).collect();
    assert!((4..=6).contains(&pauses.len()), "{trials:?}");
    for (pause, least) in pauses.iter().zip([30, 60, 120, 240, 480, 900]) {
        assert!(*pause + 1 >= least, "one trial per pause: {trials:?}");
    }
    for company in &companies {
        assert_eq!(process.cause(company).await, None, "{company}");
        process.token(company).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_change_is_told_at_the_first_refusal_and_its_access_token_is_never_served_again() {
    let stage = Stage::new().await;
    let (process, _) = in_use(&stage, 0).await;
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.live(seconds(15)).await;
    stage.ups.change_password(FakeUps::USER);
    stage.refreshes_are_due();
    stage.live(seconds(30)).await;

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::OptInInvalidated), "the access token has not expired");
    let again = asked_again_at(&process, &acme()).await.unwrap();
    for asks in [1, 2, 3, 4, 4] {
        assert_eq!(stage.refreshes(), asks);
        process.auth.access_token(&acme()).await.unwrap_err();
        let (left, is_kept) = (asked_again_at(&process, &acme()).await, stage.tokens_of(&acme()).await.is_some());
        assert_eq!((left.is_some(), is_kept), (asks < 4, asks < 4), "after the last refusal the token is erased");
        let until = left.unwrap_or(again) - stage.ups.clock().now();
        stage.ups.clock().advance(until.to_std().unwrap_or(24 * HOUR));
        stage.live(seconds(30)).await;
    }
    let invalidated = process.kinds(&acme()).await.into_iter().filter(|kind| *kind == EventKind::Invalidated).count();
    assert_eq!(invalidated, 1, "it is told once");
}

#[tokio::test(start_paused = true)]
async fn the_access_token_of_a_refused_opt_in_is_gone_from_every_process_within_seconds() {
    let stage = Stage::new().await;
    let (noticing, other) = (stage.process(), stage.process());
    stage.opt_in(&noticing, &acme()).await;
    let token = noticing.token(&acme()).await;
    stage.live(seconds(3)).await;
    other.token(&acme()).await;

    stage.ups.change_password(FakeUps::USER);
    let refused = noticing.auth.report_rejected(&acme(), &token).await.unwrap_err();
    stage.live(seconds(3)).await;

    assert!(refused.needs_reauthorization(), "{refused:?}");
    for process in [&noticing, &other] {
        assert!(process.auth.access_token(&acme()).await.unwrap_err().needs_reauthorization());
    }
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_token_ends_with_a_new_consent_and_with_a_removal() {
    for is_removed in [false, true] {
        let stage = Stage::new().await;
        let process = stage.process_with(|builder| builder);
        stage.opt_in(&process, &acme()).await;
        stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
        stage.access_tokens_end();
        process.auth.access_token(&acme()).await.unwrap_err();
        let refused = stage.tokens_of(&acme()).await.unwrap().refresh.unwrap();

        if is_removed {
            process.auth.remove_auth(&acme(), &ada()).await.unwrap();
            assert!(stage.tokens_of(&acme()).await.is_none());
        } else {
            stage.opt_in(&process, &acme()).await;
            assert!(!stage.tokens_of(&acme()).await.unwrap().refresh.unwrap().matches(&refused));
        }
        stage.live(seconds(20 * 60)).await;

        assert_eq!(stage.refreshes(), 1, "UPS is not asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_mistake_is_taken_back_by_itself() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    stage.opt_in(&process, &acme()).await;
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();

    stage.live(seconds(15 * 60 + 30)).await;

    assert_eq!(process.cause(&acme()).await, None);
    assert_eq!(process.kinds(&acme()).await.last(), Some(&EventKind::Recovered));
    assert_eq!(process.token(&acme()).await.revision().version, 2);
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_asks_nothing_and_erases_the_token_at_once() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.second_opinions = Vec::new();
    let process = stage.process_with(|builder| builder.policy(policy));
    stage.opt_in(&process, &acme()).await;
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();

    assert!(stage.tokens_of(&acme()).await.is_none());
    stage.live(seconds(20 * 60)).await;
    assert_eq!(stage.refreshes(), 1);
}
