//! Rate limits and the breaker of the whole client: both concern every company.

use std::time::Duration;

use batchsuite_auth::{
    Client, ClientAuthentication, CompanyId, OptedIn,
    error::{CallbackError, TokenError, Unavailable},
    events::EventKind,
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Outcome, Times},
    machine::CauseKind,
};
use batchsuite_tests::{Hold, Process, Verb, acme, ada, company, seconds};
use futures_util::future::join_all;
use serde_json::json;

use crate::stage::Stage;

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
        assert_eq!(stage.refreshes(), 1, "nothing is sent for any company");
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
    assert!(stage.grant_of(&acme()).await.unanswered.is_some());
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
    let late = Fault::Delay { milliseconds: 200 };
    stage.ups.fault(Endpoint::Refresh, late, Times::UntilCleared);

    let all = || join_all(companies.iter().map(|company| bad.auth.access_token(company)));
    for ended in all().await {
        assert!(matches!(ended, Err(TokenError::Misconfigured { .. })), "{ended:?}");
    }
    // Calls past the breaker at the time of the first answer are refused, too.
    let sent = stage.ups.requests().count(Endpoint::Refresh, Outcome::BadClient);
    assert!((1..=3).contains(&sent), "{sent}");
    stage.ups.clear_faults(Endpoint::Refresh);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_is_refused_later_costs_no_more_than_three_requests() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 1000).await;
    stage.access_tokens_end();
    // Delayed answers, so that without the breaker all requests would be in flight when the first answer arrives.
    let refusal = Answer::status(401).with_delay(Duration::from_millis(200));
    stage.ups.fault(Endpoint::Refresh, refusal, Times::UntilCleared);

    for ended in join_all(companies.iter().map(|company| process.auth.access_token(company))).await {
        assert!(matches!(ended, Err(TokenError::Misconfigured { .. })), "{ended:?}");
    }

    assert!((1..=3).contains(&stage.refreshes()), "{}", stage.refreshes());
    for company in &companies {
        assert_eq!(process.cause(company).await, None);
    }
}

/// UPS answers the company's refresh token with this status and body.
async fn is_sick(stage: &Stage, process: &Process, company: &CompanyId, status: u16, body: &str) {
    let token = stage.tokens_of(company).await.unwrap().refresh.unwrap();
    let answer = http::Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
    process.http.answer_to(token.expose_secret(), answer);
}

