//! Every answer and every breakage that a UPS client must survive can be produced.

use std::time::Duration;

use super::*;
use crate::http::{HttpClient, HttpErrorKind};

/// The reply to a refresh with this fault, and whether the refresh token is spent afterwards.
async fn refresh_with(fault: impl Into<Fault>) -> (Reply, bool) {
    let ups = start().await;
    let token = field(&opt_in(&ups).await, "refresh_token").to_owned();
    ups.fault(Endpoint::Refresh, fault, Times::Once);
    let reply = refresh_reply(&ups, &token);
    let spent = refresh(&ups, &token).status() != 200;
    (reply, spent)
}

#[tokio::test]
async fn token_answers_can_have_any_field_set_left_out_or_more() {
    for (edit, name, expected) in [
        (Edit::default().set("expires_in", -5), "expires_in", serde_json::json!(-5)),
        (Edit::default().set("expires_in", "0"), "expires_in", serde_json::json!("0")),
        (
            Edit::default().set("expires_in", "99999999999999999999999999"),
            "expires_in",
            serde_json::json!("99999999999999999999999999"),
        ),
        (Edit::default().set("expires_in", 1e30), "expires_in", serde_json::json!(1e30)),
        (Edit::default().remove("expires_in"), "expires_in", Value::Null),
        (Edit::default().remove("access_token"), "access_token", Value::Null),
        (Edit::default().set("access_token", ""), "access_token", serde_json::json!("")),
        (Edit::default().remove("refresh_token"), "refresh_token", Value::Null),
        (Edit::default().set("token_type", "MAC"), "token_type", serde_json::json!("MAC")),
        (Edit::default().remove("token_type"), "token_type", Value::Null),
        (Edit::default().set("refresh_token_expires_in", "0"), "refresh_token_expires_in", serde_json::json!("0")),
        (Edit::default().set("client_id", "another"), "client_id", serde_json::json!("another")),
        (Edit::default().set("status", "denied"), "status", serde_json::json!("denied")),
        (Edit::default().set("unheard_of", serde_json::json!({"a": [1]})), "unheard_of", serde_json::json!({"a": [1]})),
    ] {
        let (reply, spent) = refresh_with(edit).await;
        assert_eq!(reply.response.status(), 200);
        assert_eq!(json(&reply.response)[name], expected, "{name}");
        assert!(spent, "an edited answer belongs to a processed request");
    }
}

#[tokio::test]
async fn numbers_come_as_numbers_and_texts_stay_texts() {
    let (reply, _) = refresh_with(Fault::Numbers).await;

    let pair = json(&reply.response);
    assert_eq!(pair["expires_in"], 3599);
    assert_eq!(pair["refresh_token_expires_in"], 5_183_999);
    assert_eq!(pair["issued_at"], 1_767_225_600_000_u64);
    assert_eq!(pair["status"], "approved");
}

#[tokio::test]
async fn status_and_content_type_of_a_pair_can_be_others() {
    let edit = Edit::default().with_status(201).with_content_type("text/plain").with_header("x-more", "1");
    let (reply, _) = refresh_with(edit).await;

    assert_eq!(reply.response.status(), 201);
    assert_eq!((header(&reply.response, "content-type"), header(&reply.response, "x-more")), ("text/plain", "1"));
    assert_eq!(field(&json(&reply.response), "status"), "approved");
}

#[tokio::test]
async fn a_pair_can_be_issued_and_never_be_readable() {
    let html = Edit::default().with_body("<html>").with_content_type("text/html");
    for (edit, status, body) in [
        (html.clone(), 200, "<html>"),
        (html.with_status(502), 502, "<html>"),
        (Edit::default().with_body(""), 200, ""),
        (Edit::default().with_body("").with_status(204), 204, ""),
        (Edit::default().cut(9), 200, "{\"refresh"),
    ] {
        let (reply, spent) = refresh_with(edit).await;
        assert_eq!((reply.response.status().as_u16(), reply.response.body().as_slice()), (status, body.as_bytes()));
        assert!(spent);
    }
}

