use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn authorize_answers_302_to_the_sign_in_page_and_names_the_application() {
    let ups = start().await;

    let response = get(&ups, authorize_url(&[("scope", "read")]).as_str());

    assert_eq!(response.status(), 302);
    assert_eq!(
        header(&response, "location"),
        "http://ups.example/lasso/signin?client_id=client&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcallback\
         &response_type=code&scope=read&state=st%26te&type=ups_com_api"
    );
    assert_eq!((header(&response, "appname"), header(&response, "displayname")), ("Batch Suite", "Batch Suite"));
}

#[tokio::test]
async fn the_location_follows_the_host_that_was_asked() {
    let ups = start().await;
    let target = authorize_url(&[]);
    let target = &target[url::Position::BeforePath..];
    for (headers, origin) in [
        (vec![("host", "127.0.0.1:4010")], "http://127.0.0.1:4010/lasso"),
        (vec![("host", "ups.example"), ("x-forwarded-proto", "https")], "https://ups.example/lasso"),
        (vec![], "/lasso"),
    ] {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = ups.respond(&request.body(Vec::new()).unwrap()).response;
        assert!(header(&response, "location").starts_with(origin), "{}", header(&response, "location"));
    }
}

#[tokio::test]
async fn authorize_refuses_what_is_not_in_order_and_repeats_the_error_in_headers() {
    let ups = start().await;
    for (parameters, status, code, message) in [
        (vec![("client_id", "other")], 401, "10401", "ClientId is Invalid"),
        (vec![("client_id", "-")], 400, "10400", "Invalid/Missing Authorization Header"),
        (vec![("client_id", "")], 400, "10400", "Invalid/Missing Authorization Header"),
        (vec![("response_type", "-")], 400, "10400", "Invalid/Missing Authorization Header"),
        (vec![("response_type", ""), ("redirect_uri", "-")], 400, "10400", "Invalid/Missing Authorization Header"),
        (vec![("redirect_uri", "http://localhost:3000/callback/")], 400, "10400", "Invalid Redirect URL"),
        (vec![("redirect_uri", "https://evil.example/")], 400, "10400", "Invalid Redirect URL"),
        (vec![("response_type", "token")], 400, "10400", "Unsupported Response Type"),
        (vec![("code_challenge", "short")], 400, "10400", "Invalid Code Challenge"),
        (vec![("code_challenge_method", "plain")], 400, "10400", "Invalid Code Challenge"),
    ] {
        let response = get(&ups, authorize_url(&parameters).as_str());
        assert_error(&response, status, code, message);
        assert_eq!((header(&response, "errorcode"), header(&response, "errordescription")), (code, message));
        assert_eq!(header(&response, "location"), "");
    }
    let twice = format!("{}&client_id=client", authorize_url(&[]));
    assert_eq!(get(&ups, &twice).status(), 400, "a repeated parameter counts as missing");
}

#[tokio::test]
async fn validate_client_answers_with_the_sign_in_page() {
    let ups = start().await;
    let validate = |id: &str, uri: &str| {
        get(&ups, &format!("http://ups.example/security/v1/oauth/validate-client?client_id={id}&redirect_uri={uri}"))
    };

    assert_eq!(
        json(&validate("client", CALLBACK)),
        serde_json::json!({"result": "success", "type": "ups_com_api", "LassoRedirectURL": "http://ups.example/lasso/signin"})
    );
    assert_error(&validate("other", CALLBACK), 401, "10401", "ClientId is Invalid");
    assert_error(&validate("client", "http://localhost/"), 400, "10400", "Invalid Redirect URL");
}

#[tokio::test]
async fn the_callback_carries_code_scope_and_state_as_recorded_from_ups() {
    let ups = start().await;

    let query = ups.consent(&authorize_url(&[]), "DEMO@example.com").await;

    let code = query.strip_prefix("code=").and_then(|rest| rest.strip_suffix("&scope=read&state=st%26te")).unwrap();
    assert!(code.ends_with("==") && !code.contains('+'), "{code}");
    let without_state = ups.consent(&authorize_url(&[("state", "-")]), USER).await;
    assert!(without_state.ends_with("==&scope=read"), "{without_state}");
}

