//! The keeper: it refreshes used companies before their access token ends, and idle ones before their refresh token
//! ends.

use batchsuite_auth::{
    CompanyId, EventFilter,
    events::EventKind,
    fake_ups::{Edit, Endpoint, FakeUps, Fault, Times},
    store::StoreErrorKind,
};
use batchsuite_tests::{DAY, HOUR, Hold, Moment, Process, Verb, acme, ada, company, log::Log, seconds};

use crate::stage::{Stage, policy};

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
    assert_eq!(process.token(&acme()).await.revision().version, 2, "the caller does not wait for UPS");
    drop(answer);
    // The use is recorded.
    stage.live(seconds(15)).await;

    // Unused for a day, the company is not refreshed.
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
    assert_eq!(stage.refreshes(), 0, "an unused company is not refreshed");

    stage.ups.clock().advance(52 * DAY);
    stage.live(seconds(30)).await;
    assert_eq!(stage.refreshes(), 1, "within 7 days of the end");
    for _ in 0..5 {
        stage.ups.clock().advance(HOUR);
        stage.live(seconds(30)).await;
    }
    assert_eq!(stage.refreshes(), 1, "the keeper's refresh does not count as a use");
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
    policy.refresh_rate = 2;
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
async fn a_refresh_by_the_keeper_is_a_claim_and_a_commit_and_no_reading() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    let companies = opted_in(&stage, &process, 50).await;
    let calls = || [Verb::Load, Verb::Claim, Verb::Commit].map(|verb| process.store.calls(verb));
    let before = calls();
    stage.ups.clock().advance(55 * DAY);

    stage.live(seconds(30)).await;

    assert_eq!(stage.rotations(), 50);
    assert_eq!(calls(), [before[0], before[1] + 50, before[2] + 50]);
    for company in &companies {
        assert_eq!(process.token(company).await.revision().version, 2);
    }
    assert_eq!(process.store.calls(Verb::Load), before[0], "the keeper's pair is cached");
}

#[tokio::test(start_paused = true)]
async fn the_keeper_takes_no_more_than_it_sends_within_a_second() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.refresh_rate = 5;
    let process = stage.process_with(|builder| builder.policy(policy));
    opted_in(&stage, &process, 100).await;
    stage.ups.clock().advance(55 * DAY);
    process.store.hold(Verb::Wake, Moment::Before).release();
    let second = process.store.hold(Verb::Wake, Moment::Before);

    second.reached().await;

    assert_eq!(stage.refreshes(), 5);
    second.release();
}

/// A process whose keeper has just reserved a used company that is due, and is stopped there.
async fn stopped_after_reserving(stage: &Stage) -> (Process, Hold) {
    let process = kept(stage);
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.live(seconds(15)).await;
    stage.refreshes_are_due();
    let due = process.store.hold(Verb::Wake, Moment::After);
    due.reached().await;
    (process, due)
}

/// Another process that tries to refresh and is told to wait for two minutes.
async fn paused_by_another(stage: &Stage) -> Process {
    let other = stage.process();
    stage.access_tokens_end();
    let retry_after = Some("120".to_owned());
    stage.ups.fault(Endpoint::Refresh, Fault::TooManyRequests { retry_after }, Times::Once);
    other.auth.access_token(&acme()).await.unwrap_err();
    other
}

#[tokio::test(start_paused = true)]
async fn what_was_reserved_long_ago_is_read_again_and_its_pause_honoured() {
    let stage = Stage::new().await;
    let (stopped, due) = stopped_after_reserving(&stage).await;
    let _other = paused_by_another(&stage).await;
    stage.live(seconds(3)).await;
    let (loads, claims) = (stopped.store.calls(Verb::Load), stopped.store.calls(Verb::Claim));

    due.release();
    stage.live(seconds(60)).await;

    assert_eq!(stage.refreshes(), 1, "only the other process refreshes");
    assert_eq!((stopped.store.calls(Verb::Load), stopped.store.calls(Verb::Claim)), (loads + 1, claims));
    stage.live(seconds(120)).await;
    assert_eq!(stage.rotations(), 1, "the company is refreshed after the pause");
}

#[tokio::test(start_paused = true)]
async fn what_began_to_pause_since_it_was_reserved_is_not_sent() {
    let stage = Stage::new().await;
    let (stopped, due) = stopped_after_reserving(&stage).await;
    let _other = paused_by_another(&stage).await;
    let claims = stopped.store.calls(Verb::Claim);

    due.release();
    stage.live(seconds(60)).await;

    assert_eq!(stage.refreshes(), 1, "only the other process refreshes");
    assert_eq!(stopped.store.calls(Verb::Claim), claims + 1, "the stopped process loses its claim");
}

