//! Tokens, codes and answers have the recorded formats.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The field names, in order.
fn names(response: &Response<Vec<u8>>) -> Vec<String> {
    let text = String::from_utf8(response.body().clone()).unwrap();
    text.split(',').map(|field| field.trim_start_matches('{').split('"').nth(1).unwrap().to_owned()).collect()
}

const TEN: [&str; 10] = [
    "refresh_token_expires_in",
    "refresh_token_status",
    "token_type",
    "issued_at",
    "client_id",
    "access_token",
    "refresh_token",
    "refresh_token_issued_at",
    "expires_in",
    "status",
];

#[tokio::test]
async fn a_pair_has_ten_fields_in_upss_order_and_twelve_where_that_is_set() {
    let ups = start().await;
    let code = code(&ups, &[]).await;
    let first = exchange(&ups, &code);
    assert_eq!(names(&first), TEN);
    assert_eq!(names(&refresh(&ups, field(&json(&first), "refresh_token"))), TEN);

    let ups = FakeUps::builder().client("client", SECRET).redirect_uri(CALLBACK).twelve_fields().start().await;
    let first = opt_in(&ups).await;
    let second = refresh(&ups, field(&first, "refresh_token"));
    let mut twelve = TEN.to_vec();
    twelve.insert(7, "scope");
    twelve.insert(10, "refresh_count");
    assert_eq!(names(&second), twelve);
    let second = json(&second);
    assert_eq!((field(&first, "refresh_count"), field(&second, "refresh_count")), ("0", "1"));
    assert_eq!(field(&second, "scope"), "");
}

#[tokio::test]
async fn an_edit_leaves_the_order_as_it_is() {
    let ups = start().await;
    let pair = opt_in(&ups).await;
    let edit = Edit { numbers: true, ..Edit::default() }.remove("status").set("issued_at", "1").set("more", 1);
    ups.fault(Endpoint::Refresh, edit.pad("access_token", 2_000), Times::Once);

    let edited = names(&refresh(&ups, field(&pair, "refresh_token")));

    assert_eq!(edited, [&TEN[..9], &["more"]].concat());
}

#[tokio::test]
async fn an_access_token_is_a_jwt_with_the_recorded_claims_that_verifies_under_the_algorithm_that_it_names() {
    let ups =
        FakeUps::builder().client("client", SECRET).redirect_uri(CALLBACK).application_name("My Shop").start().await;
    let pair = opt_in(&ups).await;
    let token = field(&pair, "access_token");
    assert!((1_250..1_400).contains(&token.len()), "{}", token.len());

    let [head, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let [head, claims] = [head, claims].map(|part| serde_json::from_slice::<Value>(&decode(part)).unwrap());
    let keys = json(&get(&ups, "/__fake/keys"));
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == head["kid"]).unwrap();

    assert_eq!(head.as_object().unwrap().len(), 3);
    assert_eq!((field(&head, "typ"), field(&head, "alg"), field(key, "alg")), ("JWT", "RS384", "RS384"));
    let mut names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["DisplayName", "at", "aud", "clientid", "exp", "iat", "iss", "jti", "nbf", "sid", "sub", "uuid"]
    );
    for (name, value) in [
        ("sub", USER),
        ("clientid", "client"),
        ("iss", "https://apis.ups.com"),
        ("aud", "My Shop"),
        ("DisplayName", "My Shop"),
        ("sid", field(&head, "kid")),
    ] {
        assert_eq!(field(&claims, name), value);
    }
    let expires_in: i64 = field(&pair, "expires_in").parse().unwrap();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), expires_in + 1);
    let jti = field(&claims, "jti");
    assert_eq!(uuid::Uuid::parse_str(jti).unwrap().to_string(), jti);

    let signed = &token[..token.rfind('.').unwrap()];
    assert_eq!(decode(signature).len(), 512);
    let components = aws_lc_rs::rsa::PublicKeyComponents { n: decode(field(key, "n")), e: decode(field(key, "e")) };
    components.verify(&RSA_PKCS1_2048_8192_SHA384, signed.as_bytes(), &decode(signature)).unwrap();
    let pem = ups.token_verification_key();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA384, STANDARD.decode(der).unwrap());
    key.verify(signed.as_bytes(), &decode(signature)).unwrap();
}