#[tokio::test]
async fn a_refresh_token_can_stay_the_same() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    ups.fault(Endpoint::Refresh, Fault::KeepRefreshToken, Times::Once);

    let second = json(&refresh(&ups, field(&pair, "refresh_token")));

    assert_eq!(second["refresh_token"], pair["refresh_token"]);
    assert_ne!(second["access_token"], pair["access_token"]);
    assert_eq!(refresh(&ups, field(&second, "refresh_token")).status(), 200, "the token stays valid");
}

#[tokio::test]
async fn an_access_token_of_16_kib_is_good_at_the_protected_api() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    ups.fault(Endpoint::Refresh, Edit::default().pad("access_token", 16 * 1024), Times::Once);

    let pair = json(&refresh(&ups, field(&pair, "refresh_token")));

    assert_eq!(field(&pair, "access_token").len(), 16 * 1024);
    assert_eq!(track(&ups, field(&pair, "access_token")).status(), 200);
}

#[tokio::test]
async fn answers_in_the_place_of_processing_leave_the_token_good() {
    let envelope = |error: Value| serde_json::json!({"response": {"errors": error}});
    let invalid = serde_json::json!({"code": "10400", "message": "Invalid Refresh Token"});
    let cases: Vec<(Fault, u16, Value)> = vec![
        (Fault::InvalidRefreshToken, 400, envelope(serde_json::json!([invalid]))),
        (Fault::InvalidClient, 401, envelope(serde_json::json!([{"code": "10401", "message": "ClientId is Invalid"}]))),
        (Fault::Blocked, 403, envelope(serde_json::json!([{"code": "10403", "message": "Blocked Merchant"}]))),
        (
            Fault::TooManyRequests { retry_after: None },
            429,
            envelope(serde_json::json!([{"code": "10429", "message": "Too Many Requests"}])),
        ),
    ];
    let made_up = [
        (400, invalid.clone()),
        (400, serde_json::json!({"errors": [invalid]})),
        (400, envelope(serde_json::json!([{"code": 10400, "message": "Invalid Refresh Token"}]))),
        (400, envelope(serde_json::json!([]))),
        (400, envelope(invalid.clone())),
        (400, envelope(serde_json::json!([{"code": "10400", "message": "Something nobody has described"}]))),
        (400, serde_json::json!({"error": "invalid_grant", "error_description": "gone"})),
    ];
    let made_up = made_up.map(|(status, json)| (Answer::status(status).with_json(json.clone()).into(), status, json));
    for (fault, status, expected) in cases.into_iter().chain(made_up) {
        let (reply, spent) = refresh_with(fault).await;
        assert_eq!((reply.response.status().as_u16(), json(&reply.response)), (status, expected));
        assert!(!spent);
    }
}

#[tokio::test]
async fn rate_limits_come_with_or_without_retry_after() {
    for value in [None, Some("120"), Some("Thu, 01 Jan 2026 00:05:00 GMT"), Some("soon")] {
        let (reply, _) = refresh_with(Fault::TooManyRequests { retry_after: value.map(str::to_owned) }).await;
        assert_eq!(reply.response.status(), 429);
        assert_eq!(header(&reply.response, "retry-after"), value.unwrap_or_default());
    }
}

#[tokio::test]
async fn any_status_comes_with_json_html_or_nothing() {
    for (answer, content_type, body) in [
        (Answer::status(500).with_json(serde_json::json!({"a": 1})), "application/json", "{\"a\":1}"),
        (Answer::status(504).with_body("<html>"), "text/html;charset=utf-8", "<html>"),
        (Answer::status(502), "", ""),
        (Answer::status(200).with_content_type("text/plain").with_body("ok"), "text/plain", "ok"),
    ] {
        let (reply, spent) = refresh_with(answer.clone()).await;
        assert_eq!(Some(reply.response.status().as_u16()), answer.status);
        assert_eq!(header(&reply.response, "content-type"), content_type);
        assert_eq!(reply.response.body(), body.as_bytes());
        assert!(!spent);
    }
    let (reply, _) = refresh_with(Fault::Unavailable).await;
    assert_eq!(
        (reply.response.status().as_u16(), header(&reply.response, "content-type")),
        (503, "text/html;charset=utf-8")
    );
}

