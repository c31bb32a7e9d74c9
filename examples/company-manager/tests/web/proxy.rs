//! Behind a proxy: redirects that would go around in a circle, and whose failed sign-ins are whose.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use company_manager::Proxies;
use http::{Method, Request, StatusCode, header};
use url::form_urlencoded;

use crate::world::{Answer, Browser, PASSWORD, World};

#[tokio::test]
async fn a_redirect_that_leads_back_here_is_made_once_and_says_then_what_to_set() {
    let world = World::at("https://batch.example.com/").await;
    let browser = world.browser();
    for (host, forwarded, words) in [
        ("batch.example.com", Some("http"), "X-Forwarded-Proto: https"),
        ("127.0.0.1:3000", Some("https"), "proxy_set_header Host"),
        ("127.0.0.1:3000", None, "proxy_set_header Host"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let send = async || {
                let mut request = Request::builder().method(method.clone()).uri("/companies?after=1");
                request = request.header(header::HOST, host).header(header::USER_AGENT, "test");
                if let Some(scheme) = forwarded {
                    request = request.header("x-forwarded-proto", scheme);
                }
                browser.request(request, String::new()).await
            };
            assert_eq!(send().await.location(), "https://batch.example.com/companies?after=1");

            // The proxy says the same of the request to that address.
            for _ in 0..2 {
                let answer = send().await;
                assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{host}");
                assert!(!answer.headers.contains_key(header::LOCATION));
                assert!(method == Method::HEAD || answer.body.contains(words), "{}", answer.body);
            }
            world.clock().advance(std::time::Duration::from_secs(60));
            assert_eq!(send().await.status, StatusCode::FOUND, "somebody who comes by the old address a minute later");
            world.clock().advance(std::time::Duration::from_secs(60));
        }
    }
}

#[tokio::test]
async fn a_form_that_came_over_http_is_told_what_to_set() {
    let world = World::at("https://batch.example.com/").await;
    let request = Request::builder().method(Method::POST).uri("/login").header(header::HOST, "batch.example.com");

    let answer = world.browser().request(request.header("x-forwarded-proto", "http"), String::new()).await;

    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(answer.body.contains("X-Forwarded-Proto: https"), "{}", answer.body);
}

/// Tries to sign in through the one proxy there is.
async fn sign_in(browser: &Browser, forwarded_for: &str, password: &str) -> Answer {
    let csrf_token = browser.session().unwrap().csrf_token();
    let fields = [("sign_in_name", "admin"), ("password", password), ("csrf_token", &csrf_token)];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::builder()
        .method(Method::POST)
        .uri("/login")
        .extension(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 4711))))
        .header(header::HOST, "127.0.0.1:3000")
        .header("x-forwarded-for", forwarded_for)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    browser.request(request, form).await
}

async fn browser(world: &World) -> Browser {
    let browser = world.browser();
    browser.get("/login").await;
    browser
}

#[tokio::test]
async fn behind_a_proxy_that_is_counted_nobody_locks_another_out() {
    let mut world = World::new().await;
    world.app = world.instance_behind(Proxies::new(1).unwrap());
    let (guessing, honest) = (browser(&world).await, browser(&world).await);

    let mut last = StatusCode::OK;
    for number in 0..6 {
        // What the client itself sends is left of what the proxy appends.
        last = sign_in(&guessing, &format!("192.0.2.{number}, 203.0.113.7"), "wrong").await.status;
    }

    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS, "made up addresses do not help");
    assert_eq!(sign_in(&honest, "203.0.113.8", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn without_the_setting_the_header_is_not_believed_and_a_browser_that_is_known_is_not_locked_out() {
    let world = World::new().await;
    let (guessing, known, new) = (browser(&world).await, browser(&world).await, browser(&world).await);
    assert_eq!(sign_in(&known, "203.0.113.8", PASSWORD).await.status, StatusCode::SEE_OTHER);
    known.post("/logout", &[]).await;
    known.get("/login").await;

    let mut last = StatusCode::OK;
    for number in 0..6 {
        last = sign_in(&guessing, &format!("192.0.2.{number}"), "wrong").await.status;
    }

    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(sign_in(&new, "203.0.113.9", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(sign_in(&known, "203.0.113.8", PASSWORD).await.status, StatusCode::SEE_OTHER);
}