#[tokio::test]
async fn a_refresh_token_has_164_characters_and_only_its_first_part_changes() {
    let ups = start().await;
    let first = opt_in(&ups).await;
    let second = json(&refresh(&ups, field(&first, "refresh_token")));

    let parts = [&first, &second].map(|pair| {
        let token = field(pair, "refresh_token");
        assert_eq!(token.len(), 164);
        assert!(token.ends_with("==") && !token.contains(['+', '/']), "{token}");
        let text = String::from_utf8(STANDARD.decode(token).unwrap()).unwrap();
        let (letters, blob) = text.split_once('-').unwrap();
        assert!(letters.len() == 32 && letters.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{letters}");
        assert_eq!(STANDARD.decode(blob).unwrap().len(), 64);
        (letters.to_owned(), blob.to_owned())
    });
    assert_ne!(parts[0].0, parts[1].0);
    assert_eq!(parts[0].1, parts[1].1);
}

#[tokio::test]
async fn a_code_has_132_characters_of_which_none_needs_encoding() {
    let ups = start().await;
    for _ in 0..50 {
        let code = code(&ups, &[]).await;

        assert_eq!(code.len(), 132);
        assert!(code.ends_with("==") && !code.contains(['+', '/']), "{code}");
        let text = String::from_utf8(STANDARD.decode(&code).unwrap()).unwrap();
        let (letters, blob) = text.split_once('-').unwrap();
        assert!(letters.len() == 8 && letters.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{letters}");
        assert!(STANDARD.decode(blob).is_ok(), "{blob}");
    }
}

#[tokio::test]
async fn tracking_needs_its_two_headers_and_a_number_of_7_to_34_characters() {
    let ups = start().await;
    let token = field(&opt_in(&ups).await, "access_token").to_owned();
    let track = |number: &str, headers: &[(&str, &str)]| {
        let mut request = Request::get(format!("/api/track/v1/details/{number}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("authorization", format!("Bearer {token}")).body(Vec::new()).unwrap();
        ups.respond(&request).response
    };
    let both = [("transId", "t-1"), ("transactionSrc", "shop")];
    let (shortest, longest) = ("1".repeat(7), "1".repeat(34));
    for (number, headers, status) in [
        (shortest.as_str(), &both[..], 200),
        (longest.as_str(), &both, 200),
        ("1Z", &both, 400),
        ("1Z%2B%2B%2B", &both, 400),
        (&shortest[1..], &both, 400),
        (&format!("{longest}1"), &both, 400),
        (&shortest, &both[..1], 400),
        (&shortest, &both[1..], 400),
        (&shortest, &[], 400),
        (&shortest, &[("transId", ""), ("transactionSrc", "shop")], 400),
    ] {
        let response = track(number, headers);
        assert_eq!(response.status(), status, "{number} {headers:?}");
        if status == 400 {
            error(&response);
        }
    }
    assert_eq!(ups.requests().count(Endpoint::Track, Outcome::BadRequest), 8);
}

#[tokio::test]
async fn what_goes_wrong_at_authorize_is_told_in_the_two_headers_that_upss_samples_read() {
    let ups = start().await;
    for (fault, code, description) in [
        (Fault::InvalidClient, "10401", "ClientId is Invalid"),
        (Fault::Blocked, "10403", "Blocked Merchant"),
        (Fault::TooManyRequests { retry_after: None }, "10429", "Too Many Requests"),
        (Fault::InvalidRefreshToken, "10400", "Invalid Refresh Token"),
    ] {
        ups.fault(Endpoint::Authorize, fault.clone(), Times::Once);
        let response = get(&ups, authorize_url(&[]).as_str());
        assert_eq!((header(&response, "errorcode"), header(&response, "errordescription")), (code, description));

        ups.fault(Endpoint::Refresh, fault, Times::Once);
        assert_eq!(header(&refresh(&ups, "x"), "errorcode"), "", "only at authorize");
    }
    ups.fault(Endpoint::Authorize, Fault::ErrorPage, Times::Once);
    assert_eq!(header(&get(&ups, authorize_url(&[]).as_str()), "location"), "https://www.ups.com/error.page");
}

#[tokio::test]
async fn the_application_has_the_name_that_was_set() {
    let ups =
        FakeUps::builder().client("client", SECRET).redirect_uri(CALLBACK).application_name("A & B").start().await;

    let response = get(&ups, &authorize_url(&[]).as_str().replace("http://ups.example", ""));
    let page = get(&ups, header(&response, "location"));

    assert_eq!((header(&response, "appname"), header(&response, "displayname")), ("A & B", "A & B"));
    assert!(String::from_utf8(page.into_body()).unwrap().contains("authorize A &amp; B to access"));
}

#[tokio::test]
async fn unsigned_access_tokens_have_the_same_length_and_are_good_here_alone() {
    let ups = FakeUps::builder().client("client", SECRET).redirect_uri(CALLBACK).unsigned_access_tokens().start().await;
    let signed = opt_in(&start().await).await;
    let unsigned = opt_in(&ups).await;

    assert_eq!(field(&unsigned, "access_token").len(), field(&signed, "access_token").len());
    assert_eq!(track(&ups, field(&unsigned, "access_token")).status(), 200);
    assert_eq!(track(&ups, field(&signed, "access_token")).status(), 401);
}