#[tokio::test]
async fn bodies_can_be_huge_or_compressed() {
    let (reply, _) = refresh_with(Answer::status(200).with_fill(10 * 1024 * 1024)).await;
    assert_eq!(reply.response.body().len(), 10 * 1024 * 1024);

    let gzip = Answer { base64: Some("H4sIAAAA".into()), ..Answer::default() }.with_header("content-encoding", "gzip");
    let (reply, _) = refresh_with(gzip).await;
    assert_eq!((reply.response.status().as_u16(), header(&reply.response, "content-encoding")), (200, "gzip"));
    assert_eq!(reply.response.body(), &[0x1f, 0x8b, 8, 0, 0, 0]);
}

#[tokio::test]
async fn an_error_message_can_echo_the_refresh_token() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    let error = serde_json::json!({"response": {"errors": [{"code": "10400", "message": "Invalid Refresh Token {refresh_token}"}]}});
    ups.fault(Endpoint::Refresh, Answer::status(400).with_json(error), Times::Once);

    let response = refresh(&ups, field(&pair, "refresh_token"));

    let message = format!("Invalid Refresh Token {}", field(&pair, "refresh_token"));
    assert_error(&response, 400, "10400", &message);
}

#[tokio::test]
async fn redirects_go_where_the_test_says_or_to_the_error_page() {
    for status in [301, 302, 303, 307, 308] {
        let location = "https://elsewhere.example/x";
        let (reply, spent) = refresh_with(Fault::Redirect { status, location: location.into() }).await;
        assert_eq!((reply.response.status().as_u16(), header(&reply.response, "location")), (status, location));
        assert!(!spent);
    }
    let (reply, _) = refresh_with(Fault::ErrorPage).await;
    assert_eq!(
        (reply.response.status().as_u16(), header(&reply.response, "location")),
        (302, "https://www.ups.com/error.page")
    );
}

#[tokio::test]
async fn answers_can_come_late() {
    let (reply, spent) = refresh_with(Fault::Delay { milliseconds: 1_500 }).await;
    assert_eq!(reply.delay, Duration::from_millis(1_500));
    assert!(spent, "the request is processed at once");

    let (reply, spent) = refresh_with(Answer::status(500).with_delay(Duration::from_millis(7))).await;
    assert_eq!((reply.delay, spent), (Duration::from_millis(7), false));

    let (reply, spent) = refresh_with(Edit::default().with_delay(Duration::from_millis(8))).await;
    assert_eq!((reply.delay, spent), (Duration::from_millis(8), true));
}

#[tokio::test]
async fn connections_break_before_or_after_processing() {
    for (fault, on_the_wire, processed) in [
        (Fault::Reset, WireFault::Reset, false),
        (Fault::Close, WireFault::Close, false),
        (Fault::Hang, WireFault::Hang, false),
        (Fault::DropAnswer, WireFault::Reset, true),
        (Fault::Truncate { keep_bytes: 5 }, WireFault::Truncate { keep_bytes: 5 }, true),
        (Fault::Trickle { milliseconds: 2 }, WireFault::Trickle { pause: Duration::from_millis(2) }, true),
    ] {
        let (reply, spent) = refresh_with(fault.clone()).await;
        assert_eq!((reply.wire_fault, spent), (Some(on_the_wire), processed), "{fault:?}");
    }
    let (reply, _) = refresh_with(Fault::Truncate { keep_bytes: usize::MAX }).await;
    let keep_bytes = reply.response.body().len() - 1;
    assert_eq!(reply.wire_fault, Some(WireFault::Truncate { keep_bytes }), "something is always missing");
}

