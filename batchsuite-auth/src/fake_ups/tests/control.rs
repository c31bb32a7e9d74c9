use serde_json::json;

use super::{json as body, *};

fn control(ups: &FakeUpsState, path: &str, input: &Value) -> Response<Vec<u8>> {
    ups.respond(&Request::post(path).body(input.to_string().into_bytes()).unwrap()).response
}

#[tokio::test]
async fn a_password_is_changed_by_json() {
    let ups = start().await;
    for (input, access) in [
        (json!({"user": USER, "password": "new"}), 401),
        (json!({"user": USER, "password": "newer", "kill_access_tokens": true}), 401),
        (json!({"user": USER, "password": "newest", "kill_access_tokens": false}), 200),
    ] {
        let pair = opt_in(&ups).await;
        assert_eq!(control(&ups, "/__fake/password", &input).status(), 200);
        assert_eq!(ups.password(USER), input["password"]);
        assert_eq!(refresh(&ups, field(&pair, "refresh_token")).status(), 400);
        assert_eq!(track(&ups, field(&pair, "access_token")).status(), access);
    }
}

#[tokio::test]
async fn an_opt_in_is_revoked_by_json() {
    let ups = start().await;
    let pair = opt_in(&ups).await;

    assert_eq!(control(&ups, "/__fake/revoke", &json!({"user": USER})).status(), 200);

    assert_eq!(refresh(&ups, field(&pair, "refresh_token")).status(), 400);
    assert_eq!(track(&ups, field(&pair, "access_token")).status(), 401);
}

#[tokio::test]
async fn faults_are_set_and_cleared_by_json() {
    let ups = start().await;
    let statuses = |input: Value| {
        assert_eq!(control(&ups, "/__fake/faults", &input).status(), 200, "{input}");
        [(); 4].map(|()| refresh(&ups, "x").status().as_u16())
    };

    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": "unavailable"})), [503, 400, 400, 400]);
    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": "blocked", "times": 2})), [403, 403, 400, 400]);
    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": "blocked", "times": "2"})), [403, 403, 400, 400]);
    let limit = json!({"too_many_requests": {"retry_after": 5}});
    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": limit})), [429, 400, 400, 400]);
    let answer = json!({"answer": {"status": 418, "json": {"a": 1}}});
    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": answer, "times": "until_cleared"})), [418; 4]);
    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": null})), [400; 4]);
}

#[tokio::test]
async fn the_clock_goes_ahead_and_back_by_json() {
    let ups = start().await;
    for (input, now) in [
        (json!({"advance_seconds": 3600}), "2026-01-01 01:00:00 UTC"),
        (json!({"advance_seconds": "60"}), "2026-01-01 01:01:00 UTC"),
        (json!({"advance_seconds": -7200}), "2025-12-31 23:01:00 UTC"),
        (json!({"advance_seconds": "-60"}), "2025-12-31 23:00:00 UTC"),
        (json!({"now": "2024-02-29T12:00:00Z"}), "2024-02-29 12:00:00 UTC"),
    ] {
        assert_eq!(control(&ups, "/__fake/clock", &input).status(), 200, "{input}");
        assert_eq!(ups.now().to_string(), now);
    }
}

#[tokio::test]
async fn a_reset_makes_everything_as_at_the_start() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    let code = code(&ups, &[]).await;
    ups.change_password(USER);
    ups.block_client();
    ups.clock().advance(std::time::Duration::from_secs(1_000));
    for &endpoint in Endpoint::ALL {
        ups.fault(endpoint, Fault::Hang, Times::UntilCleared);
    }

    let reset = ups.respond(&Request::post("/__fake/reset").body(Vec::new()).unwrap()).response;

    assert_eq!(reset.status(), 200);
    assert_eq!(format!("{:?}", ups.requests()), "{}");
    assert_eq!(ups.password(USER), FakeUps::PASSWORD);
    assert_eq!(ups.now().to_string(), "2026-01-01 00:00:00 UTC");
    assert_eq!(refresh(&ups, field(&pair, "refresh_token")).status(), 400);
    assert_eq!(track(&ups, field(&pair, "access_token")).status(), 401);
    assert_eq!(exchange(&ups, &code).status(), 400);
    assert_eq!(refresh(&ups, field(&opt_in(&ups).await, "refresh_token")).status(), 200);
}

