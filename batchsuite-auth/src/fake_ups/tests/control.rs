use serde_json::json;

use super::{json as body, *};

fn control(ups: &FakeUpsState, path: &str, input: &Value) -> Response<Vec<u8>> {
    ups.respond(&Request::post(path).body(input.to_string().into_bytes()).unwrap()).response
}

#[tokio::test]
async fn a_password_is_changed_by_json() {
    let ups = start().await;
    for (input, access) in [
        (json!({"user": USER, "password": "new"}), 200),
        (json!({"user": USER, "password": "newer", "kill_access_tokens": true}), 401),
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
    let answer = json!({"answer": {"status": 418, "json": {"a": 1}}});
    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": answer, "times": "until_cleared"})), [418; 4]);
    assert_eq!(statuses(json!({"endpoint": "refresh", "fault": null})), [400; 4]);
}

#[tokio::test]
async fn the_clock_goes_ahead_by_json() {
    let ups = start().await;
    let before = ups.now();

    assert_eq!(control(&ups, "/__fake/clock", &json!({"advance_seconds": 3600})).status(), 200);

    assert_eq!((ups.now() - before).num_seconds(), 3600);
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
        ("/__fake/clock", json!({"advance_seconds": -1}), "u64"),
        ("/__fake/clock", json!({"advance_seconds": -1.5}), "u64"),
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