const SICK: [(u16, &str); 3] = [(400, r#"{"error":"invalid_request"}"#), (401, ""), (403, "")];

#[tokio::test(start_paused = true)]
async fn one_company_that_is_always_refused_as_a_client_pauses_alone() {
    for (status, body) in SICK {
        let stage = Stage::new().await;
        let process = stage.process();
        let [sick, healthy @ ..] = &companies(&stage, &process, 3).await[..] else { panic!() };
        is_sick(&stage, &process, sick, status, body).await;

        for round in 0..28 {
            stage.access_tokens_end();
            let error = process.auth.access_token(sick).await.unwrap_err();
            assert!(matches!(error, TokenError::Misconfigured { .. }), "{status}: {error:?}");
            // The same call again waits for the company's own pause.
            let sent = process.store.calls(Verb::Claim);
            let error = process.auth.access_token(sick).await.unwrap_err();
            assert!(error.retry_after().unwrap() <= seconds(300), "{status}: {error:?}");
            assert_eq!(process.store.calls(Verb::Claim), sent, "{status}: the company pauses");
            for company in healthy {
                assert_eq!(process.token(company).await.revision().version, round + 2, "{status}: {company}");
            }
        }
        assert_eq!(process.cause(sick).await, None, "{status}");
        assert!(process.kinds(sick).await.contains(&EventKind::Misconfigured), "{status}: operators are told");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_begins_with_the_sick_company_serves_the_others_after_one_pause() {
    for (status, body) in SICK {
        let stage = Stage::new().await;
        let [sick, healthy @ ..] = &companies(&stage, &stage.process(), 3).await[..] else { panic!() };
        stage.access_tokens_end();
        let process = stage.process();
        is_sick(&stage, &process, sick, status, body).await;

        // So far, the failure could concern every company.
        for company in [sick, &healthy[0], &healthy[1]] {
            let error = process.auth.access_token(company).await.unwrap_err();
            assert!(matches!(error, TokenError::Misconfigured { .. }), "{status}: {error:?}");
        }
        stage.ups.clock().advance(seconds(30));
        // The sick company asks first, but the trial goes to another company.
        process.auth.access_token(sick).await.unwrap_err();
        for company in healthy {
            process.token(company).await;
        }
        let error = process.auth.access_token(sick).await.unwrap_err();
        assert!(matches!(error, TokenError::Misconfigured { .. }), "{status}: {error:?}");
        stage.access_tokens_end();
        for company in healthy {
            process.token(company).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn three_companies_refused_one_after_the_other_stop_the_whole_client() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 6).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::UntilCleared);

    for company in &companies[..3] {
        assert!(process.auth.access_token(company).await.unwrap_err().needs_reauthorization(), "reported at once");
        stage.ups.clock().advance(seconds(200));
    }
    stage.access_tokens_end();
    stage.ups.clock().advance(seconds(3600));
    for company in &companies[..3] {
        assert_eq!(process.cause(company).await, Some(CauseKind::OptInInvalidated));
    }
    // The breaker has been half-open for a while: one trial, refused again, and then nothing.
    process.auth.access_token(&companies[3]).await.unwrap_err();
    for company in &companies[4..] {
        let error = process.auth.access_token(company).await.unwrap_err();
        assert!(
            matches!(error, TokenError::Unavailable { reason: Unavailable::UnknownAnswer, .. }),
            "as for an unknown answer: {error:?}"
        );
        assert_eq!(process.cause(company).await, None);
    }
    assert_eq!(stage.refreshes(), 4);
    let filter = batchsuite_auth::EventFilter::new().with_limit(1000);
    let events = process.auth.events(filter).await.unwrap().items;
    let told = events.iter().filter(|event| event.company.is_none() && event.kind == EventKind::Misconfigured);
    assert_eq!(told.count(), 1, "operators are told once");

    // Meanwhile a new opt-in is not delayed, and does not end the wave.
    stage.opt_in(&process, &companies[0]).await;
    process.auth.access_token(&companies[4]).await.unwrap_err();
    assert_eq!(stage.refreshes(), 4);
    stage.ups.clear_faults(Endpoint::Refresh);
    stage.ups.clock().advance(seconds(60));
    for company in &companies[4..] {
        process.token(company).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_exchange_asks_the_same_breaker_and_counts_towards_it() {
    // The first exchange detects a bad secret; the next code is not sent.
    let stage = Stage::new().await;
    let bad = misconfigured(&stage);
    for (name, reaches_ups) in [("one", 1), ("two", 1)] {
        let error = come_back(&stage, &bad, &company(name)).await.unwrap_err();
        assert!(matches!(error, CallbackError::Misconfigured(_)), "{error:?}");
        assert_eq!(stage.ups.requests().total(Endpoint::Token), reaches_ups, "{name}");
    }
    stage.ups.clock().advance(seconds(30));
    come_back(&stage, &bad, &company("two")).await.unwrap_err();
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 2, "half-open");

    // Two companies in a row: one exchange and one refresh.
    let stage = Stage::new().await;
    let process = stage.process();
    let companies = companies(&stage, &process, 3).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Token, Fault::InvalidClient, Times::Once);
    stage.ups.fault(Endpoint::Refresh, Fault::Blocked, Times::Once);
    come_back(&stage, &process, &companies[0]).await.unwrap_err();
    process.auth.access_token(&companies[1]).await.unwrap_err();
    let error = process.auth.access_token(&companies[2]).await.unwrap_err();
    assert!(matches!(error, TokenError::Misconfigured { .. }), "{error:?}");
    assert_eq!(stage.refreshes(), 1, "the breaker is open");
    stage.ups.clock().advance(seconds(30));
    come_back(&stage, &process, &companies[0]).await.unwrap();
    process.token(&companies[2]).await;
}

async fn come_back(stage: &Stage, process: &Process, company: &CompanyId) -> Result<OptedIn, CallbackError> {
    let trip = process.auth.authenticate(company, &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    process.auth.callback(&ada(), &query, &trip.browser_secret).await
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
    requests.iter().for_each(Hold::release);
    for caller in callers {
        caller.await.unwrap().unwrap_err();
    }
    stage.ups.clock().advance(seconds(30));
    bad.auth.access_token(&companies[0]).await.unwrap_err();

    let sent = stage.ups.requests().count(Endpoint::Refresh, Outcome::BadClient);
    assert_eq!(sent, 21, "a trial follows the first pause");
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
    assert_eq!(stage.refreshes(), 2, "two companies in a row open the breaker");
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
