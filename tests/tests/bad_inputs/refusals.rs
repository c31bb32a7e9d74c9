//! Refusals of the token itself. No other refusals may end an opt-in.

use batchsuite_auth::{
    Client,
    error::{CallbackError, Unavailable},
    events::EventKind,
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Times},
    machine::CauseKind,
    status::Status,
};
use batchsuite_tests::companies;
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    steps::{assert_failed_exchange, assert_retried},
    unanswered::assert_all_unanswered,
    world::{World, cause, unavailable},
};

/// Asserts that this answer to a refresh, with status 400, ends the opt-in, with UPS's code and message as evidence.
pub(crate) async fn assert_ends_the_opt_in(fault: impl Into<Fault>, code: Option<&str>) {
    assert_ends_the_opt_in_with(400, fault, code).await;
}

async fn assert_ends_the_opt_in_with(status: u16, fault: impl Into<Fault>, code: Option<&str>) {
    let fault = fault.into();
    let world = World::refresh_due().await;
    let version = world.status().await.revision;
    world.next(Endpoint::Refresh, fault.clone());

    let cause = cause(world.token().await);

    assert_eq!(cause.kind, CauseKind::OptInInvalidated, "{fault:?}");
    assert_eq!(cause.at, Some(world.now()));
    let evidence = cause.evidence.clone().unwrap();
    assert_eq!((evidence.status, evidence.code.as_deref()), (Some(status), code), "{fault:?}");
    assert!(evidence.attempt.is_some());
    let after = world.look().await;
    assert_eq!((after.status.status, after.status.revision), (Status::ReauthRequired(cause.clone()), version));
    let (access, refresh) = after.tokens.unwrap();
    assert_eq!((access, refresh.is_some()), (None, true), "only the refresh token is kept, to ask UPS again");
    assert_eq!(world.last(EventKind::Invalidated).await.evidence, cause.evidence);
    // No caller causes another request.
    for outcome in join_all((0..10).map(|_| world.token())).await {
        assert!(outcome.unwrap_err().needs_reauthorization());
    }
    world.advance(86_400);
    assert!(world.token().await.unwrap_err().needs_reauthorization());
    assert_eq!(world.calls(Endpoint::Refresh), 1, "{fault:?}");
    // The administrator repairs it.
    world.opt_in(&world.company).await;
    world.token().await.unwrap();
}

#[tokio::test]
async fn invalid_refresh_token_is_reread_then_reauth() {
    for message in ["Invalid Refresh Token", "Invalid/Missing Refresh Token"] {
        let body = json!({"response": {"errors": [{"code": "10400", "message": message}]}});
        assert_ends_the_opt_in(Answer::status(400).with_json(body), Some("10400")).await;
    }

    // Another process has rotated meanwhile. After reading the row again, the refusal is known to come from that race.
    let world = World::refresh_due().await;
    let other = world.another_process(Client::new(world.ups.client_id(), world.ups.client_secret()));
    let held = world.http.hold_request();
    let (slow, ()) = tokio::join!(world.token(), async {
        held.reached().await;
        world.advance(61);
        assert_eq!(other.auth.access_token(&world.company).await.unwrap().revision().version, 2);
        held.release();
    });
    assert_eq!(slow.unwrap().revision().version, 2, "the other process's pair");
    assert_eq!((world.calls(Endpoint::Refresh), world.rotations()), (2, 1));
    assert_eq!(world.count(EventKind::Invalidated).await, 0);
}

#[tokio::test]
async fn a_password_change_ends_the_opt_in_and_its_access_token() {
    let world = World::authenticated().await;
    world.ups.change_password(FakeUps::USER);
    world.advance(3180);
    // In the early window the token is served once more, while the refresh in the background gets the verdict.
    let token = world.token().await.unwrap();
    batchsuite_tests::eventually("the verdict", async || world.count(EventKind::Invalidated).await == 1).await;

    assert_eq!(cause(world.token().await).kind, CauseKind::OptInInvalidated);

    assert!(token.expires_at() > world.now(), "the token has not expired");
    assert_eq!(world.calls(Endpoint::Refresh), 1);
}

