//! UPS out of reach: a state of the whole client. Single requests are sent as trials, one event tells the beginning and
//! one the end, and then every company is served at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use batchsuite_auth::{
    CompanyId, EventFilter,
    error::{TokenError, Unavailable},
    events::EventKind,
    fake_ups::{Endpoint, Fault, Times},
    http::{HttpError, HttpErrorKind},
};
use batchsuite_tests::{Moment, Process, Verb, company, eventually, seconds};
use tokio::time::Instant;

use crate::stage::{Stage, policy};

/// This many companies, whose access tokens have ended.
async fn companies(stage: &Stage, process: &Process, count: usize) -> Vec<CompanyId> {
    let companies: Vec<_> = (0..count).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(process, company).await;
    }
    stage.access_tokens_end();
    stage.live(seconds(2)).await;
    companies
}

/// Refuses the process's connections while it is set.
fn cut(process: &Process) -> Arc<AtomicBool> {
    let is_cut = Arc::new(AtomicBool::new(true));
    let rule = Arc::clone(&is_cut);
    process.http.answer_by(move |_| rule.load(Relaxed).then(|| Err(HttpError::new(HttpErrorKind::Connect))));
    is_cut
}

/// All events since the opt-ins, by kind.
async fn kinds(process: &Process) -> Vec<EventKind> {
    let events = process.auth.events(EventFilter::new().with_limit(10_000)).await.unwrap().items;
    let kinds = events.into_iter().map(|event| event.kind);
    kinds.filter(|kind| !matches!(kind, EventKind::Started | EventKind::Authenticated)).collect()
}

#[tokio::test(start_paused = true)]
async fn while_ups_is_out_of_reach_only_trials_are_sent_and_two_events_tell_it() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 100).await;
    let is_cut = cut(&process);

    for _ in 0..60 {
        for company in &companies {
            let error = process.auth.access_token(company).await.unwrap_err();
            let TokenError::Unavailable { reason, retry_after } = error else { panic!("{error:?}") };
            assert!(matches!(reason, Unavailable::NotSent | Unavailable::Paused), "{reason:?}");
            assert!(retry_after <= seconds(60), "{retry_after:?}");
        }
        stage.live(seconds(5)).await;
    }
    let sent = process.http.exchanges().len() - companies.len();
    assert!((25..=40).contains(&sent), "a trial every ten seconds for five minutes: {sent}");
    is_cut.store(false, Relaxed);
    stage.live(seconds(11)).await;

    // The first caller is the trial; all others follow it.
    for company in &companies {
        process.token(company).await;
    }
    eventually("the end is told", async || kinds(&process).await.contains(&EventKind::InReach)).await;
    let mut told = kinds(&process).await;
    told.retain(|kind| *kind != EventKind::Refreshed);
    let failed = EventKind::RefreshFailed;
    assert_eq!(told, [failed, failed, EventKind::OutOfReach, EventKind::InReach]);
}