#[tokio::test]
async fn a_redirect_uri_with_a_query_keeps_it() {
    let ups = FakeUps::builder().client("client", SECRET).redirect_uri("http://localhost/cb?a=b").start().await;

    let query = ups.consent(&authorize_url(&[("redirect_uri", "http://localhost/cb?a=b")]), USER).await;

    assert!(query.starts_with("a=b&code="), "{query}");
}

#[tokio::test]
async fn token_answers_with_a_pair_in_which_every_value_is_a_string() {
    let ups = start().await;

    let pair = opt_in(&ups).await;

    assert!(pair.as_object().unwrap().values().all(Value::is_string), "{pair}");
    for (name, value) in [
        ("refresh_token_expires_in", "5183999"),
        ("refresh_token_status", "approved"),
        ("token_type", "Bearer"),
        ("issued_at", "1767225600000"),
        ("client_id", "client"),
        ("refresh_token_issued_at", "1767225600000"),
        ("expires_in", "3599"),
        ("status", "approved"),
    ] {
        assert_eq!(field(&pair, name), value, "{name}");
    }
    assert_eq!(pair.as_object().unwrap().len(), 10);
    assert_eq!(field(&pair, "access_token").split('.').count(), 3);
    assert_eq!(ups.requests().count(Endpoint::Token, Outcome::Ok), 1);
}

#[tokio::test]
async fn token_verifies_the_client() {
    let ups = start().await;
    let unencoded = format!("Basic {}", STANDARD.encode(format!("client:{SECRET}")));
    let no_utf8 = format!("Basic {}", STANDARD.encode(b"client:\xff"));
    let no_colon = format!("Basic {}", STANDARD.encode(b"client"));
    let (wrong_id, wrong_secret, lower) =
        (basic("other", SECRET), basic("client", "other"), basic("client", SECRET).replace("Basic", "basic"));
    const HEADER: (u16, &str, &str) = (400, "10400", "Invalid/Missing Authorization Header");
    const CLIENT: (u16, &str, &str) = (401, "10401", "ClientId is Invalid");
    for (authorization, expected) in [
        (None, Some(HEADER)),
        (Some("Basic"), Some(HEADER)),
        (Some("Basic *"), Some(HEADER)),
        (Some("Bearer abc"), Some(HEADER)),
        (Some(no_utf8.as_str()), Some(HEADER)),
        (Some(no_colon.as_str()), Some(HEADER)),
        (Some(wrong_id.as_str()), Some(CLIENT)),
        (Some(wrong_secret.as_str()), Some(CLIENT)),
        (Some(unencoded.as_str()), None),
        (Some(lower.as_str()), None),
    ] {
        let code = code(&ups, &[]).await;
        let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
        let response = post(&ups, "/security/v1/oauth/token", authorization, &form).response;
        match expected {
            Some((status, code, message)) => {
                assert_error(&response, status, code, message);
                assert_error(&exchange(&ups, form[1].1), 400, "10400", "Invalid authorization code");
            }
            None => assert_eq!(response.status(), 200, "{authorization:?}"),
        }
    }
    assert_eq!(ups.requests().count(Endpoint::Token, Outcome::UsedCode), 8, "a failed exchange burns the code");
}

#[tokio::test]
async fn a_code_is_used_once_in_time_by_its_client_with_its_redirect_uri() {
    let ups = FakeUps::builder()
        .client("client", SECRET)
        .client("second", "s2")
        .redirect_uri(CALLBACK)
        .redirect_uri("http://localhost/other")
        .code_lifetime(seconds(30))
        .start()
        .await;
    let token = |authorization: &str, code: &str, uri: &str| {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", uri)];
        post(&ups, "/security/v1/oauth/token", Some(authorization), &form).response
    };
    let own = basic("client", SECRET);

    let used = code(&ups, &[]).await;
    assert_eq!(token(&own, &used, CALLBACK).status(), 200);
    assert_error(&token(&own, &used, CALLBACK), 400, "10400", "Invalid authorization code");

    let foreign = code(&ups, &[]).await;
    assert_error(&token(&basic("second", "s2"), &foreign, CALLBACK), 400, "10400", "Invalid authorization code");

    let elsewhere = code(&ups, &[]).await;
    assert_error(&token(&own, &elsewhere, "http://localhost/other"), 400, "10400", "Invalid Redirect URL");

    let late = code(&ups, &[]).await;
    ups.clock().advance(seconds(30));
    assert_error(&token(&own, &late, CALLBACK), 400, "10400", "Invalid authorization code");

    let in_time = code(&ups, &[]).await;
    ups.clock().advance(seconds(29));
    assert_eq!(token(&own, &in_time, CALLBACK).status(), 200);

    for rubbish in ["", "x", "A+/=", &"é".repeat(66)] {
        assert_error(&token(&own, rubbish, CALLBACK), 400, "10400", "Invalid authorization code");
    }
    let requests = ups.requests();
    assert_eq!(requests.count(Endpoint::Token, Outcome::UsedCode), 1);
    assert_eq!(requests.count(Endpoint::Token, Outcome::ExpiredCode), 1);
    assert_eq!(requests.count(Endpoint::Token, Outcome::BadRedirectUri), 1);
    assert_eq!(requests.count(Endpoint::Token, Outcome::UnknownCode), 5);
}

