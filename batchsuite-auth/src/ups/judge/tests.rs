//! What an answer means, by its status and body.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry,
};

use super::*;

const NOW: &str = "2026-11-23T12:00:00Z";

fn answer(status: u16, body: &str, headers: &[(&str, &str)]) -> Response<Vec<u8>> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(body.as_bytes().to_vec()).unwrap()
}

fn judged(grant_type: GrantType, status: u16, body: &str, headers: &[(&str, &str)]) -> Judgement {
    let answer = Arrival::Whole(answer(status, body, headers));
    judge(grant_type, answer, &["canary-token"], &PairDefaults::default(), NOW.parse().unwrap())
}

fn name(judgement: &Judgement) -> &'static str {
    judgement.outcome()
}

fn ups(code: &str, message: &str) -> String {
    format!(r#"{{"response":{{"errors":[{{"code":{code},"message":"{message}"}}]}}}}"#)
}

#[test]
fn every_documented_answer_has_its_meaning() {
    let invalid_token = ups(r#""10400""#, "Invalid Refresh Token");
    for (status, body, refresh, exchange) in [
        (400, invalid_token.clone(), "refused", "unknown"),
        (400, ups(r#""10400""#, "Invalid/Missing Refresh Token"), "refused", "unknown"),
        (400, ups("10400", "Invalid Refresh Token"), "refused", "unknown"),
        (400, ups(r#""10400""#, "Invalid authorization code"), "unknown", "refused"),
        (400, ups(r#""10400""#, "Invalid Redirect URL"), "misconfigured", "misconfigured"),
        (400, ups(r#""10400""#, "Invalid/Missing Authorization Header"), "misconfigured", "misconfigured"),
        (400, ups(r#""10400""#, "Unsupported Grant Type"), "misconfigured", "misconfigured"),
        (400, ups(r#""10400""#, "Something else"), "unknown", "unknown"),
        (400, ups(r#""10999""#, "Invalid Refresh Token"), "unknown", "unknown"),
        (401, ups(r#""10401""#, "ClientId is Invalid"), "misconfigured", "misconfigured"),
        (401, String::new(), "misconfigured", "misconfigured"),
        (401, invalid_token.clone(), "misconfigured", "misconfigured"),
        (403, String::new(), "blocked", "blocked"),
        (403, invalid_token.clone(), "blocked", "blocked"),
        (429, ups(r#""10429""#, "Too Many Requests"), "rate_limited", "rate_limited"),
        (500, invalid_token.clone(), "unanswered", "unanswered"),
        (502, "<html>".to_owned(), "unanswered", "unanswered"),
        (503, String::new(), "unanswered", "unanswered"),
        (504, String::new(), "unanswered", "unanswered"),
        (301, String::new(), "unanswered", "unanswered"),
        (302, String::new(), "unanswered", "unanswered"),
        (303, String::new(), "unanswered", "unanswered"),
        (307, String::new(), "unanswered", "unanswered"),
        (308, String::new(), "unanswered", "unanswered"),
        (404, String::new(), "unknown", "unknown"),
        (408, String::new(), "unanswered", "unanswered"),
        (200, String::new(), "unanswered", "unanswered"),
        (200, "<html>".to_owned(), "unanswered", "unanswered"),
        (204, String::new(), "unanswered", "unanswered"),
        (200, r#"{"access_token":"a","refresh_token":"r","expires_in":"1""#.to_owned(), "unanswered", "unanswered"),
        (201, r#"{"access_token":"a","refresh_token":"r","expires_in":"1"}"#.to_owned(), "pair", "pair"),
    ] {
        assert_eq!(name(&judged(GrantType::RefreshToken, status, &body, &[])), refresh, "refresh: {status} {body}");
        assert_eq!(
            name(&judged(GrantType::AuthorizationCode, status, &body, &[])),
            exchange,
            "exchange: {status} {body}"
        );
    }
}

#[test]
fn the_other_shapes_of_errors_are_judged_by_what_is_there() {
    for (body, expected) in [
        (r#"{"code":"10400","message":"Invalid Refresh Token"}"#, "refused"),
        (r#"{"message":"invalid refresh token."}"#, "refused"),
        ("\u{feff}{\"message\":\"Invalid Refresh Token\"}", "refused"),
        (r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"}]}"#, "refused"),
        (r#"{"response":{"errors":{"code":"10400","message":"Invalid Refresh Token"}}}"#, "refused"),
        (r#"{"error":"invalid_grant"}"#, "refused"),
        (r#"{"error":"invalid_client","error_description":"x"}"#, "misconfigured"),
        (r#"{"error":"unsupported_grant_type"}"#, "misconfigured"),
        (
            r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"},{"code":"10401","message":"ClientId is Invalid"}]}"#,
            "misconfigured",
        ),
        (r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"},{"code":"1","message":"?"}]}"#, "unknown"),
        // In two shapes that contradict each other.
        (
            r#"{"error":"invalid_client","errors":[{"code":"10400","message":"Invalid Refresh Token"}]}"#,
            "misconfigured",
        ),
        (
            r#"{"errors":[{"code":"10401","message":"ClientId is Invalid"}],"response":{"errors":[{"message":"Invalid Refresh Token"}]}}"#,
            "misconfigured",
        ),
        (r#"{"code":"10400","message":"Invalid Refresh Token","error":"invalid_client"}"#, "misconfigured"),
        (r#"{"error":"invalid_grant","code":"10429","message":"Too Many Requests"}"#, "unknown"),
        (r#"{"response":{"error":"invalid_client","errors":[{"message":"Invalid Refresh Token"}]}}"#, "misconfigured"),
        (r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"},{"reason":"?"}]}"#, "unknown"),
        (r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"},"ClientId is Invalid"]}"#, "unknown"),
        // In two shapes that do not contradict each other.
        (r#"{"error":"invalid_grant","errors":[{"code":"10400","message":"Invalid Refresh Token"}]}"#, "refused"),
        (r#"{"code":"400","message":"Bad Request","errors":[{"message":"Invalid Refresh Token"}]}"#, "refused"),
        (r#"{"response":{"errors":[]}}"#, "unknown"),
        (r#"{"response":{"errors":null}}"#, "unknown"),
        (r#"{"response":{"errors":[null,1,"x"]}}"#, "unknown"),
        (r#"{"response":7}"#, "unknown"),
        ("[]", "unknown"),
        ("7", "unknown"),
        ("<html>Invalid Refresh Token</html>", "unknown"),
        ("", "unknown"),
    ] {
        assert_eq!(name(&judged(GrantType::RefreshToken, 400, body, &[])), expected, "{body}");
    }
}

#[test]
fn a_field_beside_the_error_that_cannot_be_read_costs_only_itself() {
    let lists = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let objects = format!("{}0{}", r#"{"x":"#.repeat(3000), "}".repeat(3000));
    let fields = [
        r#""x":1e400"#,
        r#""x":-1e400"#,
        &format!(r#""x":{lists}"#),
        &format!(r#""x":{objects}"#),
        r#""x":"\ud800""#,
        r#""x\ud800":1"#,
        r#""code\ud800":"10401""#,
        "\"x\":\"a\n\tb\"",
        r#""x":"\q""#,
        r#""x":"C:\users""#,
        r#""x":NaN"#,
        r#""x":007"#,
        r#""x":"#,
    ];
    for field in fields {
        let error = r#"{"code":"10400","message":"Invalid Refresh Token""#;
        for body in [
            format!(r#"{{"response":{{"errors":[{error},{field}}}]}}}}"#),
            format!(r#"{{{field},"response":{{"errors":[{error}}}]}}}}"#),
            format!(r#"{{"error":"invalid_grant",{field}}}"#),
        ] {
            for status in [400, 200] {
                let judgement = judged(GrantType::RefreshToken, status, &body, &[]);
                assert_eq!(name(&judgement), "refused", "{status} {body:.200}");
            }
        }
    }
}

#[test]
fn small_faults_in_the_json_do_not_hide_the_error() {
    let error = ups(r#""10400""#, "Invalid Refresh Token");
    for body in [
        error.replace("}]", ",}]"),
        error.replace("]}", "],}"),
        format!("{error}\0"),
        format!("\0{error}\0\u{1}"),
        error.replace("Token", "Token\r\n"),
    ] {
        assert_eq!(name(&judged(GrantType::RefreshToken, 400, &body, &[])), "refused", "{body:?}");
    }
}

#[test]
fn no_fault_in_the_json_makes_a_refusal_of_what_is_none() {
    let refusal = r#""message":"Invalid Refresh Token""#;
    for (status, body, expected) in [
        // What UPS says is not readable.
        (400, format!(r#"{{"code":"\ud800",{refusal}}}"#), "unknown"),
        (400, format!(r#"{{"code":010400,{refusal}}}"#), "unknown"),
        (400, format!(r#"{{"code":1e400,{refusal}}}"#), "unknown"),
        (400, r#"{"error":"invalid_grant\ud800"}"#.to_owned(), "unknown"),
        (400, "{\"error\":\"invalid_grant\n\"}".to_owned(), "unknown"),
        (400, r#"{"error\ud800":"invalid_grant"}"#.to_owned(), "unknown"),
        (400, r#"{"code":"10400","message":"Invalid Refresh Token\ud800"}"#.to_owned(), "unknown"),
        // It says two things.
        (400, format!(r#"{{"code":"1",{refusal},"code":"10400","x":1e400}}"#), "unknown"),
        (400, format!(r#"{{"code":"10400",{refusal},"x":{{"y\ud800":1,"y\ud800":2}}}}"#), "unknown"),
        (400, format!(r#"{{"code":"10400",{refusal},"x":{{"y":1,"y":2}},}}"#), "unknown"),
        (400, format!(r#"{{"error":"invalid_client","x":"\ud800",{refusal}}}"#), "misconfigured"),
        (400, format!(r#"{{"errors":[{{"code":"10400",{refusal}}},{{"code":"1","x":1e400}}]}}"#), "unknown"),
        // It has a token as well.
        (200, r#"{"error":"invalid_grant","access_token":"\ud800"}"#.to_owned(), "unanswered"),
        (200, r#"{"error":"invalid_grant","access_token":1e400,"expires_in":0}"#.to_owned(), "unanswered"),
        // It is no JSON.
        (400, format!("{{{refusal}}}x"), "unknown"),
        (400, format!("{{{refusal}}},"), "unknown"),
        (400, format!("{{{refusal}}}{{}}"), "unknown"),
        (400, format!("{{{refusal}"), "unknown"),
        (400, format!("{{{refusal},x}}"), "unknown"),
        (400, format!("<p>{{{refusal}}}</p>"), "unknown"),
    ] {
        assert_eq!(name(&judged(GrantType::RefreshToken, status, &body, &[])), expected, "{status} {body}");
    }
}

#[test]
fn what_was_sent_is_cut_out_of_the_evidence() {
    let body = ups(r#""10400""#, "Invalid Refresh Token: canary-token");

    let Judgement::Unknown(evidence) = judged(GrantType::RefreshToken, 400, &body, &[]) else { panic!() };

    assert_eq!(evidence.message.as_deref(), Some("Invalid Refresh Token: […]"));
    assert_eq!((evidence.status, evidence.code.as_deref()), (Some(400), Some("10400")));
}

#[test]
fn retry_after_is_read_as_seconds_or_as_a_date() {
    for (value, seconds) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("99999999999999999999999", Some(u64::MAX)),
        ("Mon, 23 Nov 2026 12:01:00 GMT", Some(60)),
        ("Tue, 24 Nov 2026 12:00:00 GMT", Some(86_400)),
        ("Mon, 23 Nov 2020 12:01:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("", None),
    ] {
        let judgement = judged(GrantType::RefreshToken, 429, "", &[("retry-after", value)]);
        let Judgement::RateLimited(pause, _) = judgement else { panic!("{value}") };
        assert_eq!(pause, seconds.map(Duration::from_secs), "{value}");
    }
    assert!(matches!(judged(GrantType::RefreshToken, 429, "", &[]), Judgement::RateLimited(None, _)));
}

#[test]
fn without_an_answer_it_matters_whether_anything_was_sent() {
    use HttpErrorKind::*;
    for (error, expected, message) in [
        (HttpError::unanswered(), "unanswered", "no answer; the request may have arrived"),
        (HttpError::new(Connect), "not_sent", "no connection; nothing was sent"),
        (HttpError::new(Tls), "not_sent", "security: the server's certificate or TLS was refused; nothing was sent"),
        (HttpError::new(Request), "not_sent", "the request is not allowed by the HTTP client; nothing was sent"),
        (HttpError::new(Late), "late", ""),
    ] {
        let (answer, defaults) = (Arrival::Failed(error), PairDefaults::default());
        let judgement = judge(GrantType::RefreshToken, answer, &[], &defaults, Timestamp::UNIX_EPOCH);

        assert_eq!(name(&judgement), expected);
        let (Judgement::Unanswered(evidence) | Judgement::NotSent(evidence)) = judgement else { continue };
        assert_eq!(evidence, Evidence::message(message));
    }
}

#[test]
fn a_success_that_is_an_error_is_judged_by_what_it_says() {
    for (body, expected) in [
        (ups(r#""10400""#, "Invalid Refresh Token"), "refused"),
        (r#"{"error":"invalid_grant"}"#.to_owned(), "refused"),
        (r#"{"code":"10400","message":"Invalid Refresh Token"}"#.to_owned(), "refused"),
        (ups(r#""10401""#, "ClientId is Invalid"), "misconfigured"),
        (r#"{"error":"invalid_client"}"#.to_owned(), "misconfigured"),
        (ups(r#""10429""#, "Too Many Requests"), "rate_limited"),
        (ups(r#""10499""#, "Computer says no"), "unknown"),
        (r#"{"error":"computer_says_no"}"#.to_owned(), "unknown"),
        (r#"{"error":[{"code":"10400","message":"Invalid Refresh Token"}]}"#.to_owned(), "unknown"),
        (r#"{"errors":{"code":"10499"}}"#.to_owned(), "unknown"),
        // It does not declare an error.
        (r#"{"error":""}"#.to_owned(), "unanswered"),
        (r#"{"errors":{}}"#.to_owned(), "unanswered"),
        (r#"{"code":"0","message":"OK"}"#.to_owned(), "unanswered"),
        (r#"{"status":"approved"}"#.to_owned(), "unanswered"),
        (r#"{"response":{"errors":[]}}"#.to_owned(), "unanswered"),
        // It has an unusable token as well.
        (r#"{"error":"invalid_grant","access_token":"a","expires_in":"0"}"#.to_owned(), "unanswered"),
        (r#"{"error":"invalid_grant","access_token":"","refresh_token":null}"#.to_owned(), "refused"),
        // Text after the object: no verdict.
        (format!("{}x", ups(r#""10400""#, "Invalid Refresh Token")), "unanswered"),
    ] {
        assert_eq!(name(&judged(GrantType::RefreshToken, 200, &body, &[])), expected, "{body}");
    }
}

#[test]
fn a_key_that_is_there_twice_makes_an_error_unknown() {
    for body in [
        r#"{"response":{"errors":[{"code":"1","message":"x"}],"errors":[{"code":"10400","message":"Invalid Refresh Token"}]}}"#,
        r#"{"response":{},"response":{"errors":[{"code":"10400","message":"Invalid Refresh Token"}]}}"#,
        r#"{"response":{"errors":[{"code":"1","code":"10400","message":"Invalid Refresh Token"}]}}"#,
        r#"{"error":"invalid_grant","error":"invalid_grant"}"#,
        r#"{"error":"invalid_grant","x":{"y":1,"y":1}}"#,
        r#"{"error":"server_error","\u0065rror":"invalid_grant"}"#,
    ] {
        for status in [400, 200] {
            let Judgement::Unknown(evidence) = judged(GrantType::RefreshToken, status, body, &[]) else {
                panic!("{status} {body}")
            };
            assert!(evidence.message.unwrap().contains("twice"));
        }
    }
}

/// Counts warnings.
#[derive(Default)]
struct Warnings(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn only_a_pair_of_an_answer_that_broke_off_is_worth_a_warning() {
    let warnings = Warnings::default();
    let count = warnings.0.clone();
    let log = tracing::Dispatch::new(registry().with(warnings));
    // If there were only one, threads without a subscriber could disable log statements for this thread.
    let _second = tracing::Dispatch::new(registry());
    let pair = r#"{"access_token":"a","refresh_token":"r"}"#;
    for (arrival, expected) in
        [(Arrival::Whole(answer(200, pair, &[])), 0), (Arrival::BrokenOff(answer(200, pair, &[])), 1)]
    {
        let judgement = tracing::dispatcher::with_default(&log, || {
            judge(GrantType::RefreshToken, arrival, &[], &PairDefaults::default(), Timestamp::UNIX_EPOCH)
        });

        assert_eq!((name(&judgement), count.load(Ordering::Relaxed)), ("pair", expected));
    }
}

#[test]
fn an_answer_that_broke_off_is_a_pair_or_none_and_never_a_verdict() {
    let pair = r#"{"access_token":"a","refresh_token":"r"}"#;
    let refusal = ups(r#""10400""#, "Invalid Refresh Token");
    for (status, body, expected) in [
        (200, pair, "pair"),
        (201, pair, "pair"),
        (200, &pair[..pair.len() - 1], "unanswered"),
        (200, r#"{"access_token":"a"}"#, "unanswered"),
        (200, "", "unanswered"),
        (200, &refusal, "unanswered"),
        (400, &refusal, "unanswered"),
        (401, &refusal, "unanswered"),
        (429, "", "unanswered"),
        (400, pair, "unanswered"),
    ] {
        let answer = Arrival::BrokenOff(answer(status, body, &[]));
        let judgement = judge(GrantType::RefreshToken, answer, &[], &PairDefaults::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(name(&judgement), expected, "{status} {body}");
    }
}