#[tokio::test]
async fn invalid_grant_of_rfc_6749_is_reauth() {
    for body in [
        json!({"error": "invalid_grant"}),
        json!({"error": "invalid_grant", "error_description": "The refresh token is spent."}),
        json!({"error": "invalid_grant", "error_uri": "https://ups.example/errors"}),
    ] {
        assert_ends_the_opt_in(Answer::status(400).with_json(body.clone()), Some("invalid_grant")).await;

        let world = World::authenticated().await;
        world.next(Endpoint::Token, Answer::status(400).with_json(body));
        let error = assert_failed_exchange(&world, "invalid_grant").await;
        assert!(matches!(error, CallbackError::CodeRefused(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_error_with_status_200_is_judged_like_the_error() {
    let ups = |code: &str, message: &str| json!({"response": {"errors": [{"code": code, "message": message}]}});
    for (body, code) in [
        (ups("10400", "Invalid Refresh Token"), Some("10400")),
        (json!({"error": "invalid_grant"}), Some("invalid_grant")),
        (json!({"error": "invalid_grant", "access_token": "", "refresh_token": null}), Some("invalid_grant")),
    ] {
        assert_ends_the_opt_in_with(200, Answer::status(200).with_json(body), code).await;
    }
    for (body, reason) in [
        (ups("10429", "Too Many Requests"), Unavailable::RateLimited),
        (ups("10499", "Computer says no"), Unavailable::UnknownAnswer),
        (json!({"error": "computer_says_no"}), Unavailable::UnknownAnswer),
    ] {
        let world = World::refresh_due().await;
        world.next(Endpoint::Refresh, Answer::status(200).with_json(body.clone()));
        assert_retried(&world, reason, &body.to_string()).await;
    }
    for (body, refused) in [
        (ups("10400", "Invalid authorization code"), true),
        (json!({"error": "invalid_grant"}), true),
        (ups("10400", "Invalid Redirect URL"), false),
        (json!({"error": "invalid_client"}), false),
    ] {
        let world = World::authenticated().await;
        world.next(Endpoint::Token, Answer::status(200).with_json(body.clone()));
        let error = assert_failed_exchange(&world, &body.to_string()).await;
        assert_eq!(matches!(error, CallbackError::CodeRefused(_)), refused, "{body}: {error:?}");
        assert_eq!(matches!(error, CallbackError::Misconfigured(_)), !refused, "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_success_that_does_not_say_that_it_is_an_error_is_unanswered() {
    assert_all_unanswered(
        [
            json!({"code": "0", "message": "OK"}),
            json!({"response": {"errors": []}}),
            json!({"errors": null, "status": "approved"}),
            json!({"error": "invalid_grant", "access_token": "a-token", "token_type": "MAC"}),
        ]
        .map(|body| Answer::status(200).with_json(body).into()),
    )
    .await;
}

#[tokio::test]
async fn a_key_twice_in_an_errors_body_is_unknown() {
    let refusal = r#"[{"code":"10400","message":"Invalid Refresh Token"}]"#;
    let other = r#"[{"code":"10499","message":"Computer says no"}]"#;
    for body in [
        format!(r#"{{"response":{{"errors":{other},"errors":{refusal}}}}}"#),
        format!(r#"{{"response":{{"errors":{refusal},"errors":{refusal}}}}}"#),
        format!(r#"{{"response":{{}},"response":{{"errors":{refusal}}}}}"#),
        r#"{"errors":[{"code":"10499","code":"10400","message":"Invalid Refresh Token"}]}"#.to_owned(),
        r#"{"error":"server_error","error":"invalid_grant"}"#.to_owned(),
        r#"{"error":"invalid_grant","details":[{"at":1,"at":2}]}"#.to_owned(),
    ] {
        for status in [400, 200] {
            let world = World::refresh_due().await;
            world.next(Endpoint::Refresh, Answer::status(status).with_body(body.clone()));
            assert_retried(&world, Unavailable::UnknownAnswer, &body).await;
        }
    }
}

#[tokio::test]
async fn an_authorization_code_that_ups_refuses_leaves_the_earlier_opt_in() {
    let world = World::authenticated().await;
    let before = world.look().await;
    let back = world.back().await;
    world.advance(61);

    let error = world.callback(&back).await.unwrap_err();

    let CallbackError::CodeRefused(evidence) = &error else { panic!("{error:?}") };
    assert_eq!(evidence.message.as_deref(), Some("Invalid authorization code"));
    assert!(error.to_string().contains("start again"));
    let after = world.look().await;
    assert_eq!((after.status, after.tokens), (before.status, before.tokens));
    assert_eq!(world.last(EventKind::Failed).await.evidence.as_ref(), Some(evidence));
}

#[tokio::test]
async fn three_companies_refused_in_ten_minutes_are_told_and_then_the_whole_client_pauses() {
    let world = World::new().await;
    let companies = companies(0..6);
    for company in &companies {
        world.opt_in(company).await;
    }
    world.advance(2 * 3600);
    world.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::UntilCleared);

    for company in &companies[..3] {
        assert_eq!(cause(world.token_of(company).await).kind, CauseKind::OptInInvalidated);
        world.advance(250);
    }
    assert_eq!(world.count(EventKind::Invalidated).await, 3);
    // The last refusal was 250 s ago, so this is the one trial. Nothing is sent for a minute after it.
    cause(world.token_of(&companies[3]).await);
    for company in &companies[4..] {
        let (reason, wait) = unavailable(world.token_of(company).await);
        assert_eq!((reason, wait.as_secs()), (Unavailable::UnknownAnswer, 60));
    }
    assert_eq!(world.calls(Endpoint::Refresh), 4);
    let told = world.last(EventKind::Misconfigured).await;
    assert_eq!((told.company, world.count(EventKind::Misconfigured).await), (None, 1), "operators are told");
    world.ups.clear_faults(Endpoint::Refresh);
    world.advance(60);
    for company in &companies[4..] {
        assert_eq!(world.token_of(company).await.unwrap().revision().version, 2);
    }
}
