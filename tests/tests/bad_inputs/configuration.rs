//! Refusals that concern every company at once: tokens are kept, and our own mistake sends no one to UPS.com.

use std::time::Duration;

use batchsuite_auth::{
    BatchSuiteAuth, Client, ClientAuthentication, CompanyQuery, Environment,
    error::{BuildError, Unavailable},
    events::EventKind,
    fake_ups::{Answer, Endpoint, Fault, Outcome, Times},
    machine::CauseKind,
    status::{Status, StatusFilter},
};
use batchsuite_tests::companies;
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    steps::{assert_all_kept, assert_breaks_the_client},
    world::{World, assert_authenticated, cause, misconfigured, unavailable},
};

#[tokio::test]
async fn invalid_redirect_url_unsupported_grant_type_and_missing_authorization_header_are_config() {
    for message in ["Invalid Redirect URL", "Unsupported Grant Type", "Invalid/Missing Authorization Header"] {
        let body = json!({"response": {"errors": [{"code": "10400", "message": message}]}});
        assert_breaks_the_client(Answer::status(400).with_json(body)).await;
    }
}

#[tokio::test]
async fn status_401_10401_opens_the_breaker_once_for_all_companies() {
    assert_breaks_the_client(Fault::InvalidClient).await;
}

#[tokio::test]
async fn id_and_secret_reach_ups_as_they_are() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    for (id, secret) in [("id", "plain"), ("i d+%2B", "s%41+:é c&=/?#\"'\\~"), ("é", ":"), ("%", "%%%")] {
        let world = World::new().await;
        let process = world.another_process(Client::new(id, secret));
        process.http.answer_next(Ok(http::Response::new(br#"{"access_token":"a","refresh_token":"r"}"#.to_vec())));
        let trip = process.auth.authenticate(&world.company, &world.actor).await.unwrap();
        let state = trip.url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();

        process.auth.callback(&world.actor, format!("code=c&state={state}"), &trip.browser_secret).await.unwrap();

        let basic = process.http.exchanges()[0].authorization.clone().unwrap();
        assert_eq!(String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap(), format!("{id}:{secret}"));
    }
}

#[tokio::test]
async fn a_client_id_that_basic_cannot_carry_is_refused_at_build() {
    let world = World::new().await;
    for id in ["a:b", ":", "id:"] {
        let client = Client::new(id, "secret").with_authentication(ClientAuthentication::Pkce);
        let builder = BatchSuiteAuth::builder(Environment::Cie, client)
            .redirect_uri(world.ups.redirect_uri())
            .store(world.store.clone());

        let error = builder.build().unwrap_err();

        assert!(matches!(error, BuildError::Invalid { setting: "client", .. }), "{id}: {error:?}");
    }
}

#[tokio::test]
async fn any_other_401_is_config_too() {
    let token = json!({"response": {"errors": [{"code": "10400", "message": "Invalid Refresh Token"}]}});
    for answer in [
        Answer::status(401),
        Answer::status(401).with_body("<html><body>Unauthorized</body></html>"),
        Answer::status(401).with_json(json!({"error": "invalid_client"})),
        // A server that does not recognize the client cannot judge its tokens.
        Answer::status(401).with_json(token),
        Answer::status(400).with_json(json!({"error": "invalid_client"})),
        Answer::status(400).with_json(json!({"error": "unsupported_grant_type"})),
    ] {
        assert_breaks_the_client(answer).await;
    }
}

#[tokio::test]
async fn status_403_is_blocked_and_tokens_are_kept() {
    let token = json!({"response": {"errors": [{"code": "10400", "message": "Invalid Refresh Token"}]}});
    for fault in [Fault::Blocked, Answer::status(403).into(), Answer::status(403).with_json(token).into()] {
        assert_breaks_the_client(fault).await;
    }
}

#[tokio::test]
async fn the_evidence_of_a_misconfiguration_is_what_ups_said() {
    let world = World::refresh_due().await;
    world.ups.block_client();

    misconfigured(world.token().await);

    let event = world.last(EventKind::Misconfigured).await;
    let evidence = event.evidence.unwrap();
    assert_eq!((evidence.status, evidence.message.as_deref()), (Some(403), Some("Blocked Merchant")));
    assert_eq!(event.company, Some(world.company.clone()));
    world.ups.unblock_client();
    world.advance(30);
    world.token().await.unwrap();
}

#[tokio::test]
async fn a_breaker_that_stays_open_is_tried_less_and_less_up_to_15_minutes() {
    let world = World::refresh_due().await;
    world.ups.fault(Endpoint::Refresh, Fault::InvalidClient, Times::UntilCleared);
    // In a new process, the first such answer opens the breaker without a second one.
    let process = world.another_process(Client::new(world.ups.client_id(), world.ups.client_secret()));
    let ask = async || misconfigured(process.auth.access_token(&world.company).await);
    ask().await;

    let mut waits = Vec::new();
    for _ in 0..8 {
        let wait = ask().await;
        waits.push(wait.as_secs());
        world.clock.advance(wait);
        ask().await;
    }

    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(world.calls(Endpoint::Refresh), 9);
}

#[tokio::test]
async fn a_thousand_companies_failing_by_one_bad_secret_open_one_breaker() {
    let world = World::with(|setup| setup.in_process = true).await;
    let companies = companies(0..1000);
    for company in &companies {
        world.opt_in(company).await;
    }
    world.advance(2 * 3600);
    let bad = world.another_process(Client::new(world.ups.client_id(), "a bad secret"));
    let ask_all = async || {
        for outcome in join_all(companies.iter().map(|company| bad.auth.access_token(company))).await {
            misconfigured(outcome);
        }
        world.ups.requests().count(Endpoint::Refresh, Outcome::BadClient)
    };

    // Delayed answers, so that all requests are in flight when the first answer arrives.
    world.ups.fault(Endpoint::Refresh, Fault::Delay { milliseconds: 200 }, Times::UntilCleared);
    let first = ask_all().await;
    world.ups.clear_faults(Endpoint::Refresh);

    assert!((2..=3).contains(&first), "{first} requests before the breaker opened");
    assert_eq!(ask_all().await, first, "an open breaker sends nothing");
    // All requests in flight when the breaker opened count as one failure: the first trial comes after the first pause.
    world.advance(30);
    assert_eq!(ask_all().await, first + 1, "half-open: one trial for all");
    assert_all_kept(&world, &companies).await;
    let reauth = CompanyQuery::new().with_filter(StatusFilter::ReauthRequired);
    assert_eq!(bad.auth.companies(reauth).await.unwrap().items, []);
    // With the correct secret, every company works again once its own pause is over.
    world.advance(30);
    for company in &companies[..20] {
        assert_eq!(world.token_of(company).await.unwrap().revision().version, 2);
    }
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::SpentRefreshToken), 0);
}

