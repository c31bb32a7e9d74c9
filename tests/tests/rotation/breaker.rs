//! What concerns every company: rate limits, and the breaker of the whole client.

use batchsuite_auth::{
    Client, ClientAuthentication, CompanyId,
    error::{TokenError, Unavailable},
    events::EventKind,
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Outcome, Times},
    machine::CauseKind,
};
use futures_util::future::join_all;
use serde_json::json;

use crate::stage::{Process, Stage, acme, company, seconds};

async fn companies(stage: &Stage, process: &Process, count: usize) -> Vec<CompanyId> {
    let companies: Vec<_> = (0..count).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(process, company).await;
    }
    companies
}

#[tokio::test(start_paused = true)]
async fn a_429_pauses_the_whole_client_and_obeys_retry_after() {
    for (retry_after, pause) in [(None, 30), (Some("120"), 120), (Some("999999"), 3600)] {
        let stage = Stage::new().await;
        let process = stage.process();
        let companies = companies(&stage, &process, 10).await;
        stage.access_tokens_end();
        let retry_after = retry_after.map(str::to_owned);
        stage.ups.fault(Endpoint::Refresh, Fault::TooManyRequests { retry_after }, Times::Once);

        for company in &companies {
            let error = process.auth.access_token(company).await.unwrap_err();
            let TokenError::Unavailable { reason: Unavailable::RateLimited, retry_after } = error else {
                panic!("{error:?}")
            };
            assert_eq!(retry_after, seconds(pause));
        }
        stage.ups.clock().advance(seconds(pause - 1));
        assert!(process.auth.access_token(&companies[1]).await.is_err());
        assert_eq!(stage.refreshes(), 1, "nothing is sent for anybody");
        stage.ups.clock().advance(seconds(1));

        for company in &companies {
            process.token(company).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_does_not_clear_unanswered() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once);
    stage.ups.fault(Endpoint::Refresh, Fault::TooManyRequests { retry_after: None }, Times::Once);
    process.auth.access_token(&acme()).await.unwrap_err();
    stage.live(seconds(65)).await;
    process.auth.access_token(&acme()).await.unwrap_err();
    assert!(stage.opt_in_of(&acme()).await.unanswered);
    stage.live(seconds(31)).await;

    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));
}

/// A process with a wrong secret over a store with good opt-ins.
fn misconfigured(stage: &Stage) -> Process {
    let client = Client::new(FakeUps::CLIENT_ID, "wrong").with_authentication(ClientAuthentication::Secret);
    stage.process_as(client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_companies_with_one_bad_secret_open_one_breaker_and_need_no_new_opt_in() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 1000).await;
    let bad = misconfigured(&stage);
    stage.access_tokens_end();

    let all = || join_all(companies.iter().map(|company| bad.auth.access_token(company)));
    for ended in all().await {
        assert!(matches!(ended, Err(TokenError::Misconfigured { .. })), "{ended:?}");
    }
    // Whoever was past the breaker when the first answer came is refused, too; it is not a walk through all of them.
    let sent = stage.ups.requests().count(Endpoint::Refresh, Outcome::BadClient);
    assert!((1..50).contains(&sent), "{sent}");
    for ended in all().await {
        assert!(matches!(ended, Err(TokenError::Misconfigured { .. })), "{ended:?}");
    }
    assert_eq!(stage.ups.requests().count(Endpoint::Refresh, Outcome::BadClient), sent);

    // Half-open: one trial.
    stage.ups.clock().advance(seconds(30));
    assert!(all().await.iter().all(Result::is_err));
    assert_eq!(stage.ups.requests().count(Endpoint::Refresh, Outcome::BadClient), sent + 1);
    stage.ups.clock().advance(seconds(59));
    assert!(all().await.iter().all(Result::is_err));
    assert_eq!(stage.ups.requests().count(Endpoint::Refresh, Outcome::BadClient), sent + 1, "the pause has grown");

    let good = stage.process();
    for company in &companies {
        assert_eq!(good.cause(company).await, None);
        good.token(company).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_requests_that_were_under_way_together_count_as_one() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 20).await;
    let bad = misconfigured(&stage);
    stage.access_tokens_end();

    let requests: Vec<_> = companies.iter().map(|_| bad.http.hold_request()).collect();
    let callers: Vec<_> = companies.iter().map(|company| bad.caller(company)).collect();
    for request in &requests {
        request.reached().await;
    }
    requests.iter().for_each(crate::hold::Hold::release);
    for caller in callers {
        caller.await.unwrap().unwrap_err();
    }
    stage.ups.clock().advance(seconds(30));
    bad.auth.access_token(&companies[0]).await.unwrap_err();

    let sent = stage.ups.requests().count(Endpoint::Refresh, Outcome::BadClient);
    assert_eq!(sent, 21, "after the first pause comes a trial");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_client_keeps_its_tokens_and_a_trial_that_succeeds_lets_everybody_go_on() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 5).await;
    stage.access_tokens_end();
    stage.ups.block_client();
    for company in &companies {
        let error = process.auth.access_token(company).await.unwrap_err();
        assert!(matches!(error, TokenError::Misconfigured { .. }) && error.retry_after().is_some(), "{error:?}");
    }
    assert_eq!(stage.refreshes(), 1);
    assert!(process.kinds(&companies[0]).await.contains(&EventKind::Misconfigured), "operators are told");
    stage.ups.unblock_client();
    stage.ups.clock().advance(seconds(30));

    for company in &companies {
        process.token(company).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_refusal_is_that_companys_alone_until_three_companies_in_a_row_get_the_same() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 6).await;
    stage.access_tokens_end();
    let unknown = Answer::status(400).with_json(json!({"code": "10999", "message": "A new rule"}));
    stage.ups.fault(Endpoint::Refresh, unknown, Times::Exactly(3));

    for (sent, company) in (1..).zip(&companies[..3]) {
        let error = process.auth.access_token(company).await.unwrap_err();
        assert!(error.is_transient() && !error.needs_reauthorization(), "{error:?}");
        for _ in 0..5 {
            assert!(process.auth.access_token(company).await.is_err(), "the company pauses");
        }
        assert_eq!(stage.refreshes(), sent);
        assert!(process.kinds(company).await.contains(&EventKind::Misconfigured), "operators are told");
        assert_eq!(process.cause(company).await, None);
    }
    let error = process.auth.access_token(&companies[3]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(stage.refreshes(), 3, "the breaker is open");
    stage.ups.clock().advance(seconds(30));

    for company in &companies {
        process.token(company).await;
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_ours_never_end_an_opt_in() {
    for message in ["Invalid Redirect URL", "Unsupported Grant Type", "Invalid/Missing Authorization Header"] {
        let stage = Stage::new().await;
        let process = stage.process();
        stage.opt_in(&process, &acme()).await;
        stage.access_tokens_end();
        let answer =
            Answer::status(400).with_json(json!({"response": {"errors": [{"code": "10400", "message": message}]}}));
        stage.ups.fault(Endpoint::Refresh, answer, Times::Once);

        let error = process.auth.access_token(&acme()).await.unwrap_err();
        assert!(matches!(error, TokenError::Misconfigured { .. }), "{message}: {error:?}");
        stage.ups.clock().advance(seconds(30));
        process.token(&acme()).await;
    }
}