#[tokio::test]
async fn a_consent_is_given_without_a_browser() {
    let ups = start().await;
    let sign_in = authorize_url(&[]).as_str().replace("/security/v1/oauth/authorize", "/lasso/signin");
    for url in [
        authorize_url(&[]).as_str().to_owned(),
        sign_in,
        authorize_url(&[]).as_str().replace("ups.example", "onlinetools.ups.com"),
    ] {
        let told = control(&ups, "/__fake/consent", &json!({"authorize_url": url, "user": USER}));

        assert_eq!(told.status(), 200, "{url}");
        let callback: Url = field(&body(&told), "callback").parse().unwrap();
        assert!(callback.as_str().starts_with(CALLBACK), "{callback}");
        let query: std::collections::HashMap<_, _> = callback.query_pairs().into_owned().collect();
        assert_eq!((query["scope"].as_str(), query["state"].as_str()), ("read", "st&te"));
        assert_eq!(exchange(&ups, &query["code"]).status(), 200);
    }
    assert_eq!(ups.requests().count(Endpoint::SignIn, Outcome::Consented), 3);

    ups.fault(Endpoint::SignIn, Fault::Delay { milliseconds: 900 }, Times::Once);
    let input = json!({"authorize_url": authorize_url(&[]), "user": USER}).to_string();
    let reply = ups.respond(&Request::post("/__fake/consent").body(input.into_bytes()).unwrap());
    assert_eq!(reply.delay.as_millis(), 900);
}

#[tokio::test]
async fn a_consent_that_cannot_be_is_told_in_words() {
    let ups = start().await;
    let url = authorize_url(&[]);
    ups.fault(Endpoint::Authorize, Fault::Reset, Times::Once);
    for (input, words) in [
        (json!({"authorize_url": url, "user": USER}), "the browser saw no page but Reset"),
        (json!({"authorize_url": url, "user": "nobody"}), "nobody at this UPS is called"),
        (json!({"authorize_url": url, "user": USER, "password": "wrong"}), "The username or the password is not right"),
        (json!({"authorize_url": authorize_url(&[("client_id", "other")]), "user": USER}), "ClientId is Invalid"),
        (json!({"authorize_url": "nowhere", "user": USER}), "relative URL"),
        (json!({"user": USER}), "missing field `authorize_url`"),
    ] {
        let told = control(&ups, "/__fake/consent", &input);
        let message = body(&told)["error"].as_str().unwrap().to_owned();
        assert_eq!(told.status(), 400, "{input}");
        assert!(message.contains(words), "{input}: {message}");
    }
}

#[tokio::test]
async fn a_page_under_another_name_reads_and_moves_nothing() {
    let ups = start().await;
    for (method, path) in
        [("GET", "/__fake/"), ("GET", "/__fake/requests"), ("POST", "/__fake/reset"), ("GET", "/lasso/signup")]
    {
        let request = Request::builder().method(method).uri(path).header("host", "rebound.example:4010");
        let response = ups.respond(&request.body(Vec::new()).unwrap()).response;

        assert_eq!(response.status(), 421, "{path}");
        assert!(!String::from_utf8_lossy(response.body()).contains(FakeUps::PASSWORD));
    }
    let own = Request::get("/__fake/").header("host", "127.0.0.1:4010").body(Vec::new()).unwrap();
    assert!(String::from_utf8_lossy(ups.respond(&own).response.body()).contains(FakeUps::PASSWORD));
}

#[tokio::test]
async fn a_head_is_a_get_without_a_body() {
    let ups = start().await;
    for path in [
        "/__fake/",
        "/__fake/requests",
        "/__fake/keys",
        "/lasso/agreement",
        "/lasso/style.css",
        authorize_url(&[]).as_str(),
    ] {
        let request = |method: &str| Request::builder().method(method).uri(path).body(Vec::new()).unwrap();

        let [got, looked_at] = ["GET", "HEAD"].map(|method| ups.respond(&request(method)).response);

        assert_eq!(looked_at.status(), got.status(), "{path}");
        assert_eq!(header(&looked_at, "content-length"), got.body().len().to_string(), "{path}");
        assert_eq!(header(&looked_at, "content-type"), header(&got, "content-type"), "{path}");
        assert!(looked_at.body().is_empty(), "{path}");
    }
    for path in ["/__fake/reset", "/security/v1/oauth/token", "/security/v1/oauth/refresh"] {
        let request = Request::head(path).body(Vec::new()).unwrap();
        assert_eq!(ups.respond(&request).response.status(), 405, "{path}");
    }
}

#[tokio::test]
async fn requests_are_told_by_endpoint_and_outcome() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    refresh(&ups, field(&pair, "refresh_token"));
    refresh(&ups, field(&pair, "refresh_token"));

    let counts = body(&get(&ups, "/__fake/requests"));

    assert_eq!(counts["refresh"], json!({"ok": 1, "spent_refresh_token": 1}));
    assert_eq!(counts["token"], json!({"ok": 1}));
    assert_eq!(counts["track"], json!({}));
}