#[tokio::test]
async fn requests_are_counted_by_what_they_did_and_not_by_their_answer() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    ups.fault(Endpoint::Refresh, Fault::Reset, Times::Once);
    ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once);

    for _ in 0..3 {
        refresh(&ups, field(&pair, "refresh_token"));
    }

    let requests = ups.requests();
    assert_eq!(requests.count(Endpoint::Refresh, Outcome::Unprocessed), 1);
    assert_eq!(requests.count(Endpoint::Refresh, Outcome::Ok), 1);
    assert_eq!(requests.count(Endpoint::Refresh, Outcome::SpentRefreshToken), 1);
}

#[tokio::test]
async fn the_user_can_decline_on_the_page_or_come_back_declined_at_once() {
    let ups = start().await;
    const DECLINED: &str = "error=access_denied&error_description=The+user+declined&state=st%26te";

    assert_eq!(ups.decline(&authorize_url(&[])).await, DECLINED);
    ups.fault(Endpoint::Authorize, Fault::AccessDenied, Times::Once);
    assert_eq!(ups.consent(&authorize_url(&[]), USER).await, DECLINED);

    assert!(ups.consent(&authorize_url(&[]), USER).await.starts_with("code="));
    assert_eq!(ups.requests().count(Endpoint::SignIn, Outcome::Declined), 1);
    assert_eq!(ups.requests().count(Endpoint::Authorize, Outcome::Declined), 1);
}

#[tokio::test]
#[should_panic(expected = "The username or the password is not right")]
async fn a_consent_with_a_wrong_password_panics_with_the_words_of_the_page() {
    let ups = start().await;
    ups.consent_with_password(&authorize_url(&[]), USER, "wrong").await;
}

#[tokio::test]
#[should_panic(expected = "the authorization request led to the error page")]
async fn a_consent_that_ends_at_the_error_page_panics() {
    let ups = start().await;
    ups.fault(Endpoint::Authorize, Fault::ErrorPage, Times::Once);
    ups.consent(&authorize_url(&[]), USER).await;
}

#[tokio::test]
#[should_panic(expected = "nobody at this UPS is called")]
async fn a_password_change_of_nobody_panics() {
    start().await.change_password("nobody");
}

#[tokio::test(start_paused = true)]
async fn in_process_sees_answers_delays_and_breaches_as_they_would_look() {
    let ups = start().await;
    let client = ups.in_process();
    let send = || {
        let request = Request::get(authorize_url(&[]).as_str()).body(Vec::new()).unwrap();
        let client = client.clone();
        async move { client.send(request).await.map(|response| response.status().as_u16()).map_err(|error| error.kind()) }
    };
    assert_eq!(send().await, Ok(302));

    ups.fault(Endpoint::Authorize, Fault::Delay { milliseconds: 9_000 }, Times::Once);
    let started = tokio::time::Instant::now();
    assert_eq!(send().await, Ok(302));
    assert_eq!(started.elapsed(), Duration::from_secs(9));

    ups.fault(Endpoint::Authorize, Fault::Trickle { milliseconds: 1_000 }, Times::Once);
    let started = tokio::time::Instant::now();
    assert_eq!(send().await, Ok(302));
    assert!(started.elapsed() > Duration::from_secs(100));

    for fault in [Fault::Reset, Fault::Close, Fault::DropAnswer, Fault::Truncate { keep_bytes: 1 }, Fault::Hang] {
        ups.fault(Endpoint::Authorize, fault, Times::Once);
        assert_eq!(send().await, Err(HttpErrorKind::Unanswered));
    }
    ups.fault(Endpoint::Connection, Fault::Reset, Times::Once);
    assert_eq!(send().await, Err(HttpErrorKind::Unanswered));

    ups.go_offline().await;
    assert_eq!(send().await, Err(HttpErrorKind::Connect));
    ups.go_online().await;
    assert_eq!(send().await, Ok(302));
}
