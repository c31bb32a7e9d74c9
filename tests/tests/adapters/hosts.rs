//! A token goes only to the named hosts.

use batchsuite_auth::adapters::{InvalidHost, reqwest_middleware::AccessTokenMiddleware, tower::AccessTokenLayer};
use batchsuite_tests::acme;
use http::{HeaderValue, Method, StatusCode, header::AUTHORIZATION};
use reqwest::Request;
use reqwest_middleware::RequestBuilder;
use tower::ServiceExt as _;
use url::Url;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::stage::{Recorder, Settings, Stage, tracking};

#[tokio::test]
async fn a_named_host_gets_the_token_and_its_likes_get_none() {
    let stage = Stage::new().await;
    let hosts = ["https://onlinetools.ups.com", "http://127.0.0.1:8080"].map(|host| Url::parse(host).unwrap());
    let settings = Settings { hosts: Some(hosts.to_vec()), ..stage.settings() };
    let recorder = Recorder::default();
    let token = stage.authorization().await;

    for (name, client) in settings.clients_over(&recorder.service()) {
        for (uri, is_named) in [
            ("https://onlinetools.ups.com/api/track", true),
            ("https://onlinetools.ups.com:443/api/track", true),
            ("HTTPS://OnLineTools.UPS.com/api/track", true),
            ("http://127.0.0.1:8080/", true),
            ("http://onlinetools.ups.com/", false),
            ("http://onlinetools.ups.com:443/", false),
            ("https://onlinetools.ups.com:8443/", false),
            ("https://127.0.0.1:8080/", false),
            ("http://127.0.0.1:8081/", false),
            ("http://127.0.0.1/", false),
            ("http://localhost:8080/", false),
            ("https://wwwcie.ups.com/", false),
            ("https://onlinetools.ups.com./", false),
            ("https://onlinetools.ups.com.evil.example/", false),
            ("https://onlinetools.ups.com@evil.example/", false),
            ("https://onlinetools.ups.com:443@evil.example/", false),
            ("https://ada:password@onlinetools.ups.com/", false),
            ("https://evil.example/?https://onlinetools.ups.com/", false),
            ("https://evil.example/https://onlinetools.ups.com/", false),
        ] {
            let request = tracking(uri).header("Host", "onlinetools.ups.com").extension(acme());

            let answer = client.clone().oneshot(request.body(Vec::new()).unwrap()).await.unwrap();

            let expected = if is_named { vec![token.clone()] } else { vec![] };
            assert_eq!(answer, StatusCode::OK);
            assert_eq!(recorder.take_authorizations(), [expected], "{name}: {uri}");
        }
    }
}

/// `reqwest` moves the userinfo part into a header before any middleware sees the URL.
#[tokio::test]
async fn a_userinfo_part_is_replaced_by_the_token_unless_it_is_still_in_the_request() {
    let stage = Stage::new().await;
    let client = stage.settings().middleware().build();
    let url = Url::parse(&stage.track().replace("//", "//ada:password@")).unwrap();

    let get = client.get(url.clone()).build().unwrap();
    for (request, expected) in [(get, StatusCode::OK), (Request::new(Method::GET, url), StatusCode::UNAUTHORIZED)] {
        let request = RequestBuilder::from_parts(client.clone(), request).with_extension(acme());
        let answer = request.header("transId", "1").header("transactionSrc", "tests").send().await.unwrap();

        assert_eq!(answer.status(), expected);
    }
    assert_eq!(stage.refreshes(), 0, "the 401 does not concern the token");
}

#[tokio::test]
async fn the_default_is_the_host_of_the_authenticators_ups() {
    let stage = Stage::new().await;
    let recorder = Recorder::default();
    let foreign = format!("https://onlinetools.ups.com{}", "/api/track/v1/details/1Z999AA10123456784");

    for (name, client) in stage.settings().clients_over(&recorder.service()) {
        for uri in [stage.track(), foreign.clone()] {
            let request = tracking(&uri).extension(acme()).body(Vec::new()).unwrap();
            client.clone().oneshot(request).await.unwrap();
        }
        assert_eq!(recorder.take_authorizations(), [vec![stage.authorization().await], vec![]], "{name}");
    }
}

#[tokio::test]
async fn another_host_needs_no_company_and_keeps_the_credentials_that_the_caller_gave_it() {
    let stage = Stage::new().await;
    let recorder = Recorder::default();

    for (name, client) in stage.settings().clients_over(&recorder.service()) {
        let request = tracking("https://api.example/").header(AUTHORIZATION, "Basic b3du").body(Vec::new()).unwrap();
        client.oneshot(request).await.unwrap();

        assert_eq!(recorder.take_authorizations(), [["Basic b3du"]], "{name}");
    }
}

/// A 401 from another host does not concern the token, which that host never received.
#[tokio::test]
async fn a_401_of_another_host_is_returned_and_not_reported() {
    let stage = Stage::new().await;
    let other = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&other).await;

    for (name, client) in stage.settings().clients() {
        let request = tracking(&other.uri()).extension(acme()).body(Vec::new()).unwrap();

        assert_eq!(client.oneshot(request).await.unwrap(), StatusCode::UNAUTHORIZED, "{name}");
    }

    let requests = other.received_requests().await.unwrap();
    assert_eq!(requests.len(), 2, "one request per adapter");
    assert!(requests.iter().all(|request| !request.headers.contains_key(AUTHORIZATION)));
    assert_eq!(stage.refreshes(), 0);
}

/// Headers copied from an incoming request must not reach UPS.
#[tokio::test]
async fn a_named_host_gets_no_other_credentials_than_the_token_which_is_marked_sensitive() {
    let stage = Stage::new().await;
    let recorder = Recorder::default();

    for (name, client) in stage.settings().clients_over(&recorder.service()) {
        let mut request = stage.request();
        for own in ["Basic b3du", "Bearer somebody"] {
            request.headers_mut().append(AUTHORIZATION, HeaderValue::from_static(own));
        }
        client.oneshot(request).await.unwrap();

        let headers = recorder.take();
        let sent: Vec<_> = headers[0].get_all(AUTHORIZATION).iter().collect();
        assert_eq!(sent, [stage.authorization().await.as_str()], "{name}");
        assert!(sent[0].is_sensitive(), "{name}");
    }
}

#[tokio::test]
async fn a_host_in_the_clear_on_another_machine_cannot_be_named() {
    let stage = Stage::new().await;
    let auth = stage.settings().auth;
    let host = || [Url::parse("http://onlinetools.ups.com").unwrap()];

    assert!(matches!(AccessTokenLayer::<()>::new(auth.clone()).with_hosts(host()), Err(InvalidHost { .. })));
    assert!(matches!(AccessTokenMiddleware::new(auth.clone()).with_hosts(host()), Err(InvalidHost { .. })));
    let shown = format!("{:?}", AccessTokenLayer::<()>::new(auth));
    assert!(shown.starts_with("AccessTokenLayer { calls: ") && shown.contains("hosts: "), "{shown}");
}
