//! Requests that another site makes a browser send.

use axum::Router;
use batchsuite_auth::{
    ActorId, CompanyId,
    adapters::axum::{Host, Permission, Routes, Visitor, router},
    fake_ups::FakeUps,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::ada;
use http::{Request, StatusCode, request::Parts};
use tower::ServiceExt;

use crate::world::World;

#[tokio::test]
async fn a_form_of_another_site_begins_no_trip_makes_no_link_and_follows_none() {
    let world = World::new().await;
    let browser = world.ada();
    let link = world.link("other").await;
    let own = format!("http://{}", world.address);
    let other_port = "http://127.0.0.1:1";

    for path in ["/companies/acme/authenticate", "/companies/acme/connect-link", &link] {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site"), ("origin", &own)],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", other_port)],
        ] {
            let refused = browser.send("POST", path, headers).await;
            assert_eq!(refused.status, 403, "{path} {headers:?}");
            assert!(refused.body.contains("does not come from a page of this application"), "{}", refused.body);
            assert_eq!(refused.set_cookies().count(), 0);
        }
        let begun = browser.send("POST", path, &[("origin", &own)]).await;
        assert!(matches!(begun.status, 200 | 303), "{path}: {begun:?}");
    }
    assert_eq!(browser.send("GET", "/companies/acme/authenticate", &[]).await.status, 405);
}

struct Anybody;

impl Host for Anybody {
    async fn visitor(&self, _: &mut Parts) -> Visitor {
        Visitor::Actor(ada())
    }

    async fn may_authenticate(&self, _: &ActorId, _: &CompanyId) -> Permission {
        Permission::Granted
    }
}

#[tokio::test]
async fn a_host_with_tokens_of_its_own_can_say_so_but_a_link_is_followed_from_its_page_alone() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let usual: Router = router(auth.clone(), Anybody);
    let checked: Router = Routes::new(auth.clone(), Anybody)
        .start("/start/{company}")
        .connect_links("/link/{company}", "/follow/")
        .csrf_checked_by_host()
        .router();
    let token = auth.connect_link(&batchsuite_tests::acme(), &ada()).await.unwrap().token;
    let follow = format!("/follow/{}", token.expose_secret());

    for (app, path, status) in [
        (&usual, "/companies/acme/authenticate", StatusCode::FORBIDDEN),
        (&usual, &follow, StatusCode::NOT_FOUND),
        (&checked, "/start/acme", StatusCode::SEE_OTHER),
        (&checked, "/link/acme", StatusCode::OK),
        (&checked, &follow, StatusCode::FORBIDDEN),
        (&checked, "/companies/acme/authenticate", StatusCode::NOT_FOUND),
    ] {
        let request = Request::post(path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{path}");
    }
}

/// A log of the response's headers shows `[REDACTED]`, and HTTP/2 keeps it out of its tables (RFC 7541 §7.1.3).
#[tokio::test]
async fn the_address_of_ups_with_its_state_is_marked_sensitive() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let app: Router = router(auth, Anybody);

    let request = Request::post("/companies/acme/authenticate").header("sec-fetch-site", "same-origin");
    let departure = app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();

    let location = &departure.headers()[http::header::LOCATION];
    assert!(location.to_str().unwrap().contains("state=") && location.is_sensitive());
}

/// The path is registered at UPS literally, so no character of it is a wildcard.
#[tokio::test]
async fn the_path_of_the_redirect_uri_is_found_as_it_is_written_alone() {
    for path in ["/oauth/:x/*y", "/{oauth}/callback", "/r%C3%BCck/a%20b", "/a//b/", "/"] {
        let ups = FakeUps::builder().redirect_uri(format!("http://127.0.0.1:3000{path}")).start().await;
        let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
        let written = auth.redirect_uri().path().to_owned();
        let app: Router = router(auth, Anybody);

        for (path, status) in [(&*written, StatusCode::BAD_REQUEST), ("/oauth/1/2", StatusCode::NOT_FOUND)] {
            let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
            assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{written}: {path}");
        }
    }
}

#[test]
#[should_panic(expected = "must have {company} in it")]
fn a_path_without_its_company_is_told_at_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let ups = FakeUps::start().await;
        let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
        let _: Router = Routes::new(auth, Anybody).start("/authenticate").router();
    });
}
