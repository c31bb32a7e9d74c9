//! The return from UPS.com, as a browser and as an attacker make it.

use std::net::SocketAddr;

use batchsuite_auth::status::Status;
use http::{Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use crate::world::World;

fn query_value(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

#[tokio::test]
async fn a_return_leads_to_a_clean_address_that_confirms_the_authentication_once() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), format!("/companies/{company}"));
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[header::REFERRER_POLICY], "no-referrer");
    let page = browser.get(answer.location()).await.body;
    assert!(page.contains("is authenticated"), "{page}");
    let expires = world.refresh_expires(&company).await;
    assert!(expires.starts_with("2026-03-01 23:59:5"), "{expires}");
    assert!(page.contains(&format!("The token expiration date is <strong class=\"date\">{expires} UTC")), "{page}");
    assert!(page.contains(&format!("Refresh expires: {expires}")), "{page}");
    assert!(!browser.get(answer.location()).await.body.contains("is authenticated"));
}

#[tokio::test]
async fn every_refused_return_is_a_400_that_repeats_nothing_and_reaches_no_ups() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let state = query_value(&world.depart(&browser, &company).await, "state");
    let long = "x".repeat(5000);
    let exchanges = world.exchanges();

    for query in [
        String::new(),
        format!("state={state}"),
        "code=canary-code".to_owned(),
        "code=canary-code&state=".to_owned(),
        format!("code=canary-code&code=canary-code&state={state}"),
        format!("code=&state={state}"),
        format!("code={long}&state={state}"),
        format!("code=canary%FF&state={state}"),
        format!("code=canary%0D%0A&state={state}"),
        format!("code=canary-code&state={state}&iss=https%3A%2F%2Fevil.example"),
        format!("code=canary-code&state={}", state.to_ascii_lowercase()),
        format!("code=canary-code&state={state}x"),
        "code=canary-code&state=canary-state".to_owned(),
    ] {
        let answer = browser.get(&format!("/oauth/ups/callback?{query}")).await;

        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        for secret in ["canary", &state, &long] {
            assert!(!answer.body.contains(secret), "{query}: {}", answer.body);
        }
        assert!(answer.body.contains("Start again"), "{query}: {}", answer.body);
    }
    assert_eq!(world.exchanges(), exchanges);
    assert!(!world.is_authenticated(&company).await);
}

#[tokio::test]
async fn a_post_to_the_callback_gets_405() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;

    for method in [Method::HEAD, Method::PUT, Method::OPTIONS] {
        let csrf = format!("csrf_token={}", browser.session().unwrap().csrf_token());
        let answer = browser.send(method, &callback, csrf).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers[header::ALLOW], "GET");
    }
    assert_eq!(browser.post(&callback, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    // UPS's form_post, if it ever came, would have no CSRF token; it is the wrong method all the same.
    assert_eq!(browser.send(Method::POST, &callback, String::new()).await.status, StatusCode::METHOD_NOT_ALLOWED);

    assert_eq!(world.exchanges(), 0);
    assert_eq!(browser.get(&callback).await.status, StatusCode::SEE_OTHER, "the consent is still open");
}

#[tokio::test]
async fn an_actor_who_signed_out_meanwhile_signs_in_then_starts_again() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    browser.post("/logout", &[]).await;

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/login?why=start-again");
    let page = browser.get(answer.location()).await.body;
    assert!(page.contains("start again with Authenticate"), "{page}");
    assert_eq!(world.exchanges(), 0);
    assert!(!world.is_authenticated(&company).await);
}

#[tokio::test]
async fn an_actor_who_lost_the_right_meanwhile_gets_403() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    world.directory.withdraw(&company, &world.company_admin.id);

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(world.exchanges(), 0, "nothing was sent to UPS");
    assert!(!world.is_authenticated(&company).await);
}

#[tokio::test]
async fn an_actor_who_lost_the_right_is_refused_by_an_instance_that_did_not_send_the_browser_and_costs_no_earlier_opt_in()
 {
    let world = World::new().await;
    let mut browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    world.authenticate(&browser, &company).await;
    let callback = world.trip(&browser, &company).await;
    let before = world.auth.status(&company).await.unwrap();
    world.directory.withdraw(&company, &world.company_admin.id);
    browser.app = world.instance();

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(world.exchanges(), 1, "only the earlier one");
    assert_eq!(world.auth.status(&company).await.unwrap(), before);
}

