//! Failed exchanges of a code: the browser's answer, and the stored state.

use std::time::Duration;

use batchsuite_auth::{
    ClientAuthentication,
    error::CallbackError,
    events::EventKind,
    fake_ups::{Answer, Endpoint, Fault},
};
use batchsuite_tests::company;
use serde_json::json;

use crate::{
    steps::assert_failed_exchange,
    world::{World, unavailable},
};

#[tokio::test]
async fn a_configuration_that_ups_refuses_at_exchange_is_told_to_operators() {
    let ups = |message: &str| json!({"response": {"errors": [{"code": "10400", "message": message}]}});
    for fault in [
        Fault::InvalidClient,
        Fault::Blocked,
        Answer::status(400).with_json(ups("Invalid Redirect URL")).into(),
        Answer::status(400).with_json(ups("Unsupported Grant Type")).into(),
        Answer::status(400).with_json(ups("Invalid/Missing Authorization Header")).into(),
    ] {
        let world = World::authenticated().await;
        world.next(Endpoint::Token, fault.clone());

        let error = assert_failed_exchange(&world, &format!("{fault:?}")).await;

        assert!(matches!(error, CallbackError::Misconfigured(_)), "{fault:?}: {error:?}");
        assert!(!error.is_transient());
        assert_eq!(world.last(EventKind::Misconfigured).await.company, Some(world.company.clone()));
    }
}

#[tokio::test]
async fn a_rate_limit_at_exchange_pauses_the_whole_client() {
    let world = World::refresh_due().await;
    let back = world.back().await;
    world.next(Endpoint::Token, Fault::TooManyRequests { retry_after: Some("40".to_owned()) });

    let error = world.callback(&back).await.unwrap_err();

    assert_eq!(error.retry_after(), Some(Duration::from_secs(40)), "{error:?}");
    assert!(error.is_transient());
    unavailable(world.token().await);
    assert_eq!(world.calls(Endpoint::Refresh), 0);
    world.advance(40);
    world.token().await.unwrap();
}

#[tokio::test]
async fn a_rate_limit_at_exchange_lasts_an_hour_at_most() {
    let world = World::authenticated().await;
    let back = world.back().await;
    world.next(Endpoint::Token, Fault::TooManyRequests { retry_after: Some("99999999999999999999".to_owned()) });

    let error = world.callback(&back).await.unwrap_err();

    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)), "{error:?}");
}

#[tokio::test]
async fn a_code_of_another_consent_is_refused_by_its_verifier() {
    // With PKCE, a code slipped into another trip's callback is useless.
    let world = World::with(|setup| setup.authentication = ClientAuthentication::PkceWithSecret).await;
    let back = world.back().await;
    let other = world.back_for(&company("globex"), &world.actor, Some(&back.browser)).await;

    let error = world.callback_with(&back, &format!("code={}&state={}", other.code, back.state)).await.unwrap_err();

    assert!(matches!(error, CallbackError::CodeRefused(_)), "{error:?}");
    assert_eq!(world.count(EventKind::Authenticated).await, 0);
}
