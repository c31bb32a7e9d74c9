//! Callbacks that the parser refuses or accepts.

use batchsuite_auth::{
    ActorId, BrowserSecret,
    error::{CallbackError, MalformedCallback},
    events::EventKind,
    fake_ups::{Answer, Endpoint, FakeUps},
};
use batchsuite_tests::company;

use crate::world::{Back, World, assert_authenticated};

/// Asserts that each query is refused with its error, that UPS is not asked, that nothing stored changes, and that the
/// genuine callback of the same consent still completes.
pub(crate) async fn assert_malformed(queries: impl Fn(&Back) -> Vec<(String, MalformedCallback)>) {
    let world = World::authenticated().await;
    let back = world.back().await;
    let before = world.look().await;

    for (query, expected) in queries(&back) {
        let error = world.callback_with(&back, &query).await.expect_err(&query);

        assert!(matches!(error, CallbackError::Malformed(found) if found == expected), "{query}: {error:?}");
        assert!(error.to_string().contains("start again"), "{error}");
        assert_eq!(world.look().await, before, "{query}");
    }
    world.callback(&back).await.unwrap();
    assert_eq!(world.status().await.revision.epoch, before.status.revision.epoch + 1);
}

#[tokio::test]
async fn two_code_parameters_are_refused() {
    assert_malformed(|Back { code, state, .. }| {
        [
            format!("code={code}&code={code}&state={state}"),
            format!("code={code}&state={state}&code=another"),
            format!("code=&code={code}&state={state}"),
            format!("code&code={code}&state={state}"),
            format!("c%6Fde={code}&code={code}&state={state}"),
        ]
        .map(|query| (query, MalformedCallback::Repeated))
        .into()
    })
    .await;
}

#[tokio::test]
async fn code_and_error_together_are_refused_and_the_consent_is_consumed() {
    for error in ["access_denied", "server_error", ""] {
        let world = World::authenticated().await;
        let back = world.back().await;
        let (before, calls) = (world.status().await, world.calls(Endpoint::Token));

        let refused = world.callback_with(&back, &format!("{}&error={error}", back.query)).await.unwrap_err();

        assert!(matches!(refused, CallbackError::Malformed(MalformedCallback::CodeAndError)), "{refused:?}");
        let replayed = world.callback(&back).await.unwrap_err();
        assert!(matches!(replayed, CallbackError::UnknownState), "{replayed:?}");
        assert_eq!(world.calls(Endpoint::Token), calls);
        assert_eq!(world.status().await.status, before.status);
        assert_eq!(world.last(EventKind::Failed).await.company, Some(world.company.clone()));
    }
}

#[tokio::test]
async fn no_state_or_an_empty_state_is_refused() {
    assert_malformed(|Back { code, state, .. }| {
        [
            format!("code={code}"),
            format!("code={code}&state="),
            format!("code={code}&state"),
            format!("code={code}&State={state}"),
            "error=access_denied".to_owned(),
            "error=access_denied&state=".to_owned(),
        ]
        .map(|query| (query, MalformedCallback::NoState))
        .into()
    })
    .await;
}

#[tokio::test]
async fn neither_code_nor_error_or_an_empty_code_is_refused() {
    assert_malformed(|Back { code, state, .. }| {
        [
            format!("state={state}"),
            format!("code=&state={state}"),
            format!("code&state={state}"),
            format!("CODE={code}&state={state}"),
            format!("state={state}&scope=read"),
        ]
        .map(|query| (query, MalformedCallback::NoCode))
        .into()
    })
    .await;
}