#[tokio::test]
async fn bad_input_gets_a_clear_400_and_changes_nothing() {
    let ups = start().await;
    for (path, input, words) in [
        ("/__fake/password", json!({"user": USER}), "missing field `password`"),
        ("/__fake/password", json!({"user": USER, "password": ""}), "must not be empty"),
        ("/__fake/password", json!({"user": "nobody", "password": "p"}), "nobody at this UPS is called"),
        ("/__fake/password", json!({"user": USER, "password": "p", "kill": true}), "unknown field `kill`"),
        ("/__fake/revoke", json!({"user": 5}), "expected a string"),
        ("/__fake/faults", json!({"endpoint": "nowhere", "fault": "reset"}), "unknown variant `nowhere`"),
        ("/__fake/faults", json!({"endpoint": "token", "fault": "explode"}), "unknown variant `explode`"),
        ("/__fake/faults", json!({"endpoint": "token", "fault": {"answer": {"status": 99}}}), "200 to 599"),
        (
            "/__fake/faults",
            json!({"endpoint": "token", "fault": {"answer": {"statsu": 500}}}),
            "unknown field `statsu`",
        ),
        ("/__fake/faults", json!({"endpoint": "token", "fault": "reset", "times": 0}), "a number from 1"),
        ("/__fake/faults", json!({"endpoint": "token", "fault": "reset", "times": "often"}), "a number from 1"),
        ("/__fake/clock", json!({"advance_seconds": -1.5}), "expected a number"),
        ("/__fake/clock", json!({"advance_seconds": "soon"}), "\"soon\" is not a number"),
        ("/__fake/clock", json!({"advance_seconds": i64::MAX}), "the time is out of range"),
        ("/__fake/clock", json!({"advance_seconds": 1, "now": "2026-01-01T00:00:00Z"}), "either"),
        ("/__fake/clock", json!({"now": "yesterday"}), "invalid characters"),
        (
            "/__fake/faults",
            json!({"endpoint": "token", "fault": {"answer": {"headers": {"X-Fake-Ups-Wire": "0 reset"}}}}),
            "header of the fake itself",
        ),
        (
            "/__fake/faults",
            json!({"endpoint": "token", "fault": {"edit": {"headers": {"x-fake-ups-told-length": "1"}}}}),
            "header of the fake itself",
        ),
        ("/__fake/reset", json!({"users": []}), "unknown field `users`"),
    ] {
        let response = control(&ups, path, &input);
        let message = body(&response)["error"].as_str().unwrap().to_owned();
        assert_eq!(response.status(), 400, "{input}");
        assert!(message.contains(words), "{input}: {message}");
    }
    for rubbish in ["", "{", "[]", "{}"] {
        let request = Request::post("/__fake/clock").body(rubbish.into()).unwrap();
        assert_eq!(ups.respond(&request).response.status(), 400, "{rubbish}");
    }
    assert_eq!(ups.password(USER), FakeUps::PASSWORD);
    assert_eq!(refresh(&ups, "x").status(), 400);
}

#[tokio::test]
async fn the_page_shows_users_and_faults_and_its_forms_do_the_same_as_json() {
    let ups = start().await;

    for (path, form) in [
        ("/__fake/password", vec![("user", USER), ("password", "<new>"), ("kill_access_tokens", "yes")]),
        ("/__fake/revoke", vec![("user", USER)]),
        ("/__fake/faults", vec![("endpoint", "track"), ("fault", "reset"), ("times", "3")]),
        (
            "/__fake/faults",
            vec![("endpoint", "token"), ("fault", r#"{"delay":{"milliseconds":5}}"#), ("times", "until_cleared")],
        ),
        ("/__fake/faults", vec![("endpoint", "refresh"), ("fault", "")]),
        ("/__fake/clock", vec![("advance_seconds", "60")]),
        ("/__fake/client", vec![("blocked", "yes")]),
    ] {
        let response = post(&ups, path, None, &form).response;
        assert_eq!((response.status().as_u16(), header(&response, "location")), (303, "/__fake/"), "{path}");
    }

    let page = String::from_utf8(get(&ups, "/__fake/").into_body()).unwrap();
    for words in [
        "<td>demo@example.com</td><td><code>&lt;new&gt;</code></td>",
        "<td>track</td><td><code>&quot;reset&quot;</code></td><td>3</td>",
        "<td>token</td><td><code>{&quot;delay&quot;:{&quot;milliseconds&quot;:5}}</code></td><td>until cleared</td>",
        "<strong>blocked</strong>",
        "It is 2026-01-01 00:01:00 UTC",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    assert_eq!(post(&ups, "/__fake/clock", None, &[("advance_seconds", "soon")]).response.status(), 400);
}

#[tokio::test]
async fn another_sites_page_moves_no_switch() {
    let ups = start().await;
    let request = Request::post("/__fake/client")
        .header("sec-fetch-site", "cross-site")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(b"blocked=yes".to_vec());

    assert_eq!(ups.respond(&request.unwrap()).response.status(), 403);

    assert_eq!(get(&ups, authorize_url(&[]).as_str()).status(), 302);
}
