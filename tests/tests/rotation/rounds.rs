//! The keeper's rounds: which rows it takes, when, and in which order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use batchsuite_auth::{
    Clock, CompanyId, Environment, Policy,
    clock::Timestamp,
    events::EventKind,
    http::{HttpError, HttpErrorKind},
    store::Store,
    test_util::ManualClock,
};
use batchsuite_tests::{DAY, HOUR, Process, Verb, acme, company, seconds};

use crate::stage::{Stage, policy};

async fn opted_in(stage: &Stage, process: &Process, name: &str, count: usize) -> Vec<CompanyId> {
    let companies: Vec<_> = (0..count).map(|number| company(&format!("{name} {number}"))).collect();
    for company in &companies {
        stage.opt_in(process, company).await;
    }
    companies
}

/// A process with a keeper and this policy.
fn kept(stage: &Stage, change: impl FnOnce(&mut Policy)) -> Process {
    let mut policy = policy();
    change(&mut policy);
    stage.process_with(|builder| builder.policy(policy))
}

#[tokio::test(start_paused = true)]
async fn companies_in_use_are_refreshed_before_idle_ones_that_are_longer_overdue() {
    let stage = Stage::new().await;
    let first = stage.process();
    opted_in(&stage, &first, "idle", 10).await;
    // The idle opt-ins are kept alive from the 53rd day on.
    stage.ups.clock().advance(53 * DAY + 10 * HOUR);
    let used = opted_in(&stage, &first, "used", 10).await;
    stage.store.record_use(Environment::Cie, &used).await.unwrap();
    let mut tokens_in_use = Vec::new();
    for company in &used {
        tokens_in_use.push(stage.tokens_of(company).await.unwrap().refresh.unwrap());
    }
    stage.access_tokens_end();

    let process = kept(&stage, |policy| policy.refresh_rate = 20);
    stage.live(seconds(15)).await;

    let exchanges = process.http.exchanges();
    assert_eq!(exchanges.len(), 20);
    let is_in_use = |sent: &str| tokens_in_use.iter().any(|token| token.expose_secret() == sent);
    let order: Vec<_> = exchanges.iter().map(|sent| is_in_use(&sent.sent("refresh_token").unwrap())).collect();
    assert!(order[..10].iter().all(|is_in_use| *is_in_use), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn the_keeper_takes_no_row_while_refreshes_that_nobody_waits_for_have_no_turn() {
    let stage = Stage::new().await;
    let process = kept(&stage, |policy| policy.refresh_rate = 1);
    let companies = opted_in(&stage, &process, "company", 30).await;
    stage.live(seconds(12)).await;
    stage.refreshes_are_due();
    for company in &companies {
        process.token(company).await;
    }
    stage.live(seconds(1)).await;
    let wakes = process.store.calls(Verb::Wake);

    stage.live(seconds(20)).await;

    assert!(process.auth.health().refreshes_waiting > 0, "{:?}", process.auth.health());
    assert_eq!(process.store.calls(Verb::Wake), wakes);
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_has_much_to_do_records_uses_once_in_each_interval() {
    let stage = Stage::new().await;
    opted_in(&stage, &stage.process(), "company", 100).await;
    stage.ups.clock().advance(55 * DAY);
    let process = kept(&stage, |policy| policy.refresh_rate = 2);
    stage.opt_in(&process, &acme()).await;

    for _ in 0..45 {
        process.token(&acme()).await;
        stage.live(seconds(1)).await;
    }

    let records = process.store.calls(Verb::RecordUse);
    assert!((3..=5).contains(&records), "{records}");
}

#[tokio::test(start_paused = true)]
async fn while_ups_is_out_of_reach_a_round_leaves_the_rows_to_other_keepers() {
    let stage = Stage::new().await;
    let companies = opted_in(&stage, &stage.process(), "company", 60).await;
    stage.ups.clock().advance(55 * DAY);
    let process = kept(&stage, |_| ());
    let is_cut = Arc::new(AtomicBool::new(true));
    let rule = Arc::clone(&is_cut);
    process.http.answer_by(move |_| rule.load(Relaxed).then(|| Err(HttpError::new(HttpErrorKind::Connect))));
    for company in &companies[..3] {
        process.auth.access_token(company).await.unwrap_err();
    }

    stage.live(seconds(12)).await;

    assert!(process.store.calls(Verb::Wake) > 0, "its first round has begun");
    let left = stage.store.wake(Environment::Cie, 100).await.unwrap().len();
    assert!(left >= 45, "{left}");
}

/// A clock that runs ahead of another one.
#[derive(Debug)]
struct Ahead(ManualClock, std::time::Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now() + self.1
    }
}

#[tokio::test(start_paused = true)]
async fn a_keeper_whose_clock_disagrees_with_the_stores_warns_of_no_end() {
    for (ahead, warnings) in [(seconds(299), 1), (seconds(302), 0)] {
        let stage = Stage::new().await;
        stage.opt_in(&stage.process(), &acme()).await;
        stage.ups.clock().advance(47 * DAY);
        let mut policy = policy();
        policy.keep_alive_before_end = seconds(0);
        let process = stage.process_with(|builder| builder.policy(policy).clock(Ahead(stage.ups.clock(), ahead)));

        stage.live(seconds(15)).await;

        let kinds = process.kinds(&acme()).await;
        let warned = kinds.into_iter().filter(|kind| *kind == EventKind::ExpiringSoon).count();
        assert_eq!(warned, warnings, "{ahead:?}");
    }
}