#[tokio::test]
async fn a_code_longer_than_4_kib_is_refused() {
    assert_malformed(|Back { state, .. }| {
        let code = |length| "x".repeat(length);
        vec![
            (format!("code={}&state={state}", code(4097)), MalformedCallback::InvalidCode),
            // The limit counts decoded bytes.
            (format!("code={}&state={state}", "%78".repeat(4097)), MalformedCallback::InvalidCode),
            (format!("code={}&state={state}", code(64 * 1024)), MalformedCallback::TooLong),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_code_of_4_kib_reaches_ups() {
    let world = World::new().await;
    let back = world.back().await;
    let code = "x".repeat(4096);

    let error = world.callback_with(&back, &format!("code={code}&state={}", back.state)).await.unwrap_err();

    assert!(matches!(error, CallbackError::CodeRefused(_)), "{error:?}");
    assert_eq!(world.http.exchanges()[0].sent("code"), Some(code));
}

#[tokio::test]
async fn invalid_utf8_in_any_parameter_is_refused() {
    assert_malformed(|Back { code, state, .. }| {
        let invalid = ["%FF", "%C0%80", "%ED%A0%80", "%E2%82", "%80", "a%ffb"];
        let queries = invalid.into_iter().flat_map(|invalid| {
            [
                format!("code={invalid}&state={state}"),
                format!("code={code}{invalid}&state={state}"),
                format!("code={code}&state={state}{invalid}"),
                format!("code={code}&state={state}&scope={invalid}"),
                format!("code={code}&state={state}&{invalid}=1"),
                format!("code={code}&state={state}&iss={invalid}"),
                format!("error={invalid}&state={state}"),
                format!("error=access_denied&error_description={invalid}&state={state}"),
            ]
        });
        queries.map(|query| (query, MalformedCallback::Encoding)).collect()
    })
    .await;
}

#[tokio::test]
async fn a_plus_in_the_code_reaches_ups_encoded_once() {
    let world = World::new().await;
    let back = world.back().await;
    // No known code of UPS contains a plus or a slash, but base64 can.
    let code = format!("%2B%2F{}", back.code);

    world.callback_with(&back, &format!("code={code}&scope=read&state={}", back.state)).await.unwrap_err();

    let sent = &world.http.exchanges()[0];
    let field = sent.body.split('&').find_map(|field| field.strip_prefix("code=")).unwrap();
    assert!(field.contains("%2B") && field.contains("%2F") && !field.contains("%25"), "{field}");
    assert_eq!(field.replace("%3D", "="), code.replace("%3D", "="));
}

#[tokio::test]
async fn an_unescaped_equals_sign_in_the_code_is_kept() {
    let world = World::new().await;
    let back = world.back().await;
    let code = back.code.replace("%3D", "=");
    assert!(code.ends_with("=="));

    world.callback_with(&back, &format!("code={code}&scope=read&state={}", back.state)).await.unwrap();

    assert!(world.http.exchanges()[0].body.contains("%3D%3D"));
    assert!(world.http.exchanges()[0].sent("code").unwrap().ends_with("=="));
}

#[tokio::test]
async fn cr_or_lf_in_the_code_is_refused() {
    assert_malformed(|Back { code, state, .. }| {
        ["%0D", "%0A", "%0d%0a", "%0D%0AHost:%20evil.example", "\r", "\n", "\r\nx: y"]
            .into_iter()
            .flat_map(|end| [format!("code={code}{end}&state={state}"), format!("code={end}{code}&state={state}")])
            .map(|query| (query, MalformedCallback::InvalidCode))
            .collect()
    })
    .await;
}

#[tokio::test]
async fn unknown_extra_parameters_are_ignored() {
    let world = World::new().await;
    let back = world.back().await;
    let query = format!(
        "?x=1&{}&scope=again&session_state=%3Cb%3E&x=2&=empty&&novalue&codes=1&error_description=none&token=t&Error=x",
        back.query
    );

    let done = world.callback_with(&back, &query).await.unwrap();

    assert_eq!(done.company, world.company);
    assert_authenticated(&world.status().await);
    assert_eq!(
        world.http.exchanges()[0].sent("code").unwrap(),
        back.code.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
    );
}

#[tokio::test]
async fn a_state_replayed_after_success_is_refused_and_the_company_stays_authenticated() {
    let world = World::new().await;
    let back = world.back().await;
    world.callback(&back).await.unwrap();
    let before = world.look().await;

    let another_code = format!("code=another-code&state={}", back.state);
    let denial = format!("error=access_denied&state={}", back.state);
    let both = format!("{}&error=access_denied", back.query);
    let stranger = Back { browser: BrowserSecret::random(), ..back.clone() };
    let other_person = Back { actor: ActorId::new("mallory").unwrap(), ..back.clone() };
    for (back, query) in [
        (&stranger, &back.query),
        (&stranger, &another_code),
        (&stranger, &denial),
        (&other_person, &back.query),
        (&other_person, &another_code),
        (&other_person, &denial),
        (&back, &denial),
        (&back, &both),
    ] {
        let error = world.callback_with(back, query).await.unwrap_err();

        assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
        assert_eq!(world.look().await, before);
    }
    assert_authenticated(&before.status);
    world.token().await.unwrap();
}

#[tokio::test]
async fn the_same_callback_again_after_it_succeeded_is_led_to_the_company() {
    let world = World::new().await;
    let trip = world.auth.authenticate(&world.company, &world.actor).return_to("/companies/7").await.unwrap();
    let query = world.ups.consent(&trip.url, FakeUps::USER).await;
    let first = world.auth.callback(&world.actor, &query, &trip.browser_secret).await.unwrap();
    let before = world.look().await;

    for minutes in [0, 5, 30] {
        world.advance(minutes * 60);
        let again = world.auth.callback(&world.actor, &query, &trip.browser_secret).await.unwrap();

        assert_eq!(again.company, first.company);
        assert_eq!(again.return_to.as_deref(), Some("/companies/7"));
        assert_eq!(again.refresh_expires_at, first.refresh_expires_at);
        let after = world.look().await;
        assert_eq!(
            (after.tokens, after.events, after.requests),
            (before.tokens.clone(), before.events.clone(), before.requests.clone())
        );
    }
    world.advance(3600);
    let forgotten = world.auth.callback(&world.actor, &query, &trip.browser_secret).await;
    assert!(matches!(forgotten, Err(CallbackError::UnknownState)), "{forgotten:?}");
}

#[tokio::test]
async fn a_state_replayed_after_a_failure_is_refused() {
    for (failure, query) in [(Some(400), None), (Some(500), None), (None, Some("error=server_error"))] {
        let world = World::new().await;
        let back = world.back().await;
        if let Some(status) = failure {
            world.next(Endpoint::Token, Answer::status(status));
        }
        let query = query.map_or(back.query.clone(), |error| format!("{error}&state={}", back.state));
        world.callback_with(&back, &query).await.unwrap_err();
        let before = world.look().await;

        let error = world.callback(&back).await.unwrap_err();

        assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
        assert_eq!(world.look().await, before);
        assert_eq!(world.calls(Endpoint::Token), failure.iter().count() as u64);
    }
}

#[tokio::test]
async fn an_expired_state_is_refused_with_start_again() {
    let world = World::authenticated().await;
    let back = world.back().await;
    world.advance(600);
    let before = world.look().await;

    let error = world.callback(&back).await.unwrap_err();

    assert!(matches!(error, CallbackError::Expired), "{error:?}");
    assert!(error.to_string().contains("start again"), "{error}");
    assert_eq!(world.look().await, before);
    // A clock that is set back afterwards does not revive it.
    world.clock.set(world.now() - chrono::TimeDelta::seconds(300));
    let error = world.callback(&back).await.unwrap_err();
    assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
}

#[tokio::test]
async fn a_state_in_its_last_second_is_good() {
    let world = World::new().await;
    let trip = world.auth.authenticate(&world.company, &world.actor).await.unwrap();
    world.advance(599);
    let query = world.ups.consent(&trip.url, FakeUps::USER).await;

    world.auth.callback(&world.actor, query, &trip.browser_secret).await.unwrap();
}

#[tokio::test]
async fn a_state_of_another_company_is_refused_and_not_consumed() {
    // Two administrators use one browser, with consents for different companies.
    let world = World::new().await;
    let (other, bob) = (company("globex"), ActorId::new("bob").unwrap());
    let ours = world.back().await;
    let theirs = world.back_for(&other, &bob, Some(&ours.browser)).await;
    let before = world.look().await;

    // Bob comes back with his own code and the state of the other company.
    let mixed = format!("code={}&state={}", theirs.code, ours.state);
    let error = world.callback_with(&theirs, &mixed).await.unwrap_err();

    assert!(matches!(error, CallbackError::OtherActor), "{error:?}");
    assert_eq!(world.look().await, before);
    assert_eq!(world.callback(&ours).await.unwrap().company, world.company);
    assert_eq!(world.callback(&theirs).await.unwrap().company, other);
}

#[tokio::test]
async fn a_state_of_another_browser_is_refused_and_the_rightful_browser_still_completes() {
    let world = World::authenticated().await;
    let back = world.back().await;
    let stranger = world.back_for(&company("globex"), &world.actor, None).await;
    let before = world.look().await;

    for query in
        [back.query.clone(), format!("error=access_denied&state={}", back.state), format!("{}&error=x", back.query)]
    {
        let error = world.callback_with(&stranger, &query).await.unwrap_err();

        assert!(matches!(error, CallbackError::OtherBrowser), "{error:?}");
        assert_eq!(world.look().await, before);
    }
    world.callback(&back).await.unwrap();
}

#[tokio::test]
async fn a_state_one_character_off_or_in_another_case_is_refused() {
    let world = World::authenticated().await;
    let back = world.back().await;
    let before = world.look().await;
    let state = &back.state;
    let last = if state.ends_with('A') { 'B' } else { 'A' };

    for altered in [
        state.to_ascii_lowercase(),
        state.to_ascii_uppercase(),
        state[1..].to_owned(),
        state[..state.len() - 1].to_owned(),
        format!("{}{last}", &state[..state.len() - 1]),
        format!("{state}A"),
        format!("{state}="),
        format!("+{state}"),
        format!("{state}%20"),
        format!("{state}%00"),
    ] {
        let error = world.callback_with(&back, &format!("code={}&state={altered}", back.code)).await.unwrap_err();

        assert!(matches!(error, CallbackError::UnknownState), "{altered}: {error:?}");
        assert_eq!(world.look().await, before, "{altered}");
    }
    world.callback(&back).await.unwrap();
}

#[tokio::test]
async fn access_denied_is_declined_and_an_earlier_opt_in_is_unchanged() {
    let world = World::authenticated().await;
    let token = world.token().await.unwrap();
    let before = world.look().await;
    let trip = world.auth.authenticate(&world.company, &world.actor).await.unwrap();
    let query = world.ups.decline(&trip.url).await;

    let error = world.auth.callback(&world.actor, &query, &trip.browser_secret).await.unwrap_err();

    assert!(matches!(error, CallbackError::Declined), "{error:?}");
    assert!(error.to_string().contains("declined"), "{error}");
    let after = world.look().await;
    assert_eq!((after.status, after.tokens), (before.status, before.tokens));
    assert_eq!(world.calls(Endpoint::Token), 1);
    assert_eq!(world.token().await.unwrap().revision(), token.revision());
    let event = world.last(EventKind::Declined).await;
    assert_eq!((event.company, event.actor), (Some(world.company.clone()), Some(world.actor.clone())));
    let replayed = world.auth.callback(&world.actor, &query, &trip.browser_secret).await.unwrap_err();
    assert!(matches!(replayed, CallbackError::UnknownState), "{replayed:?}");
}

#[tokio::test]
async fn server_error_or_an_unknown_error_value_gets_a_generic_message_with_a_way_to_retry() {
    let long = "x".repeat(3000);
    for value in [
        "server_error",
        "temporarily_unavailable",
        "invalid_scope",
        "ACCESS_DENIED",
        "access_denied%20",
        "%3Cscript%3E",
        "",
        &long,
    ] {
        let world = World::authenticated().await;
        let before = world.look().await;
        let back = world.back().await;

        let error = world.callback_with(&back, &format!("error={value}&state={}", back.state)).await.expect_err(value);

        assert!(matches!(error, CallbackError::SignInFailed(_)), "{value}: {error:?}");
        assert_eq!(error.to_string(), "UPS.com could not complete the sign-in; try again");
        assert!(error.is_transient());
        let after = world.look().await;
        assert_eq!((after.status, after.tokens), (before.status, before.tokens), "{value}");
        assert_eq!(world.calls(Endpoint::Token), 1);
        let evidence = world.last(EventKind::Failed).await.evidence.unwrap().message.unwrap();
        assert!(evidence.chars().count() <= 200, "{evidence}");
        // The person can retry.
        world.opt_in(&world.company).await;
    }
}

#[tokio::test]
async fn a_wrong_iss_is_refused() {
    let ups = World::new().await.ups.base_url();
    assert_eq!(ups.host_str(), Some("127.0.0.1"));
    assert_malformed(|Back { query, .. }| {
        [
            "https://evil.example",
            "https%3A%2F%2Fonlinetools.ups.com",
            "https://127.0.0.1",
            "http://127.0.0.1/",
            "http://127.0.0.1:1",
            "",
        ]
        .map(|issuer| (format!("{query}&iss={issuer}"), MalformedCallback::WrongIssuer))
        .into()
    })
    .await;
}

#[tokio::test]
async fn the_right_iss_is_accepted() {
    let world = World::new().await;
    let back = world.back().await;
    let issuer = world.ups.base_url().origin().ascii_serialization();

    world.callback_with(&back, &format!("{}&iss={issuer}", back.query)).await.unwrap();
}