#[tokio::test]
async fn a_client_id_mistyped_then_corrected_works_again() {
    let world = World::new().await;
    let companies = companies(0..5);
    for company in &companies {
        world.opt_in(company).await;
    }
    let before = world.ups.requests();
    let mistyped = world.another_process(Client::new("fake-ups-clinet", world.ups.client_secret()));

    for company in &companies {
        assert_eq!(cause(mistyped.auth.access_token(company).await).kind, CauseKind::ClientChanged);
        let Status::ReauthRequired(cause) = mistyped.auth.status(company).await.unwrap().status else { panic!() };
        assert_eq!(cause.kind, CauseKind::ClientChanged);
        assert!(cause.to_string().contains("client id"), "{cause}");
    }

    let listed = CompanyQuery::new().with_filter(StatusFilter::ReauthRequired);
    assert_eq!(mistyped.auth.companies(listed).await.unwrap().items.len(), 5);
    assert_eq!(world.ups.requests(), before, "UPS gets no request as another client");
    assert_eq!(world.count(EventKind::Invalidated).await, 0);
    for company in &companies {
        assert_authenticated(&world.auth.status(company).await.unwrap());
        let token = world.token_of(company).await.unwrap();
        assert_eq!((token.revision().epoch, token.revision().version), (1, 1));
    }
    world.advance(2 * 3600);
    for company in &companies {
        assert_eq!(world.token_of(company).await.unwrap().revision().version, 2);
    }
}

#[tokio::test]
async fn a_consent_that_began_under_another_client_id_is_refused_and_ups_is_not_asked() {
    let world = World::authenticated().await;
    let before = world.status().await;
    let back = world.back().await;
    let corrected = world.another_process(Client::new("another-client", "another secret"));

    let error = corrected.auth.callback(&back.actor, &back.query, &back.browser).await.unwrap_err();

    assert!(matches!(error, batchsuite_auth::error::CallbackError::ClientChanged), "{error:?}");
    assert_eq!(world.calls(Endpoint::Token), 1);
    assert_eq!(world.status().await.status, before.status);
}

#[tokio::test]
async fn an_open_breaker_does_not_shut_out_tokens_that_work() {
    let world = World::new().await;
    let [due, fresh] = [&companies(0..2)[0], &companies(0..2)[1]];
    world.opt_in(due).await;
    world.advance(2 * 3600);
    world.opt_in(fresh).await;
    world.next(Endpoint::Refresh, Fault::InvalidClient);

    let wait = misconfigured(world.token_of(due).await);

    assert!(wait <= Duration::from_secs(30));
    assert_eq!(world.track(&world.token_of(fresh).await.unwrap()).await, 200);
}

#[tokio::test]
async fn one_company_that_gets_401_403_or_invalid_request_pauses_alone_until_another_one_gets_it() {
    let answers = [(400, r#"{"error":"invalid_request"}"#), (401, ""), (403, "")];
    for (status, body) in answers {
        let answer = || http::Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
        let world = World::new().await;
        let companies = companies(0..4);
        for company in &companies {
            world.opt_in(company).await;
        }
        let [sick, other, third, fourth] = &companies[..] else { unreachable!() };
        for round in 0..5 {
            world.advance(2 * 3600);
            world.http.answer_next(Ok(answer()));
            let wait = misconfigured(world.token_of(sick).await);
            assert!(wait <= Duration::from_secs(300), "{status}: {wait:?}");
            assert_eq!(unavailable(world.token_of(sick).await).0, Unavailable::Paused, "{status}");
            for company in [other, third, fourth] {
                assert_eq!(world.token_of(company).await.unwrap().revision().version, round + 2, "{status}");
            }
        }
        world.advance(2 * 3600);
        let calls = world.calls(Endpoint::Refresh);
        for company in [sick, other] {
            world.http.answer_next(Ok(answer()));
            misconfigured(world.token_of(company).await);
        }
        for company in [third, fourth] {
            misconfigured(world.token_of(company).await);
        }
        assert_eq!(world.calls(Endpoint::Refresh), calls, "{status}: the breaker is open");
        assert_all_kept(&world, &companies).await;
    }
}
