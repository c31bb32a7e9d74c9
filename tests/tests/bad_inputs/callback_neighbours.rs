//! More inputs of the families in `callback.rs`.

use batchsuite_auth::{
    BatchSuiteAuth, BrowserSecret, Client, Environment,
    error::{CallbackError, MalformedCallback},
    events::EventKind,
    fake_ups::Endpoint,
    http::ReqwestClient,
};
use batchsuite_tests::company;

use crate::{
    callback::assert_malformed,
    world::{Back, World},
};

#[tokio::test]
async fn an_empty_query_is_refused() {
    assert_malformed(|_| {
        ["", "?", "&", "?&&", "=", "==&=", "state", "#", "code"]
            .map(|query| (query.to_owned(), MalformedCallback::NoState))
            .into()
    })
    .await;
}

#[tokio::test]
async fn any_other_parameter_that_comes_twice_is_refused() {
    assert_malformed(|Back { query, code, state, .. }| {
        [
            format!("{query}&state={state}"),
            format!("code={code}&state=&state={state}"),
            format!("error=access_denied&error=server_error&state={state}"),
            format!("{query}&iss=a&iss=a"),
            format!("{query}&st%61te={state}"),
        ]
        .map(|query| (query, MalformedCallback::Repeated))
        .into()
    })
    .await;
}

#[tokio::test]
async fn a_percent_sign_that_encodes_nothing_is_refused() {
    assert_malformed(|Back { code, state, .. }| {
        ["%", "%2", "%zz", "%2g", "%+1", "%-1", "%\u{ff11}1", "%%41"]
            .into_iter()
            .flat_map(|broken| {
                [format!("code={code}{broken}&state={state}"), format!("code={code}&state={state}&x={broken}")]
            })
            .map(|query| (query, MalformedCallback::Encoding))
            .collect()
    })
    .await;
}

#[tokio::test]
async fn a_code_that_no_server_may_issue_is_refused() {
    assert_malformed(|Back { code, state, .. }| {
        ["%00", "%7F", "%1B[31m", "%C3%A9", "%E2%80%AE", "%09", "\u{e9}", "\u{0}"]
            .map(|character| (format!("code={code}{character}&state={state}"), MalformedCallback::InvalidCode))
            .into()
    })
    .await;
}

