//! Error bodies, rate limits, and undocumented refusals.

use std::time::Duration;

use batchsuite_auth::{
    error::{TokenError, Unavailable},
    events::EventKind,
    fake_ups::{Answer, Endpoint, Fault, Times},
    machine::CauseKind,
};
use batchsuite_tests::{companies, company};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    refusals::assert_ends_the_opt_in,
    steps::{assert_all_kept, assert_failed_exchange, assert_retried},
    world::{World, assert_authenticated, unavailable},
};

#[tokio::test]
async fn status_429_is_retried_and_retry_after_obeyed_up_to_1_h() {
    // The clock of every world stands at 2026-01-01 02:00:00.
    let (in_90_s, in_a_year, past) =
        ("Thu, 01 Jan 2026 02:01:30 GMT", "Fri, 01 Jan 2027 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT");
    for (retry_after, seconds) in [
        (Some("7"), 7),
        (Some("3600"), 3600),
        (Some("3601"), 3600),
        (Some(in_90_s), 90),
        (Some(in_a_year), 3600),
        (Some("99999999999999999999999999"), 3600),
        (None, 30),
        (Some(past), 30),
        (Some("0"), 30),
        (Some("-7"), 30),
        (Some("7.5"), 30),
        (Some("soon"), 30),
        (Some(""), 30),
    ] {
        let what = format!("{retry_after:?}");
        let world = World::refresh_due().await;
        world.next(Endpoint::Refresh, Fault::TooManyRequests { retry_after: retry_after.map(str::to_owned) });

        let wait = assert_retried(&world, Unavailable::RateLimited, &what).await;

        assert_eq!(wait, Duration::from_secs(seconds), "{what}");
    }
}

#[tokio::test]
async fn a_rate_limit_pauses_every_company() {
    let world = World::new().await;
    let companies = companies(0..5);
    for company in &companies {
        world.opt_in(company).await;
    }
    world.advance(2 * 3600);
    world.next(Endpoint::Refresh, Fault::TooManyRequests { retry_after: Some("100".to_owned()) });

    for company in &companies {
        let (reason, wait) = unavailable(world.token_of(company).await);
        assert_eq!((reason, wait.as_secs()), (Unavailable::RateLimited, 100));
    }

    world.advance(99);
    unavailable(world.token_of(&companies[4]).await);
    assert_eq!(world.calls(Endpoint::Refresh), 1);
    world.advance(1);
    for company in &companies {
        world.token_of(company).await.unwrap();
    }
}

/// The library's classification of an answer to a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Reauth,
    Config,
    Unknown,
}

async fn judged(answer: Answer) -> Judged {
    let world = World::refresh_due().await;
    world.next(Endpoint::Refresh, answer);
    let error = world.token().await.unwrap_err();
    match error {
        TokenError::ReauthRequired(cause) => {
            assert_eq!(cause.kind, CauseKind::OptInInvalidated);
            return Judged::Reauth;
        }
        TokenError::Misconfigured { .. } => world.advance(30),
        TokenError::Unavailable { reason: Unavailable::UnknownAnswer, retry_after } => world.clock.advance(retry_after),
        _ => panic!("{error:?}"),
    }
    assert_authenticated(&world.status().await);
    assert_eq!(world.count(EventKind::Misconfigured).await, 1);
    world.token().await.unwrap();
    if matches!(error, TokenError::Misconfigured { .. }) { Judged::Config } else { Judged::Unknown }
}

pub(crate) async fn assert_unknown(answers: impl IntoIterator<Item = Answer>) {
    join_all(answers.into_iter().map(async |answer| {
        assert_eq!(judged(answer.clone()).await, Judged::Unknown, "{answer:?}");
    }))
    .await;
}