#[tokio::test]
async fn grant_types_belong_to_their_endpoints() {
    let ups = start().await;
    let own = basic("client", SECRET);
    let pair = opt_in(&ups).await;
    for (path, grant_type) in [
        ("/security/v1/oauth/token", "refresh_token"),
        ("/security/v1/oauth/token", "client_credentials"),
        ("/security/v1/oauth/token", ""),
        ("/security/v1/oauth/refresh", "authorization_code"),
    ] {
        let form = [("grant_type", grant_type), ("refresh_token", field(&pair, "refresh_token"))];
        assert_error(&post(&ups, path, Some(&own), &form).response, 400, "10400", "Unsupported Grant Type");
    }
    assert_eq!(refresh(&ups, field(&pair, "refresh_token")).status(), 200, "no request spent the token");
}

#[tokio::test]
async fn a_pkce_challenge_is_met_by_its_verifier_alone_with_or_without_the_secret() {
    let ups = start().await;
    let verifier = "v".repeat(43);
    let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let other = "w".repeat(43);
    let with = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
    let own = basic("client", SECRET);
    for (asked, authorization, id, sent, expected) in [
        (&with[..], None, Some("client"), Some(&verifier), None),
        (&with[..1], Some(&own), None, Some(&verifier), None),
        (&with[..], None, Some("client"), Some(&other), Some("Invalid authorization code")),
        (&with[..], Some(&own), None, None, Some("Invalid authorization code")),
        (&[][..], Some(&own), None, Some(&verifier), Some("Invalid authorization code")),
        (&with[..], None, Some("client"), None, Some("Invalid/Missing Authorization Header")),
        (&with[..], None, Some("other"), Some(&verifier), Some("ClientId is Invalid")),
        (&with[..], None, None, Some(&verifier), Some("ClientId is Invalid")),
    ] {
        let code = code(&ups, asked).await;
        let mut form = vec![("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
        form.extend(id.map(|id| ("client_id", id)));
        form.extend(sent.map(|verifier| ("code_verifier", verifier.as_str())));
        let response = post(&ups, "/security/v1/oauth/token", authorization.map(String::as_str), &form).response;
        match expected {
            None => assert_eq!(response.status(), 200),
            Some(message) => assert_eq!(error(&response).2, message),
        }
    }
}

#[tokio::test]
async fn pkce_may_be_told_to_need_the_secret_as_well() {
    let ups = FakeUps::builder().client("client", SECRET).redirect_uri(CALLBACK).pkce_needs_secret().start().await;
    let form = [("grant_type", "authorization_code"), ("code_verifier", "v"), ("client_id", "client")];

    let response = post(&ups, "/security/v1/oauth/token", None, &form).response;

    assert_error(&response, 400, "10400", "Invalid/Missing Authorization Header");
}

#[tokio::test]
async fn a_refresh_rotates_and_the_spent_token_is_refused() {
    let ups = start().await;
    let first = opt_in(&ups).await;
    ups.clock().advance(seconds(10));

    let second = json(&refresh(&ups, field(&first, "refresh_token")));

    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!(field(&second, "issued_at"), "1767225610000");
    assert_error(&refresh(&ups, field(&first, "refresh_token")), 400, "10400", "Invalid Refresh Token");
    assert_eq!(refresh(&ups, field(&second, "refresh_token")).status(), 200, "a spent token does not hurt the current");
    let requests = ups.requests();
    assert_eq!(requests.count(Endpoint::Refresh, Outcome::Ok), 2);
    assert_eq!(requests.count(Endpoint::Refresh, Outcome::SpentRefreshToken), 1);
}

#[tokio::test]
async fn of_many_refreshes_with_one_token_exactly_one_wins() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| refresh(&ups, field(&pair, "refresh_token")));
        }
    });

    assert_eq!(ups.requests().count(Endpoint::Refresh, Outcome::Ok), 1);
    assert_eq!(ups.requests().count(Endpoint::Refresh, Outcome::SpentRefreshToken), 7);
}

