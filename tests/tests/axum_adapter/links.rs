//! A connect link, followed in the browser of a person without an account at the host.

use axum::{
    Router,
    body::Body,
    response::{Html, IntoResponse as _, Response},
};
use batchsuite_auth::{
    ActorId, CompanyId,
    adapters::axum::{Host, Outcome, Permission, Routes, Visitor},
    fake_ups::{Answer, Endpoint, FakeUps, Times},
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{acme, ada};
use http::{
    Request,
    header::{CACHE_CONTROL, REFERRER_POLICY},
    request::Parts,
};
use tower::ServiceExt as _;

use crate::world::World;

#[tokio::test]
async fn a_link_works_once_in_another_browser_where_nobody_is_signed_in() {
    let world = World::new().await;
    let link = world.link("acme").await;
    let colleague = world.browser();

    let page = colleague.get(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("connect &lt;acme&gt; &amp; Sons with UPS.com"), "{}", page.body);
    let departure = colleague.press(&link).await;
    let other = world.browser();
    other.get(&link).await;
    assert_eq!(other.press(&link).await.status, 410);
    let callback = world.come_back(&departure).await;
    let third = world.browser().get(&callback).await;
    assert_eq!(third.status, 401, "not in a third browser");
    assert!(third.body.contains("go on in the browser in which you opened it"), "{}", third.body);
    for _ in 0..2 {
        let done = colleague.get(&callback).await;
        assert_eq!(done.status, 200);
        assert!(done.body.contains("&lt;acme&gt; &amp; Sons is authenticated."), "{}", done.body);
        assert!(done.body.contains("You can close this window."), "{}", done.body);
    }

    assert!(world.is_authenticated("acme").await);
    assert_eq!(world.exchanges(), 1);
    assert_eq!(colleague.get(&link).await.status, 410);
}

#[tokio::test]
async fn the_button_can_be_pressed_twice_and_after_going_back_by_who_opened_the_page() {
    let world = World::new().await;
    let link = world.link("acme").await;
    let colleague = world.browser();
    colleague.get(&link).await;

    let presses = tokio::join!(colleague.press(&link), colleague.press(&link));
    assert_eq!(colleague.get(&link).await.status, 200, "the colleague goes back");
    let again = colleague.press(&link).await;
    assert_eq!((presses.0.location(), presses.1.location()), (again.location(), again.location()));

    let callback = world.come_back(&again).await;
    assert_eq!(colleague.get(&callback).await.status, 200);
    assert_eq!(colleague.press(&link).await.status, 410);
}

#[tokio::test]
async fn a_scanner_that_opens_a_link_uses_nothing_up() {
    let world = World::new().await;
    let link = world.link("acme").await;
    for (method, headers) in [
        ("GET", &[][..]),
        ("GET", &[("sec-purpose", "prefetch")]),
        ("HEAD", &[]),
        ("GET", &[("user-agent", "scanner")]),
        ("OPTIONS", &[]),
        ("PUT", &[]),
    ] {
        let scanned = world.browser().send(method, &link, headers).await;
        assert!(matches!(scanned.status, 200 | 405), "{method}: {scanned:?}");
    }

    assert_eq!(world.browser().press(&link).await.status, 303);
}

#[tokio::test]
async fn of_many_who_press_at_once_one_goes_to_ups() {
    let world = World::new().await;
    let link = world.link("acme").await;
    let presses = (0..20).map(|_| {
        let (browser, link) = (world.browser(), link.clone());
        tokio::spawn(async move { browser.press(&link).await.status })
    });

    let mut statuses = Vec::new();
    for press in presses.collect::<Vec<_>>() {
        statuses.push(press.await.unwrap());
    }

    statuses.sort_unstable();
    assert_eq!(statuses, [&[303][..], &[410; 19]].concat());
}

#[tokio::test]
async fn a_link_is_followed_beside_a_trip_of_the_person_who_is_signed_in_there() {
    let world = World::new().await;
    let browser = world.ada();
    let own = world.trip(&browser, "other").await;
    let of_link = world.come_back(&browser.press(&world.link("acme").await).await).await;

    let done = browser.get(&of_link).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(browser.get(&own).await.location(), "/companies/other");
    assert!(world.is_authenticated("acme").await && world.is_authenticated("other").await);
}

#[tokio::test]
async fn two_links_in_one_browser_both_complete_and_one_return_is_no_sign_in() {
    let world = World::new().await;
    let colleague = world.browser();
    let first = world.come_back(&colleague.press(&world.link("acme").await).await).await;
    let second = world.come_back(&colleague.press(&world.link("other").await).await).await;
    // Ada has begun a trip in that browser, too, and signed out.
    colleague.keep("who", "ada");
    let adas = world.trip(&colleague, "other").await;
    colleague.cookies.lock().unwrap().remove("who");

    for callback in [&second, &first] {
        let done = colleague.get(callback).await;
        assert_eq!(done.status, 200, "{done:?}");
    }
    assert_eq!(colleague.get(&adas).await.status, 401);
    assert_eq!(world.exchanges(), 2);
}

#[tokio::test]
async fn a_link_s_trip_that_fails_asks_for_a_new_link() {
    let world = World::new().await;
    let colleague = world.browser();
    let callback = world.come_back(&colleague.press(&world.link("acme").await).await).await;
    world.ups.fault(Endpoint::Token, Answer::status(503), Times::Once);

    for status in [502, 400] {
        let refused = colleague.get(&callback).await;
        assert_eq!(refused.status, status);
        assert!(refused.body.contains("Ask your colleague for a new link."), "{}", refused.body);
        assert!(!refused.body.contains("href"), "no way into the application: {}", refused.body);
    }
    assert_eq!(world.exchanges(), 1);
}

/// The colleague has no permission of their own that could be withdrawn.
#[tokio::test]
async fn a_link_s_trip_that_cannot_reach_ups_asks_for_a_new_link() {
    let world = World::new().await;
    let colleague = world.browser();
    let callback = world.come_back(&colleague.press(&world.link("acme").await).await).await;
    world.ups.go_offline().await;

    let refused = colleague.get(&callback).await;

    assert_eq!(refused.status, 503);
    assert!(
        refused.body.contains("ask your colleague for a new link") && !refused.body.contains("Start again"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_removal_during_a_trip_is_not_said_to_have_changed_nothing() {
    let world = World::new().await;
    let colleague = world.browser();
    let callback = world.come_back(&colleague.press(&world.link("acme").await).await).await;
    world.auth.remove_auth(&acme(), &ada()).await.unwrap();

    let refused = colleague.get(&callback).await;

    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("was removed") && !refused.body.contains("is as it was"), "{}", refused.body);
}

#[tokio::test]
async fn a_right_that_was_withdrawn_is_told_as_that_of_the_link_s_maker() {
    let world = World::new().await;
    let colleague = world.browser();
    let callback = world.come_back(&colleague.press(&world.link("acme").await).await).await;
    world.facts.administrators.lock().unwrap().clear();

    let refused = colleague.get(&callback).await;

    assert_eq!((refused.status, world.exchanges()), (403, 0));
    assert!(refused.body.contains("The person who made this link may not authenticate the company any more."));
    assert!(!refused.body.contains("You may not"), "{}", refused.body);
}

#[tokio::test]
async fn what_is_no_link_leads_nowhere() {
    let world = World::new().await;
    let link = world.link("acme").await;
    let almost = format!("{}x", &link[..link.len() - 1]);
    let long = format!("/connect/{}", "x".repeat(9000));
    for path in ["/connect/x", "/connect/%FF", "/connect/a%00b", &almost, &long] {
        for page in [world.browser().get(path).await, world.browser().press(path).await] {
            assert_eq!(page.status, 404, "{path}");
            assert!(!page.body.contains(&almost[9..]), "{}", page.body);
        }
    }
}

/// A host with pages of its own.
struct OwnPages;

impl Host for OwnPages {
    async fn visitor(&self, _: &mut Parts) -> Visitor {
        Visitor::SignedOut
    }

    async fn may_authenticate(&self, _: &ActorId, _: &CompanyId) -> Permission {
        Permission::Granted
    }

    async fn answer(&self, _: &Parts, _: Outcome) -> Response {
        let headers = [(CACHE_CONTROL, "max-age=60"), (REFERRER_POLICY, "unsafe-url")];
        (headers, Html("the host's own page")).into_response()
    }
}

/// No other host and no cache gets the page's URL, and its form states its origin.
#[tokio::test]
async fn a_page_of_the_host_s_own_for_a_link_gives_its_address_to_nobody() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let link = auth.connect_link(&acme(), &ada()).await.unwrap();
    let app: Router = Routes::new(auth, OwnPages).connect_links("/link/{company}", "/connect").router();

    for _ in 0..2 {
        let request = Request::get(format!("/connect/{}", link.token.expose_secret())).body(Body::empty()).unwrap();
        let page = app.clone().oneshot(request).await.unwrap();

        let policies: Vec<_> = page.headers().get_all(REFERRER_POLICY).iter().collect();
        assert_eq!(policies, ["strict-origin"]);
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
    }
}
