//! Many sign-ins of one client at once.

use std::{net::SocketAddr, sync::Arc, sync::mpsc};

use axum::extract::ConnectInfo;
use http::{Method, Request, StatusCode, header};
use url::form_urlencoded;

use crate::world::{Browser, PASSWORD, World};

async fn browser(world: &World) -> Arc<Browser> {
    let browser = world.browser();
    browser.get("/login").await;
    Arc::new(browser)
}

async fn sign_in(browser: Arc<Browser>, last: u8, name: String, password: &str) -> StatusCode {
    let csrf_token = browser.session().unwrap().csrf_token();
    let fields = [("sign_in_name", &*name), ("password", password), ("csrf_token", &*csrf_token)];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::builder()
        .method(Method::POST)
        .uri("/login")
        .extension(ConnectInfo(SocketAddr::from(([10, 0, 0, last], 4711))))
        .header(header::HOST, "127.0.0.1:3000")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    browser.request(request, form).await.status
}

/// Runs a test on one thread, with one more for passwords.
fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

/// Verifies no password before it is dropped.
struct Standstill {
    _ends_when_dropped: mpsc::Sender<()>,
}

impl Standstill {
    fn begin() -> Self {
        let (_ends_when_dropped, ends) = mpsc::channel();
        tokio::task::spawn_blocking(move || ends.recv());
        Self { _ends_when_dropped }
    }

    /// Ends when all that was asked for has arrived.
    async fn end_after_arrivals(self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn a_flood_of_one_client_turns_nobody_else_away_and_what_it_turned_away_is_no_failed_try() {
    run(flood_of_one_client());
}

async fn flood_of_one_client() {
    let world = World::new().await;
    let (flooding, other) = (browser(&world).await, browser(&world).await);
    // All of them arrive before the first password is verified; the same client's own tries come last.
    let standstill = Standstill::begin();
    let flood: Vec<_> =
        (0..60).map(|number| tokio::spawn(sign_in(flooding.clone(), 1, format!("nobody {number}"), "wrong"))).collect();
    let own: Vec<_> = (0..12).map(|_| tokio::spawn(sign_in(flooding.clone(), 1, "admin".into(), "wrong"))).collect();
    standstill.end_after_arrivals().await;

    assert_eq!(sign_in(other, 2, "company.admin".into(), PASSWORD).await, StatusCode::SEE_OTHER);
    let mut turned_away = 0;
    for answer in own {
        turned_away += u32::from(answer.await.unwrap() == StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(turned_away > 8, "{turned_away} of 12");
    for answer in flood {
        let status = answer.await.unwrap();
        assert!(matches!(status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::SERVICE_UNAVAILABLE), "{status}");
    }
    assert_eq!(sign_in(flooding, 1, "admin".into(), PASSWORD).await, StatusCode::SEE_OTHER);
}

#[test]
fn a_flood_through_the_same_proxy_turns_a_known_browser_not_away() {
    run(flood_through_the_same_proxy());
}

async fn flood_through_the_same_proxy() {
    let world = World::new().await;
    let (flooding, own) = (browser(&world).await, browser(&world).await);
    assert_eq!(sign_in(own.clone(), 1, "company.admin".into(), PASSWORD).await, StatusCode::SEE_OTHER);
    own.cookies.lock().unwrap().remove("session");
    own.get("/login").await;
    let standstill = Standstill::begin();
    let flood: Vec<_> =
        (0..60).map(|number| tokio::spawn(sign_in(flooding.clone(), 1, format!("nobody {number}"), "wrong"))).collect();
    standstill.end_after_arrivals().await;

    assert_eq!(sign_in(own, 1, "company.admin".into(), PASSWORD).await, StatusCode::SEE_OTHER);

    let mut turned_away = 0;
    for answer in flood {
        turned_away += u32::from(answer.await.unwrap() == StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(turned_away > 30, "{turned_away} of 60");
}