#[tokio::test]
async fn html_in_error_description_is_never_shown_as_html() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);

    for error in ["access_denied", "server_error", "made_up"] {
        let state = query_value(&world.depart(&browser, &company).await, "state");
        let description = "%3Cscript%3Ealert(1)%3C/script%3E%3Cb%3Ecanary";
        let answer = browser
            .get(&format!("/oauth/ups/callback?error={error}&error_description={description}&state={state}"))
            .await;

        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{error}");
        assert!(!answer.body.contains("<script"), "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_denial_is_told_as_declined_and_leaves_the_company_as_it_was() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    world.authenticate(&browser, &company).await;
    let state = query_value(&world.depart(&browser, &company).await, "state");

    let answer = browser.get(&format!("/oauth/ups/callback?error=access_denied&state={state}")).await;

    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("declined at UPS.com"), "{}", answer.body);
    assert!(answer.body.contains(&format!("href=\"/companies/{company}\"")), "a way on: {}", answer.body);
    assert!(world.is_authenticated(&company).await);
    assert!(browser.get(&format!("/companies/{company}/history")).await.body.contains("Declined at UPS.com."));
}

#[tokio::test]
async fn a_return_in_another_browser_is_refused_and_the_rightful_one_completes() {
    let world = World::new().await;
    let (browser, other) = (world.company_admin().await, world.company_admin().await);
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    world.depart(&other, &company).await;

    let answer = other.get(&callback).await;

    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("another browser"), "{}", answer.body);
    assert_eq!(browser.get(&callback).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn two_trips_of_one_browser_both_come_back() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let companies = world.companies().await;
    let first = world.trip(&browser, &companies[0]).await;
    let second = world.trip(&browser, &companies[1]).await;

    for callback in [first, second] {
        assert_eq!(browser.get(&callback).await.status, StatusCode::SEE_OTHER);
    }
    for company in &companies[..2] {
        assert!(world.is_authenticated(company).await);
    }
}

#[tokio::test]
async fn a_return_that_comes_late_is_told_to_start_again() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    world.clock().advance(std::time::Duration::from_secs(601));

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("Start again"), "{}", answer.body);
    assert_eq!(world.exchanges(), 0);
}

#[tokio::test]
async fn the_server_survives_a_request_line_of_64_kib() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(company_manager::serve(listener, world.app.clone(), std::future::pending()));

    for length in [17 * 1024, 64 * 1024 - 100, 64 * 1024, 1024 * 1024] {
        let padding = "x".repeat(length - "GET /oauth/ups/callback?code= HTTP/1.1".len());
        let answer = exchange(address, &format!("GET /oauth/ups/callback?code={padding} HTTP/1.1\r\n")).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{length}: {answer:.100}");
        assert!(!answer.contains("xxx"), "{length}");
    }
    let alive = exchange(address, "GET /healthz HTTP/1.1\r\n").await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
}

/// Sends a request and reads until the server closes; a reset is an end like any other.
async fn exchange(address: SocketAddr, request_line: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{request_line}host: 127.0.0.1:3000\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn ups_that_does_not_answer_is_told_and_not_asked_again() {
    use batchsuite_auth::fake_ups::{Answer, Endpoint, Times};
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    world.ups.fault(Endpoint::Token, Answer::status(503), Times::Once);

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.body.contains("UPS did not answer"), "{}", answer.body);
    assert_eq!(browser.get(&callback).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test]
async fn another_client_than_ups_knows_is_told_as_an_operator_s_matter() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    world.ups.block_client();

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.body.contains("operator"), "{}", answer.body);
}

#[tokio::test]
async fn the_trip_leads_to_ups_with_the_registered_address() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);

    let url = world.depart(&browser, &company).await;

    assert_eq!(url.path(), "/security/v1/oauth/authorize");
    assert_eq!(query_value(&url, "redirect_uri"), "http://127.0.0.1:3000/oauth/ups/callback");
    assert_eq!(world.auth.status(&company).await.unwrap().status, Status::Unauthenticated);
    assert!(browser.get(&format!("/companies/{company}")).await.body.contains("Waiting for UPS.com"));
}