#[tokio::test(start_paused = true)]
async fn four_processes_tell_one_outage_once() {
    let stage = Stage::new().await;
    let processes: Vec<_> = (0..4).map(|_| stage.process()).collect();
    let companies = companies(&stage, &processes[0], 40).await;
    let cuts: Vec<_> = processes.iter().map(cut).collect();
    for _ in 0..10 {
        for (number, company) in companies.iter().enumerate() {
            processes[number % 4].auth.access_token(company).await.unwrap_err();
        }
        stage.live(seconds(3)).await;
    }
    cuts.iter().for_each(|is_cut| is_cut.store(false, Relaxed));
    stage.live(seconds(11)).await;
    for (number, company) in companies.iter().enumerate() {
        processes[number % 4].token(company).await;
    }

    eventually("the end is told", async || kinds(&processes[0]).await.contains(&EventKind::InReach)).await;
    let told = kinds(&processes[0]).await;
    let count = |kind| told.iter().filter(|told| **told == kind).count();
    assert_eq!((count(EventKind::OutOfReach), count(EventKind::InReach)), (1, 1), "{told:?}");
    assert!(count(EventKind::RefreshFailed) <= 8, "two of each process: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn when_ups_answers_again_the_pauses_of_its_silence_end() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 4).await;
    stage.ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::UntilCleared);
    // Each company is asked about many times, so its own pause has grown to minutes, and the first one's has just begun.
    let begun = Instant::now();
    let mut far = false;
    while !far && begun.elapsed() < Duration::from_secs(7200) {
        for company in &companies[..3] {
            let _ = process.auth.access_token(company).await;
        }
        stage.live(seconds(20)).await;
        let soon = batchsuite_auth::Clock::now(&stage.ups.clock()) + chrono::TimeDelta::minutes(2);
        far = begun.elapsed() > Duration::from_secs(3600)
            && stage.grant_of(&companies[0]).await.retry_at.is_some_and(|at| at > soon);
    }
    stage.ups.clear_faults(Endpoint::Refresh);

    // Another company, that nobody has asked about, is the one that finds UPS well.
    eventually("UPS answers", async || {
        stage.live(seconds(1)).await;
        process.auth.access_token(&companies[3]).await.is_ok()
    })
    .await;
    stage.live(seconds(61)).await;
    for company in &companies[..3] {
        process.token(company).await;
    }
    assert!(far, "it had minutes to wait");
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_could_not_be_sent_makes_room_for_the_next() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 6).await;
    let is_cut = cut(&process);
    for company in &companies[..3] {
        process.auth.access_token(company).await.unwrap_err();
    }
    is_cut.store(false, Relaxed);
    stage.live(seconds(3)).await;

    process.store.fail_once(Verb::Claim, Moment::Before);
    process.auth.access_token(&companies[3]).await.unwrap_err();

    process.token(&companies[4]).await;
}

#[tokio::test(start_paused = true)]
async fn the_keeper_sends_trials_only_and_warns_of_an_end_all_the_same() {
    let stage = Stage::new().await;
    let first = stage.process();
    let companies = companies(&stage, &first, 50).await;
    stage.ups.clock().advance(seconds(53 * 86_400));
    let process = stage.process_with(|builder| builder.policy(policy()));
    let is_cut = cut(&process);
    stage.live(seconds(600)).await;

    let sent = process.http.exchanges().len();
    assert!((10..70).contains(&sent), "a trial in each round at the most: {sent}");
    assert!(!process.auth.health().is_healthy());
    assert!(!kinds(&process).await.contains(&EventKind::ExpiringSoon), "too early: the renewal may still succeed");
    stage.ups.clock().advance(seconds(13 * 3600));
    stage.live(seconds(600)).await;
    let warned = kinds(&process).await.into_iter().filter(|kind| *kind == EventKind::ExpiringSoon).count();
    assert!(warned > 0, "people are needed by now");

    is_cut.store(false, Relaxed);
    stage.live(seconds(180)).await;
    assert_eq!(stage.rotations(), companies.len() as u64, "all are renewed");
}

#[tokio::test(start_paused = true)]
async fn what_the_keeper_took_during_the_outage_does_not_stay_hidden_after_it() {
    let stage = Stage::new().await;
    let companies = companies(&stage, &stage.process(), 50).await;
    stage.ups.clock().advance(seconds(53 * 86_400));
    let process = stage.process_with(|builder| builder.policy(policy()));
    let is_cut = cut(&process);
    stage.live(seconds(600)).await;
    assert_eq!(stage.rotations(), 0);

    is_cut.store(false, Relaxed);
    stage.live(seconds(30)).await;

    assert_eq!(stage.rotations(), companies.len() as u64, "a keeper hides a row for two minutes");
}

