//! What an answer of UPS, or its silence, means for requests of other companies.

use std::{collections::BTreeSet, time::Duration};

use batchsuite_auth::{
    CompanyId,
    error::{CallbackError, TokenError, Unavailable},
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Times},
    http::HttpErrorKind,
};
use batchsuite_tests::{HOUR, Process, acme, ada, company, log::Log, seconds};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::stage::Stage;

/// This many companies, whose access tokens have ended.
async fn companies(stage: &Stage, count: usize) -> Vec<CompanyId> {
    let process = stage.process();
    let companies: Vec<_> = (0..count).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&process, company).await;
    }
    stage.access_tokens_end();
    companies
}

/// The number of requests that the process has sent.
fn sent(process: &Process) -> usize {
    process.http.exchanges().len()
}

#[tokio::test(start_paused = true)]
async fn a_silence_and_a_429_halve_the_rate() {
    for fault in [Fault::DropAnswer, Fault::TooManyRequests { retry_after: None }] {
        let stage = Stage::new().await;
        let companies = companies(&stage, 1).await;
        let process = stage.process();
        stage.ups.fault(Endpoint::Refresh, fault.clone(), Times::Once);

        process.auth.access_token(&companies[0]).await.unwrap_err();

        assert_eq!(process.auth.health().refresh_rate, 12.5, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn companies_that_failed_together_are_not_tried_again_together() {
    let stage = Stage::new().await;
    let mut retries = BTreeSet::new();
    for company in companies(&stage, 10).await {
        // A process of its own, because the breaker stops the third failure in a row.
        let process = stage.process();
        process.http.answer_next(Err(HttpErrorKind::Connect));
        process.auth.access_token(&company).await.unwrap_err();
        retries.insert(stage.grant_of(&company).await.retry_at.unwrap());
    }

    assert!(retries.len() > 5, "{retries:?}");
}

#[tokio::test(start_paused = true)]
async fn while_ups_has_not_accepted_the_client_one_request_follows_each_that_was_not_sent() {
    let stage = Stage::new().await;
    let companies = companies(&stage, 10).await;
    let process = stage.process();
    let requests: Vec<_> = companies.iter().map(|_| process.http.hold_request()).collect();
    let callers: Vec<_> = companies.iter().map(|company| process.caller(company)).collect();
    sleep(seconds(1)).await;
    assert_eq!(sent(&process), 3);

    process.http.answer_next(Err(HttpErrorKind::Connect));
    requests[0].release();
    sleep(Duration::from_millis(500)).await;

    assert_eq!(sent(&process), 4);
    requests[1..].iter().for_each(|request| request.release());
    for caller in callers.into_iter().skip(1) {
        caller.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_answers_of_others_can_still_send_in_time() {
    let stage = Stage::new().await;
    let companies = companies(&stage, 4).await;
    let process = stage.process_with_policy(|policy| policy.claim_to_send = seconds(2));
    for company in &companies[..3] {
        let request = process.http.hold_request();
        drop(process.caller(company));
        request.reached().await;
    }

    assert_eq!(process.token(&companies[3]).await.revision().version, 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_error_for_a_code_stops_no_refresh() {
    let stage = Stage::new().await;
    let companies = companies(&stage, 1).await;
    let process = stage.process();
    let unknown = Answer::status(400).with_json(json!({"code": "10999", "message": "A new rule"}));
    stage.ups.fault(Endpoint::Token, unknown, Times::Exactly(5));

    for number in 0..5 {
        let company = company(&format!("new {number}"));
        let trip = process.auth.authenticate(&company, &ada()).await.unwrap();
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let error = process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
        assert!(!matches!(error, CallbackError::Misconfigured(_)), "{error:?}");
    }

    process.token(&companies[0]).await;
}

#[tokio::test(start_paused = true)]
async fn operators_read_whether_ups_refuses_the_application_or_several_companies() {
    let stops = "nothing is sent for any company for a while";
    for (fault, words) in [
        (Fault::Blocked, "UPS refuses this application"),
        (Fault::InvalidClient, "UPS refuses this application"),
        (Fault::InvalidRefreshToken, "several companies got this answer"),
    ] {
        let stage = Stage::new().await;
        let companies = companies(&stage, 3).await;
        let (log, _guard) = Log::of_this_test();
        let process = stage.process();
        stage.ups.fault(Endpoint::Refresh, fault.clone(), Times::UntilCleared);
        for company in &companies {
            process.auth.access_token(company).await.unwrap_err();
        }

        let lines = log.lines(stops);
        assert!(matches!(&lines[..], [line] if line.contains(words)), "{fault:?}: {lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_hears_at_once_that_the_refresh_it_waited_for_has_failed() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    // Late enough, so that the token ends before the lease.
    stage.ups.clock().advance(HOUR - seconds(20));
    stage.ups.fault(Endpoint::Refresh, Fault::TooManyRequests { retry_after: None }, Times::Once);
    let answer = process.http.hold_answer();
    process.token(&acme()).await;
    answer.reached().await;
    stage.ups.clock().advance(seconds(20));
    let caller = process.caller(&acme());
    // By now it looks at the row once a second.
    sleep(Duration::from_millis(5200)).await;
    assert!(!caller.is_finished());

    answer.release();
    let released = Instant::now();
    let error = caller.await.unwrap().unwrap_err();

    assert!(
        matches!(error, TokenError::Unavailable { reason: Unavailable::RateLimited | Unavailable::Paused, .. }),
        "{error:?}"
    );
    assert!(released.elapsed() < Duration::from_millis(10), "{:?}", released.elapsed());
}
