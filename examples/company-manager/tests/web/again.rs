//! Returns from UPS.com that come twice, and those that nobody asked for.

use std::time::Duration;

use batchsuite_auth::fake_ups::{Answer, Endpoint, Fault, Times};
use http::{Method, Request, StatusCode, header};
use tokio::time::timeout;

use crate::world::World;

#[tokio::test]
async fn a_return_that_comes_twice_leads_to_the_company_and_sends_nothing() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    browser.get(&callback).await;

    for _ in 0..3 {
        let answer = browser.get(&callback).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, &*format!("/companies/{company}")));
    }
    assert!(browser.get(&format!("/companies/{company}")).await.body.contains("is authenticated"));
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test]
async fn a_return_that_comes_twice_is_refused_to_anybody_else_and_the_company_stays_authenticated() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    browser.get(&callback).await;

    let elsewhere = world.company_admin().await.get(&callback).await;
    assert_eq!(elsewhere.status, StatusCode::BAD_REQUEST, "another browser: {}", elsewhere.body);
    let other = world.admin_user().await;
    other.cookies.lock().unwrap().insert("ups-trip".into(), browser.cookies.lock().unwrap()["ups-trip"].clone());
    let other = other.get(&callback).await;
    assert!(matches!(other.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN), "another person: {}", other.body);

    assert!(world.is_authenticated(&company).await);
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_during_a_slow_exchange_waits_for_it_and_confirms_it() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    world.ups.fault(Endpoint::Token, Fault::Delay { milliseconds: 5000 }, Times::Once);

    // A browser that reloads gives up its first request.
    assert!(timeout(Duration::from_secs(1), browser.get(&callback)).await.is_err());
    let (answer, beside) = tokio::join!(browser.get(&callback), browser.get(&callback));

    for answer in [answer, beside] {
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, &*format!("/companies/{company}")));
    }
    assert!(browser.get(&format!("/companies/{company}")).await.body.contains("is authenticated"));
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test]
async fn a_return_that_comes_twice_after_a_failure_is_refused() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    world.ups.fault(Endpoint::Token, Answer::status(503), Times::Once);
    assert_eq!(browser.get(&callback).await.status, StatusCode::BAD_GATEWAY);

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("Start again"), "{}", answer.body);
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test]
async fn a_prefetch_a_prerender_and_a_head_consume_nothing() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    let fetch = async |path: &str, name: &str, value: &str| {
        let request = Request::builder().uri(path).header(header::HOST, "127.0.0.1:3000").header(name, value);
        browser.request(request, String::new()).await
    };
    let purposes = [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ];

    for (name, value) in purposes {
        let answer = fetch(&callback, name, value).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{name}: {value}");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
    assert_eq!(browser.send(Method::HEAD, &callback, String::new()).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.exchanges(), 0);
    let answer = browser.get(&callback).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "the consent is still open: {}", answer.body);

    // Nor the message that the person has not seen yet.
    for (name, value) in purposes {
        fetch(answer.location(), name, value).await;
    }
    browser.send(Method::HEAD, answer.location(), String::new()).await;
    assert!(browser.get(answer.location()).await.body.contains("is authenticated"));
}