#[tokio::test]
async fn error_bodies_of_other_shapes_are_judged_by_what_is_there() {
    let refusal = |code: Value| json!({"code": code, "message": "Invalid Refresh Token"});
    let redirect = json!({"code": 10400, "message": "Invalid Redirect URL"});
    let client = json!({"code": "10401", "message": "ClientId is Invalid"});
    for (body, expected) in [
        // A numeric code.
        (json!({"response": {"errors": [refusal(json!(10400))]}}), Judged::Reauth),
        (json!({"response": {"errors": [redirect]}}), Judged::Config),
        (json!({"response": {"errors": [refusal(json!(10400.5))]}}), Judged::Unknown),
        (json!({"response": {"errors": [refusal(json!(["10400"]))]}}), Judged::Reauth),
        // `errors` empty or not a list.
        (json!({"response": {"errors": []}}), Judged::Unknown),
        (json!({"response": {"errors": {}}}), Judged::Unknown),
        (json!({"response": {"errors": refusal(json!("10400"))}}), Judged::Reauth),
        (json!({"response": {"errors": redirect}}), Judged::Config),
        (json!({"response": {"errors": null}}), Judged::Unknown),
        (json!({"response": {"errors": "Invalid Refresh Token"}}), Judged::Unknown),
        (json!({"response": {"errors": [null, 7, "x", []]}}), Judged::Unknown),
        (json!({"response": null}), Judged::Unknown),
        (json!({"response": []}), Judged::Unknown),
        // Bare, or without the wrapper.
        (refusal(json!("10400")), Judged::Reauth),
        (redirect.clone(), Judged::Config),
        (json!({"errors": [refusal(json!("10400"))]}), Judged::Reauth),
        (json!({"errors": [client]}), Judged::Config),
        (json!({"message": "Invalid Refresh Token"}), Judged::Reauth),
        (json!({"code": "10400"}), Judged::Unknown),
        // Several errors: an error of the client decides, and an unknown one makes the answer unknown.
        (json!({"response": {"errors": [refusal(json!("10400")), client]}}), Judged::Config),
        (json!({"response": {"errors": [refusal(json!("10400")), {"code": "1", "message": "?"}]}}), Judged::Unknown),
        (json!({"response": {"errors": [refusal(json!("10400")), refusal(json!("10400"))]}}), Judged::Reauth),
    ] {
        assert_eq!(judged(Answer::status(400).with_json(body.clone())).await, expected, "{body}");
    }
}

#[tokio::test]
async fn an_unknown_400_backs_off_that_company() {
    let body = json!({"response": {"errors": [{"code": "10499", "message": "Computer says no"}]}});
    let world = World::refresh_due().await;
    world.opt_in(&company("globex")).await;
    world.next(Endpoint::Refresh, Answer::status(400).with_json(body));

    let wait = assert_retried(&world, Unavailable::UnknownAnswer, "an unknown 400").await;

    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    assert_eq!(world.count(EventKind::Misconfigured).await, 1);
    let evidence = world.last(EventKind::Misconfigured).await.evidence.unwrap();
    assert_eq!((evidence.code.as_deref(), evidence.message.as_deref()), (Some("10499"), Some("Computer says no")));
}

#[tokio::test]
async fn an_unknown_400_that_stays_is_asked_less_and_less_and_is_never_reauth() {
    let world = World::refresh_due().await;
    world.ups.fault(Endpoint::Refresh, Answer::status(400).with_body("no"), Times::UntilCleared);

    let mut waits = Vec::new();
    for _ in 0..12 {
        let wait = unavailable(world.token().await).1;
        waits.push(wait);
        world.clock.advance(wait);
    }

    assert!(waits[5] > waits[0] * 8, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(300)), "{waits:?}");
    assert_authenticated(&world.status().await);
    world.ups.clear_faults(Endpoint::Refresh);
    world.token().await.unwrap();
}

#[tokio::test]
async fn an_unknown_400_opens_the_breaker_only_after_three_companies_in_a_row() {
    let answer = |text: &str| Answer::status(400).with_json(json!({"message": text}));
    let world = World::new().await;
    let companies = companies(0..8);
    for company in &companies {
        world.opt_in(company).await;
    }
    world.advance(2 * 3600);
    let ask = async |number: usize, text: &str| {
        world.next(Endpoint::Refresh, answer(text));
        let calls = world.calls(Endpoint::Refresh);
        assert_eq!(unavailable(world.token_of(&companies[number]).await).0, Unavailable::UnknownAnswer);
        world.ups.clear_faults(Endpoint::Refresh);
        world.calls(Endpoint::Refresh) - calls
    };

    // Two, then another refusal, then two more around a success: never three in a row.
    for (number, text) in [(0, "one"), (1, "one"), (2, "two"), (3, "one"), (4, "one")] {
        assert_eq!(ask(number, text).await, 1, "{number}");
    }
    world.token_of(&companies[7]).await.unwrap();
    for number in [0, 1] {
        world.advance(10);
        assert_eq!(ask(number, "one").await, 1, "{number}");
    }
    // A second refusal of the same company does not count as a third company.
    world.advance(10);
    assert_eq!(ask(0, "one").await, 1);
    world.advance(10);
    assert_eq!(ask(2, "one").await, 1, "the third company");

    assert_eq!(ask(5, "one").await, 0, "the breaker is open");
    assert_eq!(ask(6, "two").await, 0, "the breaker is open");
    assert_all_kept(&world, &companies).await;
    world.advance(30);
    for company in &companies[..7] {
        assert_eq!(world.token_of(company).await.unwrap().revision().version, 2);
    }
}

