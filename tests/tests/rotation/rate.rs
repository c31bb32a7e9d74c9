//! One limiter for callers and the keeper: callers come first, a second never brings more requests than the rate, and a
//! silent UPS holds few of them.

use std::sync::{Arc, Mutex};

use batchsuite_auth::{
    CompanyId,
    error::TokenError,
    fake_ups::{Endpoint, Fault, Times},
};
use batchsuite_tests::{DAY, Process, Verb, acme, company, seconds};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::stage::{Stage, policy};

async fn opted_in(stage: &Stage, process: &Process, count: usize) -> Vec<CompanyId> {
    let companies: Vec<_> = (0..count).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(process, company).await;
    }
    companies
}

/// The times at which requests of the process are sent from now on.
fn times(process: &Process) -> Arc<Mutex<Vec<Instant>>> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    process.http.answer_by(move |_| {
        seen.lock().unwrap().push(Instant::now());
        None
    });
    times
}

#[tokio::test(start_paused = true)]
async fn a_second_never_brings_more_requests_than_the_rate_and_each_caller_is_served() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| {
        policy.refresh_rate = 40;
        policy.max_wait = seconds(60);
    });
    let companies = opted_in(&stage, &process, 300).await;
    stage.access_tokens_end();
    let times = times(&process);

    let callers: Vec<_> = companies.iter().map(|company| process.caller(company)).collect();
    for token in join_all(callers).await {
        token.unwrap().unwrap();
    }

    let times = times.lock().unwrap().clone();
    assert_eq!(times.len(), 300);
    for from in &times {
        let within = times.iter().filter(|at| (*from..*from + seconds(1)).contains(at)).count();
        assert!(within <= 40, "{within} within a second");
    }
    let took = *times.last().unwrap() - times[0];
    assert!(took < seconds(15), "it grew from 20 to 40 a second: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_keeper_with_many_companies_sends_without_a_break() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.refresh_rate = 20;
    let process = stage.process_with(|builder| builder.policy(policy));
    opted_in(&stage, &process, 400).await;
    stage.ups.clock().advance(55 * DAY);
    stage.live(seconds(11)).await;
    assert!(stage.refreshes() > 0, "its first round has begun");

    let began = Instant::now();
    while stage.refreshes() < 400 {
        stage.live(seconds(1)).await;
    }

    // Nine tenths of the rate follow each other evenly; a tenth may be sent at once.
    assert!(began.elapsed() <= seconds(400 / 18 + 1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_caller_does_not_wait_for_the_keepers_companies() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.refresh_rate = 1;
    let process = stage.process_with(|builder| builder.policy(policy));
    opted_in(&stage, &process, 60).await;
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(55 * DAY);
    stage.live(seconds(15)).await;
    let before = stage.refreshes();
    assert!((1..20).contains(&before), "the keeper has begun: {before}");

    let token = process.caller(&acme());
    stage.live(seconds(4)).await;

    assert_eq!(token.await.unwrap().unwrap().revision().version, 2);
    assert!(stage.refreshes() - before <= 4, "the others wait");
}

#[tokio::test(start_paused = true)]
async fn a_caller_comes_before_refreshes_that_nobody_waits_for() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.refresh_rate = 1);
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(seconds(420));
    let companies = opted_in(&stage, &process, 20).await;
    stage.ups.clock().advance(seconds(3180));
    // Acme's token has ended; the others' tokens work, and each is refreshed in the background.
    for company in &companies {
        process.token(company).await;
    }
    sleep(seconds(1)).await;
    assert!(process.auth.health().refreshes_waiting > 10, "{:?}", process.auth.health());
    let before = stage.refreshes();

    assert_eq!(process.token(&acme()).await.revision().version, 2);

    assert!(stage.refreshes() - before <= 2, "the others wait");
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_has_waited_for_its_turn_reads_its_row_again_before_it_claims() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.refresh_rate = 1);
    let companies = opted_in(&stage, &process, 4).await;
    stage.access_tokens_end();
    let callers: Vec<_> = companies.iter().map(|company| process.caller(company)).collect();
    sleep(seconds(1)).await;
    let other = stage.process();
    for company in &companies[2..] {
        other.token(company).await;
    }

    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().revision().version, 2);
    }

    assert_eq!(process.store.calls(Verb::Claim), 2, "the others' rows have moved on");
    assert_eq!(stage.refreshes(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_silent_ups_holds_few_requests_and_a_stopping_process_waits_for_no_turn() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.refresh_rate = 8);
    let companies = opted_in(&stage, &process, 100).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Fault::Hang, Times::UntilCleared);

    let callers: Vec<_> = companies.iter().map(|company| process.caller(company)).collect();
    sleep(seconds(15)).await;
    assert_eq!(process.http.exchanges().len() - companies.len(), 8, "each takes a connection");
    for caller in callers {
        assert!(caller.await.unwrap().is_err_and(|error| error.is_transient()));
    }

    let shutdown = process.auth.shutdown_within(seconds(40)).await;
    assert!(shutdown.is_complete(), "{shutdown:?}");
    assert!(process.http.exchanges().len() - companies.len() <= 8 + 3, "nothing new was sent but trials");
    let error = process.auth.access_token(&companies[99]).await.unwrap_err();
    assert!(matches!(error, TokenError::ShutDown), "{error:?}");
}
