//! The responses that give the browser its secret before the first press.

use axum::{Router, body::Body, middleware::from_fn_with_state, response::Response, routing::get};
use batchsuite_auth::{adapters::axum::trip_cookie, fake_ups::FakeUps};
use batchsuite_store::MemoryStore;
use http::{Method, Request, StatusCode, header};
use tower::ServiceExt;

async fn answer(response: http::response::Builder, request: http::request::Builder) -> Response {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let response = response.body(()).unwrap();
    let page = async move || Response::from_parts(response.into_parts().0, Body::from("page"));
    let app = Router::new().route("/", get(page).post(async || "posted")).layer(from_fn_with_state(auth, trip_cookie));
    app.oneshot(request.uri("/").body(Body::empty()).unwrap()).await.unwrap()
}

fn html() -> http::response::Builder {
    Response::builder().header(header::CONTENT_TYPE, "text/html; charset=utf-8")
}

#[tokio::test]
async fn a_page_that_no_shared_cache_keeps_gives_the_browser_its_secret() {
    for page in [html(), html().header(header::CACHE_CONTROL, "private, max-age=60")] {
        let answered = answer(page, Request::get("/")).await;

        let cookie = &answered.headers()[header::SET_COOKIE];
        assert!(cookie.is_sensitive());
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"), "{cookie}");
        assert!(answered.headers().contains_key(header::CACHE_CONTROL));
    }
    let unsaid = answer(html(), Request::get("/")).await;
    assert_eq!(unsaid.headers()[header::CACHE_CONTROL], "no-store");
}

/// With any other `Cache-Control`, a shared cache may keep the response with its `Set-Cookie` (RFC 9111 §3 and §7.3) and
/// give two browsers one secret.
#[tokio::test]
async fn a_page_that_a_shared_cache_might_keep_becomes_private() {
    for (said, expected) in [
        ("max-age=60", &["max-age=60", "private"][..]),
        ("no-cache", &["no-cache", "private"]),
        (
            "no-cache, must-revalidate, private=\"x-name\"",
            &["no-cache, must-revalidate, private=\"x-name\"", "private"],
        ),
        ("x-no-store, unprivate", &["x-no-store, unprivate", "private"]),
        ("max-age=60,PRIVATE", &["max-age=60,PRIVATE"]),
        ("No-Store", &["No-Store"]),
    ] {
        let answered = answer(html().header(header::CACHE_CONTROL, said), Request::get("/")).await;

        assert!(answered.headers().contains_key(header::SET_COOKIE), "{said}");
        let saying: Vec<_> = answered.headers().get_all(header::CACHE_CONTROL).iter().collect();
        assert_eq!(saying, expected, "{said}");
    }
}

#[tokio::test]
async fn anything_else_does_not() {
    let known = "ups-trip=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (what, page, request) in [
        ("a public page", html().header(header::CACHE_CONTROL, "Public, max-age=60"), Request::get("/")),
        ("a page of a shared cache", html().header(header::CACHE_CONTROL, "s-maxage=60"), Request::get("/")),
        ("a page of a CDN", html().header("CDN-Cache-Control", "max-age=60"), Request::get("/")),
        ("a page of a surrogate", html().header("Surrogate-Control", "max-age=60"), Request::get("/")),
        ("no page", Response::builder().header(header::CONTENT_TYPE, "application/json"), Request::get("/")),
        ("no type", Response::builder(), Request::get("/")),
        ("a refusal", html().status(StatusCode::FORBIDDEN), Request::get("/")),
        ("a redirect", html().status(StatusCode::SEE_OTHER), Request::get("/")),
        ("a head", html(), Request::builder().method(Method::HEAD)),
        ("a form", html(), Request::post("/")),
        ("a browser that has one", html(), Request::get("/").header(header::COOKIE, known)),
    ] {
        let answered = answer(page, request).await;

        assert!(!answered.headers().contains_key(header::SET_COOKIE), "{what}");
    }
}