#[tokio::test]
async fn a_semicolon_separates_nothing() {
    assert_malformed(|Back { code, state, .. }| {
        vec![
            (format!("code={code};state={state}"), MalformedCallback::NoState),
            (format!("state={state};code={code}"), MalformedCallback::NoCode),
            (format!("code={code}%26state={state}"), MalformedCallback::NoState),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_query_longer_than_any_of_upss_is_refused() {
    assert_malformed(|Back { query, .. }| {
        vec![
            (format!("{query}&x={}", "x".repeat(16 * 1024)), MalformedCallback::TooLong),
            (format!("{query}{}", "&".repeat(16 * 1024)), MalformedCallback::TooLong),
            (format!("{query}{}", "&a=b".repeat(100_000)), MalformedCallback::TooLong),
        ]
    })
    .await;
}

#[tokio::test]
async fn thousands_of_parameters_are_ignored() {
    let world = World::new().await;
    let back = world.back().await;

    world.callback_with(&back, &format!("{}{}", back.query, "&a".repeat(7000))).await.unwrap();
}

#[tokio::test]
async fn a_code_with_a_space_reaches_ups_as_it_is() {
    for written in ["a+b%20c%20d", "a%20b+c+d"] {
        let world = World::new().await;
        let back = world.back().await;

        let error = world.callback_with(&back, &format!("code={written}&state={}", back.state)).await.unwrap_err();

        assert!(matches!(error, CallbackError::CodeRefused(_)), "{error:?}");
        assert_eq!(world.http.exchanges()[0].sent("code").as_deref(), Some("a b c d"));
    }
}

#[tokio::test]
async fn a_code_that_was_encoded_twice_is_decoded_once() {
    let world = World::new().await;
    let back = world.back().await;

    world.callback_with(&back, &format!("code=a%252Bb%2526c&state={}", back.state)).await.unwrap_err();

    assert_eq!(world.http.exchanges()[0].sent("code").as_deref(), Some("a%2Bb%26c"));
}

#[tokio::test]
async fn a_code_cannot_smuggle_a_parameter_into_the_exchange() {
    let world = World::new().await;
    let back = world.back().await;
    let smuggled = "x%26grant_type%3Drefresh_token%26redirect_uri%3Dhttps%3A%2F%2Fevil.example";

    world.callback_with(&back, &format!("code={smuggled}&state={}", back.state)).await.unwrap_err();

    let sent = &world.http.exchanges()[0];
    assert_eq!(sent.sent("grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(sent.sent("redirect_uri").as_deref(), Some(world.ups.redirect_uri().as_str()));
    assert_eq!(sent.body.matches("grant_type").count(), 2, "once as a parameter, once as text: {}", sent.body);
}

#[tokio::test]
async fn the_description_of_an_error_is_not_kept() {
    let world = World::new().await;
    let back = world.back().await;
    let query = format!(
        "error=server_error&error_description=%3Cscript%3Ealert(1)%3C/script%3E&error_uri=https://evil.example&state={}",
        back.state
    );

    let error = world.callback_with(&back, &query).await.unwrap_err();

    let kept = format!("{:?} {error:?} {error}", world.events().await);
    assert!(!kept.contains("script") && !kept.contains("evil"), "{kept}");
}

#[tokio::test]
async fn the_name_of_an_error_is_kept_printable_and_short() {
    let world = World::new().await;
    let back = world.back().await;
    let name = "a%0D%0Ab%1B%5B31m%E2%80%AEc%00".to_owned() + &"%C3%A9".repeat(1000);

    world.callback_with(&back, &format!("error={name}&state={}", back.state)).await.unwrap_err();

    let kept = world.last(EventKind::Failed).await.evidence.unwrap().message.unwrap();
    assert_eq!(kept.chars().count(), 200);
    assert!(kept.starts_with("a  b [31m c é"), "{kept:?}");
}

#[tokio::test]
async fn a_state_of_the_other_environment_is_refused_and_not_consumed() {
    let world = World::new().await;
    let back = world.back().await;
    let production =
        BatchSuiteAuth::builder(Environment::Production, Client::new(world.ups.client_id(), world.ups.client_secret()))
            .base_url(world.ups.base_url())
            .redirect_uri(world.ups.redirect_uri())
            .store(world.store.clone())
            .http(ReqwestClient::builder().allow_loopback_http().build().unwrap())
            .clock(world.clock.clone())
            .without_keeper()
            .build()
            .unwrap();

    let error = production.callback(&back.actor, &back.query, &back.browser).await.unwrap_err();

    assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
    assert_eq!(world.calls(Endpoint::Token), 0);
    world.callback(&back).await.unwrap();
    assert!(production.access_token(&world.company).await.unwrap_err().needs_reauthorization());
}

#[tokio::test]
async fn a_browser_secret_that_is_none_is_another_browser() {
    let world = World::authenticated().await;
    let back = world.back().await;
    let before = world.look().await;
    let right = back.browser.expose_secret().to_owned();

    for wrong in ["", " ", &right[1..], &format!("{right}A"), &right.to_ascii_lowercase(), &"x".repeat(100_000)] {
        let back = Back { browser: BrowserSecret::new(wrong), ..back.clone() };
        let error = world.callback(&back).await.unwrap_err();

        assert!(matches!(error, CallbackError::OtherBrowser), "{error:?}");
        assert_eq!(world.look().await, before);
    }
    world.callback(&back).await.unwrap();
}

#[tokio::test]
async fn the_oldest_of_too_many_consents_is_gone_and_the_others_complete() {
    let world = World::with(|setup| setup.policy.consents_per_company = 2).await;
    let oldest = world.back().await;
    let (second, third) = (world.back().await, world.back().await);

    let error = world.callback(&oldest).await.unwrap_err();

    assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
    world.callback(&second).await.unwrap();
    world.callback(&third).await.unwrap();
}

#[tokio::test]
async fn a_callback_of_a_company_that_was_never_seen_changes_nobody() {
    let world = World::authenticated().await;
    let back = world.back().await;
    let before = world.look().await;

    let error = world.callback_with(&back, "code=a-code-of-nobody&state=a-state-of-nobody").await.unwrap_err();

    assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
    assert_eq!(world.look().await, before);
    assert!(world.token_of(&company("nobody")).await.unwrap_err().needs_reauthorization());
}