#[tokio::test]
async fn refresh_refuses_what_is_not_in_order() {
    let ups = FakeUps::builder().client("client", SECRET).client("second", "s2").redirect_uri(CALLBACK).start().await;
    let pair = opt_in(&ups).await;
    let token = field(&pair, "refresh_token");
    let (own, second, wrong) = (basic("client", SECRET), basic("second", "s2"), basic("client", "x"));
    for (authorization, token, status, code, message) in [
        (None, token, 400, "10400", "Invalid/Missing Authorization Header"),
        (Some(&wrong), token, 401, "10401", "ClientId is Invalid"),
        (Some(&second), token, 400, "10400", "Invalid Refresh Token"),
        (Some(&own), "", 400, "10400", "Invalid/Missing Refresh Token"),
        (Some(&own), "unknown", 400, "10400", "Invalid Refresh Token"),
    ] {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let reply = post(&ups, "/security/v1/oauth/refresh", authorization.map(String::as_str), &form);
        assert_error(&reply.response, status, code, message);
    }
    assert_eq!(refresh(&ups, token).status(), 200, "no request spent the token");
}

#[tokio::test]
async fn a_body_that_is_no_form_has_no_parameters() {
    let ups = start().await;
    let request = Request::post("/security/v1/oauth/refresh")
        .header("authorization", basic("client", SECRET))
        .header("content-type", "application/json")
        .body(b"grant_type=refresh_token".to_vec());

    assert_error(&ups.respond(&request.unwrap()).response, 400, "10400", "Unsupported Grant Type");
}

#[tokio::test]
async fn lifetimes_follow_the_clock_and_each_rotation_begins_them_anew() {
    let ups = FakeUps::builder()
        .client("client", SECRET)
        .redirect_uri(CALLBACK)
        .access_lifetime(seconds(100))
        .refresh_lifetime(seconds(1_000))
        .start()
        .await;
    let pair = opt_in(&ups).await;
    assert_eq!((field(&pair, "expires_in"), field(&pair, "refresh_token_expires_in")), ("100", "1000"));

    ups.clock().advance(seconds(99));
    assert_eq!(track(&ups, field(&pair, "access_token")).status(), 200);
    ups.clock().advance(seconds(1));
    assert_error(&track(&ups, field(&pair, "access_token")), 401, "251004", "Bearer Token expired (oauth)");

    ups.clock().advance(seconds(899));
    let pair = json(&refresh(&ups, field(&pair, "refresh_token")));
    ups.clock().advance(seconds(999));
    let pair = json(&refresh(&ups, field(&pair, "refresh_token")));
    ups.clock().advance(seconds(1_000));
    assert_error(&refresh(&ups, field(&pair, "refresh_token")), 400, "10400", "Invalid Refresh Token");
    assert_eq!(ups.requests().count(Endpoint::Refresh, Outcome::ExpiredRefreshToken), 1);
}

#[tokio::test]
async fn a_password_change_ends_the_opt_ins_of_that_user_alone() {
    let ups = FakeUps::builder()
        .client("client", SECRET)
        .redirect_uri(CALLBACK)
        .user(USER, "p")
        .user("other", "q")
        .start()
        .await;
    let ended = opt_in(&ups).await;
    let query = ups.consent(&authorize_url(&[]), "other").await;
    let code = form_urlencoded::parse(query.as_bytes()).next().unwrap().1.into_owned();
    let living = json(&exchange(&ups, &code));

    ups.change_password(USER);

    assert_ne!(ups.password(USER), "p");
    assert_error(&refresh(&ups, field(&ended, "refresh_token")), 400, "10400", "Invalid Refresh Token");
    assert_eq!(ups.requests().count(Endpoint::Refresh, Outcome::OptInEnded), 1);
    assert_eq!(
        track(&ups, field(&ended, "access_token")).status(),
        401,
        "the access token becomes invalid with the opt-in"
    );
    assert_eq!(refresh(&ups, field(&living, "refresh_token")).status(), 200);
    assert_eq!(refresh(&ups, field(&opt_in(&ups).await, "refresh_token")).status(), 200, "a new opt-in is good");
}