#[tokio::test]
async fn an_echoed_refresh_token_is_cut_out_before_it_is_kept_or_shown() {
    for body in [
        json!({"response": {"errors": [{"code": "10400", "message": "Invalid Refresh Token: {refresh_token}"}]}}),
        json!({"response": {"errors": [{"code": "{refresh_token}", "message": "{refresh_token}{refresh_token}"}]}}),
        json!({"error": "{refresh_token}", "error_description": "<{refresh_token}>"}),
    ] {
        let world = World::refresh_due().await;
        let token = world.look().await.tokens.unwrap().1.unwrap();
        world.next(Endpoint::Refresh, Answer::status(400).with_json(body.clone()));

        let error = world.token().await.unwrap_err();

        let event = world.last(EventKind::Misconfigured).await;
        assert!(!format!("{event:?} {error:?} {error}").contains(&token[..12]), "{body}");
        assert!(event.evidence.unwrap().message.unwrap().contains("[…]"), "{body}");
    }
    // If the refusal ends the opt-in, its evidence is kept with the company.
    let body = json!({"error": "invalid_grant", "error_description": "{refresh_token} is spent"});
    assert_ends_the_opt_in(Answer::status(400).with_json(body), Some("invalid_grant")).await;
}

#[tokio::test]
async fn an_echoed_code_or_secret_is_cut_out_in_whichever_spelling() {
    for spelling in ["{code}", "code={form}&x", "{basic}", "{secret}"] {
        let world = World::authenticated().await;
        let back = world.back().await;
        let basic = "ZmFrZS11cHMtY2xpZW50OmZha2UtdXBzLXNlY3JldA==";
        let decoded = back.code.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let form = decoded.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let echo = spelling.replace("{basic}", basic).replace("{secret}", world.ups.client_secret());
        let message = format!("cannot read {}", echo.replace("{form}", &form));
        world.next(Endpoint::Token, Answer::status(400).with_json(json!({"message": message})));

        let error = world.callback(&back).await.unwrap_err();

        let event = world.last(EventKind::Failed).await;
        let shown = format!("{event:?} {error:?}");
        for secret in [&decoded[..20], &form[..20], basic, world.ups.client_secret()] {
            assert!(!shown.contains(secret), "{spelling}: {shown}");
        }
        assert!(event.evidence.unwrap().message.unwrap().contains("[…]"), "{spelling}");
    }
}

/// The evidence that the library keeps of this message.
async fn shown(world: &World, message: String) -> String {
    let body = json!({"code": "10499", "message": message}).to_string().into_bytes();
    let answer = http::Response::builder().status(400).body(body).unwrap();
    world.http.answer_next(Ok(answer));
    let error = world.token().await.unwrap_err();
    let event = world.last(EventKind::Misconfigured).await;
    let message = event.evidence.clone().unwrap().message.unwrap();
    assert!(message.chars().count() <= 200 && !message.contains(char::is_control), "{message:?}");
    format!("{message} {event:?} {error:?} {error}")
}