#[tokio::test(start_paused = true)]
async fn what_another_process_refreshed_meanwhile_is_not_sent() {
    let stage = Stage::new().await;
    let (stopped, due) = stopped_after_reserving(&stage).await;
    let other = stage.process();
    stage.access_tokens_end();
    other.token(&acme()).await;

    due.release();
    stage.live(seconds(5)).await;

    assert_eq!((stage.refreshes(), stage.rotations()), (1, 1));
    assert_eq!(stopped.token(&acme()).await.revision().version, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_reserved_before_a_removal_is_not_cached_after_it() {
    let stage = Stage::new().await;
    let (stopped, due) = stopped_after_reserving(&stage).await;
    let other = stage.process();
    other.auth.remove_auth(&acme(), &ada()).await.unwrap();
    // The feed reports the removal.
    stage.live(seconds(1)).await;
    let claim = stopped.store.hold(Verb::Claim, Moment::Before);

    due.release();
    claim.reached().await;

    stopped.auth.access_token(&acme()).await.unwrap_err();
    claim.release();
    stage.live(seconds(5)).await;
    stopped.auth.access_token(&acme()).await.unwrap_err();
    assert_eq!(stage.refreshes(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_keepers_share_the_companies_without_refreshing_one_twice() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.refresh_rate = 5;
    let keeper = || stage.process_with(|builder| builder.policy(policy.clone()));
    let (one, other) = (keeper(), keeper());
    opted_in(&stage, &one, 100).await;
    stage.ups.clock().advance(55 * DAY);

    stage.live(seconds(40)).await;

    assert_eq!((stage.refreshes(), stage.rotations()), (100, 100));
    let shares = [one.store.calls(Verb::Claim), other.store.calls(Verb::Claim)];
    assert_eq!(shares.iter().sum::<usize>(), 100, "each company is claimed once");
    assert!(shares.iter().all(|share| *share >= 20), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn expiry_warnings_come_14_7_3_and_1_days_before_the_end_each_once_and_expired_once() {
    let stage = Stage::new().await;
    let mut policy = policy();
    // Without keep-alive, so that the refresh token ends.
    policy.keep_alive_before_end = seconds(0);
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
    policy.keep_alive_before_end = seconds(0);
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
    assert_eq!((process.store.calls(Verb::Wake), process.store.calls(Verb::Notify)), (0, 0));
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

#[tokio::test(start_paused = true)]
async fn a_last_use_that_could_not_be_recorded_is_recorded_later() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    stage.opt_in(&process, &acme()).await;
    process.store.fail(Verb::RecordUse, Moment::Before);
    process.token(&acme()).await;
    stage.live(seconds(60)).await;
    assert!(process.store.calls(Verb::RecordUse) > 3, "recording the use is retried");
    process.store.mend(Verb::RecordUse);
    stage.live(seconds(15)).await;

    stage.refreshes_are_due();
    stage.live(seconds(15)).await;

    assert_eq!(stage.refreshes(), 1, "the company counts as used");
    let told = process.store.calls(Verb::RecordUse);
    stage.live(seconds(60)).await;
    assert_eq!(process.store.calls(Verb::RecordUse), told, "the use is recorded once");
}

#[tokio::test(start_paused = true)]
async fn a_last_use_that_the_store_will_never_take_does_not_stop_the_keeper() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    stage.opt_in(&process, &acme()).await;
    process.store.fail_as(Verb::RecordUse, StoreErrorKind::Rejected);
    process.token(&acme()).await;
    stage.live(seconds(60)).await;
    assert_eq!(process.store.calls(Verb::RecordUse), 1, "the recording is not retried forever");

    stage.ups.clock().advance(55 * DAY);
    stage.live(seconds(15)).await;
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_an_operator_must_help_slows_down_and_goes_on_afterwards() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = kept(&stage);
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(55 * DAY);
    process.store.fail_as(Verb::Wake, StoreErrorKind::Misconfigured);

    stage.live(seconds(600)).await;
    let rounds = process.store.calls(Verb::Wake);
    assert!((18..=25).contains(&rounds), "{rounds}");
    process.store.mend(Verb::Wake);
    stage.live(seconds(31)).await;

    assert_eq!(stage.rotations(), 1);
    assert_eq!([log.lines("the store fails").len(), log.lines("the store works again").len()], [1, 1]);
}

/// The keeper is stopped before it warns, and the row does not change.
#[tokio::test(start_paused = true)]
async fn a_warning_that_comes_too_late_to_be_saved_is_logged_and_repeated_at_once() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let mut policy = policy();
    policy.keep_alive_before_end = seconds(0);
    let process = stage.process_with(|builder| builder.policy(policy));
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(47 * DAY);
    let holds = [(); 2].map(|()| process.store.hold(Verb::Notify, Moment::Before));

    for hold in holds {
        hold.reached().await;
        stage.ups.clock().advance(seconds(6));
        hold.release();
    }
    stage.live(seconds(2)).await;

    assert_eq!(process.kinds(&acme()).await[2..], [EventKind::ExpiringSoon]);
    assert_eq!(process.store.calls(Verb::Notify), 3);
    assert_eq!(log.lines("too late to be saved").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_warning_whose_row_was_saved_meanwhile_is_judged_anew_and_not_called_late() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let mut policy = policy();
    policy.keep_alive_before_end = seconds(0);
    let process = stage.process_with(|builder| builder.policy(policy));
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(47 * DAY);
    let notify = process.store.hold(Verb::Notify, Moment::Before);

    notify.reached().await;
    stage.opt_in(&process, &acme()).await;
    notify.release();
    stage.live(seconds(15)).await;

    assert!(!process.kinds(&acme()).await.contains(&EventKind::ExpiringSoon), "the new opt-in ends in 60 days");
    assert_eq!((process.store.calls(Verb::Notify), log.lines("too late to be saved").len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_always_comes_too_late_is_given_up_until_its_row_wakes_again() {
    let stage = Stage::new().await;
    let process = kept(&stage);
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(55 * DAY);
    stage.delete_tokens(&acme()).await;
    let holds: Vec<_> = (0..8).map(|_| process.store.hold(Verb::Postpone, Moment::Before)).collect();

    for hold in holds {
        hold.reached().await;
        stage.ups.clock().advance(seconds(6));
        hold.release();
    }
    stage.live(seconds(15)).await;
    assert_eq!(process.store.calls(Verb::Postpone), 8);

    stage.live(seconds(120)).await;
    assert_eq!(process.store.calls(Verb::Postpone), 9);
    let row = stage.row(&acme()).await;
    assert!(row.wake_at.is_some_and(|at| at > row.as_of), "{row:?}");
}