#[tokio::test]
async fn a_password_change_or_a_revocation_kills_access_tokens_at_once_unless_told_otherwise() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    ups.change_password_with(USER, AccessTokens::LiveOn);
    assert_eq!(
        track(&ups, field(&pair, "access_token")).status(),
        200,
        "the access token stays valid until it expires"
    );
    for end in [(|ups| ups.change_password(USER)) as fn(&FakeUpsState), |ups| ups.revoke(USER)] {
        let pair = opt_in(&ups).await;
        end(&ups);
        let response = track(&ups, field(&pair, "access_token"));
        assert_error(&response, 401, "250002", "Invalid authentication information.");
        assert_error(&refresh(&ups, field(&pair, "refresh_token")), 400, "10400", "Invalid Refresh Token");
        assert_eq!(track(&ups, field(&opt_in(&ups).await, "access_token")).status(), 200);
    }
}

#[tokio::test]
async fn a_password_change_between_code_and_exchange_ends_the_opt_in_too() {
    let ups = start().await;
    let code = code(&ups, &[]).await;

    ups.change_password(USER);

    let pair = json(&exchange(&ups, &code));
    assert_error(&refresh(&ups, field(&pair, "refresh_token")), 400, "10400", "Invalid Refresh Token");
}

#[tokio::test]
async fn a_blocked_client_gets_403_everywhere_and_loses_nothing() {
    let ups = start().await;
    let pair = opt_in(&ups).await;

    ups.block_client();
    for response in [
        get(&ups, authorize_url(&[]).as_str()),
        get(&ups, &authorize_url(&[]).as_str().replace("/authorize", "/validate-client")),
        exchange(&ups, "any"),
        refresh(&ups, field(&pair, "refresh_token")),
    ] {
        assert_error(&response, 403, "10403", "Blocked Merchant");
    }

    ups.unblock_client();
    assert_eq!(refresh(&ups, field(&pair, "refresh_token")).status(), 200);
}

#[tokio::test]
async fn track_tells_the_shipment_or_why_the_token_is_refused() {
    let ups = start().await;
    let pair = opt_in(&ups).await;

    let response = track(&ups, field(&pair, "access_token"));

    let package = &json(&response)["trackResponse"]["shipment"][0]["package"][0];
    assert_eq!(field(package, "trackingNumber"), "1Z999AA10123456784");
    assert_eq!(field(&package["activity"][0], "date"), "20260101");
    assert_error(&track(&ups, "a.b.c"), 401, "UJ0001", "Invalid token or token is not present");
    let without = get(&ups, "/api/track/v1/details/1Z");
    assert_error(&without, 401, "UJ0001", "Invalid token or token is not present");
    let another = start().await;
    assert_error(
        &track(&another, field(&pair, "access_token")),
        401,
        "UJ0001",
        "Invalid token or token is not present",
    );
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused() {
    let ups = start().await;
    for target in
        ["/", "/security/v1/oauth", "/security/v1/oauth/revoke", "/api/track/v1/details/", "/api/track/v1/details/a/b"]
    {
        assert_eq!(get(&ups, target).status(), 404, "{target}");
    }
    for (method, path, allow) in [
        ("GET", "/security/v1/oauth/token", "POST"),
        ("DELETE", "/security/v1/oauth/refresh", "POST"),
        ("POST", "/security/v1/oauth/authorize", "GET, HEAD"),
        ("PUT", "/lasso/signin", "GET, HEAD, POST"),
        ("POST", "/api/track/v1/details/1", "GET, HEAD"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Vec::new()).unwrap();
        let response = ups.respond(&request).response;
        assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, allow), "{method} {path}");
    }
}