/// An outage, and twenty companies without a token. The process that told of it has ended.
async fn told_by_a_process_that_has_ended() -> (Stage, Vec<CompanyId>) {
    let stage = Stage::new().await;
    let first = stage.process();
    let companies = companies(&stage, &first, 20).await;
    stage.ups.fault(Endpoint::Refresh, Fault::Reset, Times::UntilCleared);
    for company in &companies[..3] {
        first.auth.access_token(company).await.unwrap_err();
    }
    eventually("the outage is told", async || kinds(&first).await.contains(&EventKind::OutOfReach)).await;
    first.auth.shutdown().await;
    (stage, companies)
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_during_an_outage_sends_trials_and_tells_its_end() {
    let (stage, companies) = told_by_a_process_that_has_ended().await;

    let second = stage.process_with(|builder| builder.policy(policy()));
    stage.live(seconds(12)).await;
    assert!(!second.auth.health().is_healthy(), "it has read of the outage: {:?}", second.auth.health());
    let before = second.http.exchanges().len();
    for company in &companies[5..] {
        second.auth.access_token(company).await.unwrap_err();
    }
    assert_eq!(second.http.exchanges().len() - before, 1, "a trial");
    stage.ups.clear_faults(Endpoint::Refresh);
    stage.live(seconds(30)).await;
    second.token(&companies[19]).await;
    stage.live(seconds(2)).await;

    let told: Vec<_> = kinds(&second).await.into_iter().filter(|kind| is_of_outage(*kind)).collect();
    assert_eq!(told, [EventKind::OutOfReach, EventKind::InReach]);
    assert!(second.auth.health().is_healthy(), "{:?}", second.auth.health());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ups_answers_ends_an_outage_that_nobody_is_left_to_end() {
    let (stage, companies) = told_by_a_process_that_has_ended().await;
    stage.ups.clear_faults(Endpoint::Refresh);

    // UPS answers before the keeper's first look.
    let second = stage.process_with(|builder| builder.policy(policy()));
    second.token(&companies[19]).await;
    assert!(!kinds(&second).await.contains(&EventKind::InReach));
    stage.live(seconds(12)).await;

    assert!(kinds(&second).await.contains(&EventKind::InReach));
}

#[tokio::test(start_paused = true)]
async fn the_silence_of_trials_does_not_lower_the_rate() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.refresh_rate = 40);
    let companies = companies(&stage, &process, 40).await;
    stage.ups.fault(Endpoint::Refresh, Fault::Reset, Times::UntilCleared);
    for company in &companies[..3] {
        process.auth.access_token(company).await.unwrap_err();
    }
    let before = process.auth.health().refresh_rate;
    let sent = process.http.exchanges().len();

    for company in &companies[3..] {
        process.auth.access_token(company).await.unwrap_err();
        stage.live(seconds(11)).await;
    }

    assert!(process.http.exchanges().len() - sent > 20, "trials were sent");
    assert!(process.auth.health().refresh_rate >= before, "{before}, then {}", process.auth.health().refresh_rate);
}

fn is_of_outage(kind: EventKind) -> bool {
    matches!(kind, EventKind::OutOfReach | EventKind::InReach)
}

#[tokio::test(start_paused = true)]
async fn callers_who_ask_again_and_again_do_not_keep_a_process_from_finding_ups_well() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.refresh_rate = 4);
    let companies = companies(&stage, &process, 150).await;
    process.store.set_distance(Duration::from_millis(2));
    stage.ups.fault(Endpoint::Refresh, Fault::Hang, Times::UntilCleared);
    let (stage, process, companies) = (&stage, &process, &companies);
    let ask_for = |time: u64| async move {
        for _ in 0..time / 5 {
            companies.iter().for_each(|company| drop(process.caller(company)));
            stage.live(seconds(5)).await;
        }
    };
    ask_for(400).await;
    let before = stage.rotations();
    stage.ups.clear_faults(Endpoint::Refresh);

    ask_for(120).await;

    assert!(kinds(process).await.contains(&EventKind::InReach), "{:?}", process.auth.health());
    assert!(stage.rotations() - before > 75, "{}: half of the rate", stage.rotations() - before);
}
