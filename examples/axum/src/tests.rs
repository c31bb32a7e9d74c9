//! The program's own test: a browser's way, without a socket.

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use http::{Request, header};
use tower::ServiceExt as _;

use super::*;

async fn send(app: &Router, request: http::request::Builder) -> Response {
    app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("a response")
}

async fn body(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a page");
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn text<'a>(response: &'a Response, name: &header::HeaderName) -> &'a str {
    response.headers()[name].to_str().expect("text")
}

#[tokio::test]
async fn acme_authenticates() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().expect("an authenticator");
    let app = app(&auth);

    let page = send(&app, Request::get("/companies/acme")).await;
    let cookie = text(&page, &header::SET_COOKIE).split(';').next().expect("a cookie").to_owned();
    assert!(body(page).await.contains("Authenticate"));

    let press = Request::post("/companies/acme/authenticate").header("sec-fetch-site", "same-origin");
    let departure = send(&app, press.header(header::COOKIE, &cookie)).await;
    let query = ups.consent(&text(&departure, &header::LOCATION).parse().expect("a URL"), FakeUps::USER).await;
    let back = format!("{}?{query}", auth.redirect_uri().path());
    let done = send(&app, Request::get(back).header(header::COOKIE, &cookie)).await;

    assert_eq!(text(&done, &header::LOCATION), "/companies/acme");
    assert_eq!(body(send(&app, Request::get("/companies/acme")).await).await, "acme is authenticated");
}