#[tokio::test]
async fn an_echo_is_cut_out_in_whichever_encoding_and_however_little_of_it_is_there() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let spread = |text: &str, by: &str| text.chars().map(|c| format!("{c}{by}")).collect::<String>();
    type Encode<'a> = &'a dyn Fn(&str) -> String;
    let encodings: [(&str, Encode<'_>); 14] = [
        ("whole", &|token| token.to_owned()),
        ("the first 30", &|token| token[..30].to_owned()),
        ("12 of it", &|token| token[9..21].to_owned()),
        ("all but the last", &|token| token[..token.len() - 1].to_owned()),
        ("form", &|token| format!("refresh_token={}&x=1", percent(token))),
        ("form in upper case", &|token| percent(token).to_uppercase()),
        ("form twice", &|token| percent(&percent(token))),
        ("HTML", &|token| token.chars().map(|c| format!("&#x{:x};", u32::from(c))).collect()),
        ("base64", &|token| STANDARD.encode(token)),
        ("base64 of a form", &|token| STANDARD.encode(format!("grant_type=refresh_token&refresh_token={token}"))),
        ("JSON in JSON", &|token| json!({"request": json!({"refresh_token": token}).to_string()}).to_string()),
        ("escaped", &|token| token.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect()),
        ("blanks", &|token| spread(token, " ")),
        ("zero-width spaces", &|token| spread(token, "\u{200b}")),
    ];
    for (what, encode) in encodings {
        let world = World::refresh_due().await;
        let token = world.look().await.tokens.unwrap().1.unwrap();
        let basic = format!("{}:{}", world.ups.client_id(), world.ups.client_secret());
        for secret in [token.as_str(), &STANDARD.encode(&basic)] {
            let encoded = encode(secret);

            let shown = shown(&world, format!("«{encoded}»")).await;

            assert!(shown.starts_with("«") && shown.contains("[…]"), "{what}: {shown}");
            let thin = |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>();
            let (shown, secret) = (thin(&shown), thin(secret));
            let windows = secret.as_bytes().windows(12).map(|run| String::from_utf8(run.to_vec()).unwrap());
            for run in windows {
                assert!(!shown.contains(&run), "{what}: {run}");
            }
            assert!(!shown.contains(&thin(&encoded)), "{what}");
            world.advance(3600);
        }
    }
}

#[tokio::test]
async fn a_word_that_looks_like_a_token_is_cut_out_whosever_it_is() {
    let world = World::refresh_due().await;

    let shown = shown(&world, "session 0mjQ7zS8xq2nGfKbVd3Rt5YwPk6 of node 7 is gone".to_owned()).await;

    assert!(shown.starts_with("session […] of node 7 is gone"), "{shown}");
}

#[tokio::test]
async fn an_api_401_with_a_token_that_looks_valid_makes_one_refresh_per_version() {
    let world = World::authenticated().await;
    let rejected = world.token().await.unwrap();

    let outcomes = join_all((0..50).map(|_| world.auth.report_rejected(&world.company, &rejected))).await;

    for outcome in outcomes {
        assert_eq!(outcome.unwrap().revision().version, 2);
    }
    assert_eq!(world.calls(Endpoint::Refresh), 1);
    // A late caller with the old token gets the current one.
    assert_eq!(world.auth.report_rejected(&world.company, &rejected).await.unwrap().revision().version, 2);
    // If the API rejects the new token as well, callers get an error and no loop begins.
    let fetched = world.token().await.unwrap();
    for _ in 0..10 {
        let (reason, wait) = unavailable(world.auth.report_rejected(&world.company, &fetched).await);
        assert_eq!(reason, Unavailable::Unusable);
        assert!(wait <= Duration::from_secs(300));
    }
    assert_eq!(world.calls(Endpoint::Refresh), 1);
    assert_eq!(world.token().await.unwrap().revision().version, 2, "the token is still served");
    assert_authenticated(&world.status().await);
}

#[tokio::test]
async fn statuses_that_nobody_has_described_are_unknown() {
    let refusal = json!({"response": {"errors": [{"code": "10400", "message": "Invalid Refresh Token"}]}});
    assert_unknown([
        Answer::status(400),
        Answer::status(400).with_body("<html><body>Invalid Refresh Token</body></html>"),
        Answer::status(404),
        Answer::status(404).with_json(refusal.clone()),
        Answer::status(405),
        Answer::status(410),
        Answer::status(413),
        Answer::status(415),
        Answer::status(418).with_json(refusal.clone()),
        Answer::status(422).with_json(refusal),
        Answer::status(451),
    ])
    .await;
}

#[tokio::test]
async fn an_unknown_refusal_of_a_code_is_told_and_the_code_is_spent() {
    let world = World::authenticated().await;
    let body = json!({"response": {"errors": [{"code": "10400", "message": "Invalid Refresh Token"}]}});
    world.next(Endpoint::Token, Answer::status(400).with_json(body));

    let error = assert_failed_exchange(&world, "a refusal of the other endpoint").await;

    assert!(error.to_string().contains("start again"), "{error}");
}

#[tokio::test]
async fn a_refusal_of_a_code_at_refresh_proves_nothing() {
    let world = World::refresh_due().await;
    let body = json!({"response": {"errors": [{"code": "10400", "message": "Invalid authorization code"}]}});
    world.next(Endpoint::Refresh, Answer::status(400).with_json(body));

    assert_retried(&world, Unavailable::UnknownAnswer, "of the other endpoint").await;
}
