//! A trip from the press of the button to the company's page.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use batchsuite_auth::fake_ups::{Endpoint, Fault, Times};
use batchsuite_tests::{company, eventually};

use crate::world::World;

#[tokio::test]
async fn a_person_presses_authenticate_and_comes_back_to_the_company_s_page() {
    let world = World::new().await;
    let browser = world.ada();
    browser.get("/companies/acme").await;

    let departure = browser.press("/companies/acme/authenticate").await;
    assert_eq!(departure.status, 303);
    assert_eq!(departure.header("cache-control"), "no-store");
    assert_eq!(departure.header("referrer-policy"), "no-referrer");
    let callback = world.come_back(&departure).await;
    let done = browser.get(&callback).await;

    assert_eq!((done.status, done.location()), (303, "/companies/acme"));
    assert_eq!(done.header("cache-control"), "no-store");
    assert!(world.is_authenticated("acme").await);
}

#[tokio::test]
async fn without_a_page_of_the_company_s_a_plain_one_says_that_it_is_authenticated() {
    let world = World::new().await;
    world.facts.has_pages.store(false, Relaxed);
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;

    for _ in 0..2 {
        let done = browser.get(&callback).await;
        assert_eq!(done.status, 200);
        assert!(done.body.contains("&lt;acme&gt; &amp; Sons is authenticated."), "{}", done.body);
        assert!(done.body.contains("Refresh expires: 2026-03-01 23:59:5"), "{}", done.body);
    }
}

#[tokio::test]
async fn two_tabs_that_are_pressed_at_once_before_there_is_a_cookie_both_complete() {
    let world = World::new().await;
    let (first, second) = (world.ada(), world.ada());
    let departures =
        tokio::join!(first.press("/companies/acme/authenticate"), second.press("/companies/other/authenticate"));
    // Both are tabs of one browser: cookies of the later answer are added to those of the earlier one.
    first.cookies.lock().unwrap().extend(second.cookies.lock().unwrap().clone());

    for (departure, company) in [(departures.1, "other"), (departures.0, "acme")] {
        let done = first.get(&world.come_back(&departure).await).await;
        assert_eq!(done.location(), format!("/companies/{company}"), "{done:?}");
        assert!(world.is_authenticated(company).await);
    }
}

/// On a second press a browser drops the first response. It may or may not have stored that response's cookie.
#[tokio::test]
async fn after_a_double_press_both_trips_complete() {
    for (has_cookie, is_first_read) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new().await;
        let browser = world.ada();
        if has_cookie {
            browser.get("/companies/acme").await;
        }
        let press = "/companies/acme/authenticate";
        let first = match is_first_read {
            true => Some(browser.press(press).await),
            false => {
                drop(browser.begin("POST", press, &[("sec-fetch-site", "same-origin")]).await);
                None
            }
        };
        let second = browser.press(press).await;

        let done = browser.get(&world.come_back(&second).await).await;
        assert_eq!(done.location(), "/companies/acme", "{has_cookie} {is_first_read}: {done:?}");
        assert!(world.is_authenticated("acme").await);
        if let Some(first) = first {
            assert_ne!(first.location(), second.location(), "two trips");
            let done = browser.get(&world.come_back(&first).await).await;
            assert_eq!(done.location(), "/companies/acme", "{has_cookie}: {done:?}");
        }
    }
}

#[tokio::test]
async fn with_the_cookie_of_the_page_two_tabs_share_one_secret() {
    let world = World::new().await;
    let browser = world.ada();
    browser.get("/companies/acme").await;
    let before = browser.cookies.lock().unwrap().clone();
    assert_eq!(before["ups-trip"].len(), 43);

    let callbacks = [world.trip(&browser, "acme").await, world.trip(&browser, "other").await];
    assert_eq!(*browser.cookies.lock().unwrap(), before);

    for callback in callbacks {
        assert_eq!(browser.get(&callback).await.status, 303);
    }
}

#[tokio::test]
async fn another_browser_is_refused_and_the_rightful_one_still_completes() {
    let world = World::new().await;
    let (browser, other) = (world.ada(), world.ada());
    let callback = world.trip(&browser, "acme").await;

    let refused = other.get(&callback).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("refuses cookies"), "{}", refused.body);
    world.trip(&other, "other").await;
    let refused = other.get(&callback).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("another browser"), "{}", refused.body);
    assert_eq!(world.exchanges(), 0);

    assert_eq!(browser.get(&callback).await.location(), "/companies/acme");
}

#[tokio::test]
async fn other_applications_cookies_hide_nothing_whatever_bytes_they_hold() {
    for others in
        [&b"town=Z\xfcrich; "[..], b"\xff=\xfe; ;;=; ", b"ups-trip=\xf0\x9f\x8d\xaa; ups-trip=theirs; ups-link-1=a.b; "]
    {
        let world = World::new().await;
        let mut browser = world.ada();
        browser.others = others;
        browser.get("/companies/acme").await;
        let callback = world.trip(&browser, "acme").await;

        let done = browser.get(&callback).await;

        assert_eq!(done.location(), "/companies/acme", "{done:?}");
    }
}

#[tokio::test]
async fn a_prefetch_a_prerender_a_head_and_a_post_consume_nothing() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;

    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ] {
        let answer = browser.send("GET", &callback, &[(name, value)]).await;
        assert_eq!((answer.status, answer.header("cache-control")), (503, "no-store"), "{name}: {value}");
    }
    for method in ["HEAD", "POST", "PUT", "OPTIONS"] {
        let answer = browser.send(method, &callback, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET"), "{method}");
    }
    assert_eq!(world.exchanges(), 0);

    assert_eq!(browser.get(&callback).await.location(), "/companies/acme");
}

#[tokio::test]
async fn a_reload_while_ups_is_slow_is_led_to_the_company_and_sends_nothing() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;
    world.ups.fault(Endpoint::Token, Fault::Delay { milliseconds: 500 }, Times::Once);

    // The browser abandons the first request for the second.
    let first = browser.begin("GET", &callback, &[]).await;
    eventually("the code is at UPS", async || world.exchanges() == 1).await;
    drop(first);
    let reloads = tokio::join!(browser.get(&callback), browser.get(&callback));

    for done in [reloads.0, reloads.1, browser.get(&callback).await] {
        assert_eq!(done.location(), "/companies/acme", "{done:?}");
    }
    assert!(world.is_authenticated("acme").await);
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test]
async fn a_browser_that_goes_away_for_good_loses_nothing() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;
    world.ups.fault(Endpoint::Token, Fault::Delay { milliseconds: 200 }, Times::Once);

    let request = browser.begin("GET", &callback, &[]).await;
    eventually("the code is at UPS", async || world.exchanges() == 1).await;
    drop(request);

    eventually("the company is authenticated", async || world.is_authenticated("acme").await).await;
}

#[tokio::test]
async fn the_right_is_asked_at_the_press_and_before_anything_is_sent() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;
    let revoked = std::mem::take(&mut *world.facts.administrators.lock().unwrap());

    assert_eq!(browser.press("/companies/acme/authenticate").await.status, 403);
    assert_eq!(browser.get(&callback).await.status, 403);
    assert_eq!(world.exchanges(), 0);

    *world.facts.administrators.lock().unwrap() = revoked;
    assert_eq!(browser.get(&callback).await.status, 303, "the consent is still open");
}

#[tokio::test]
async fn what_a_person_must_not_know_of_and_what_cannot_be_a_company_are_one_and_the_same() {
    let world = World::new().await;
    let browser = world.ada();
    let long = "x".repeat(200);
    let pages = [
        browser.press("/companies/hidden/authenticate").await,
        browser.press("/companies/%FF/authenticate").await,
        browser.press("/companies/a%0Ab/authenticate").await,
        browser.press(&format!("/companies/{long}/authenticate")).await,
    ];

    for page in &pages {
        assert_eq!((page.status, &page.body), (404, &pages[0].body));
    }
}

#[tokio::test]
async fn somebody_who_is_signed_out_is_told_to_sign_in_and_can_still_complete() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;
    browser.cookies.lock().unwrap().remove("who");

    assert_eq!(browser.press("/companies/acme/authenticate").await.status, 401);
    let told = browser.get(&callback).await;
    assert_eq!(told.status, 401);
    assert!(told.body.contains("Sign in first."), "{}", told.body);
    assert_eq!(world.exchanges(), 0);

    browser.keep("who", "ada");
    assert_eq!(browser.get(&callback).await.status, 303);
}

#[tokio::test]
async fn a_host_that_is_away_refuses_for_a_moment_and_uses_nothing_up() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;
    let link = world.link("acme").await;
    for is_away in [&world.facts.is_away, &world.facts.are_rights_away] {
        is_away.store(true, Relaxed);
        for away in [
            browser.get(&callback).await,
            browser.press("/companies/acme/authenticate").await,
            browser.get(&link).await,
            browser.press(&link).await,
        ] {
            assert_eq!((away.status, away.header("retry-after")), (503, "1"), "{away:?}");
        }
        is_away.store(false, Relaxed);
    }

    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(browser.press(&link).await.status, 303);
}

/// The code is spent by then, so the same return cannot succeed later.
#[tokio::test]
async fn a_host_that_is_away_after_the_exchange_says_that_the_person_must_start_again() {
    for is_link in [false, true] {
        let world = World::new().await;
        let browser = world.ada();
        let callback = match is_link {
            true => world.come_back(&browser.press(&world.link("acme").await).await).await,
            false => world.trip(&browser, "acme").await,
        };
        world.ups.fault(Endpoint::Token, Fault::Delay { milliseconds: 1000 }, Times::Once);
        let away = async {
            eventually("the code is at UPS", async || world.exchanges() == 1).await;
            world.facts.are_rights_away.store(true, Relaxed);
        };

        let (refused, ()) = tokio::join!(browser.get(&callback), away);

        assert_eq!((refused.status, refused.header("retry-after")), (503, ""), "{refused:?}");
        let way_on = if is_link { "Ask your colleague for a new link." } else { "Start again with Authenticate." };
        assert!(refused.body.contains(way_on), "{}", refused.body);
        assert!(!world.is_authenticated("acme").await);
        world.facts.are_rights_away.store(false, Relaxed);
        let again = browser.get(&callback).await;
        assert!(again.status == 400 && again.body.contains(way_on), "{again:?}");
    }
}

#[tokio::test]
async fn a_return_that_comes_late_leads_back_to_the_company() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;
    world.ups.clock().advance(Duration::from_secs(601));

    for who in [browser, world.ada()] {
        let is_hers = !who.cookies.lock().unwrap().keys().all(|name| name == "who");
        let refused = who.get(&callback).await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.body.contains("href=\"/companies/acme\""), is_hers, "{}", refused.body);
    }
}

#[tokio::test]
async fn another_person_in_that_browser_is_led_back_to_no_company_that_is_hidden_from_them() {
    let world = World::new().await;
    let browser = world.ada();
    let callback = world.trip(&browser, "acme").await;

    for (name, is_shown) in [("bob", true), ("a-stranger", false)] {
        browser.keep("who", name);
        let refused = browser.get(&callback).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert_eq!(refused.body.contains("/companies/acme"), is_shown, "{name}: {}", refused.body);
    }
    assert_eq!(world.exchanges(), 0);
}

/// No part of the id is read as a path, a query or a tag.
#[tokio::test]
async fn a_company_may_have_any_text_for_an_id() {
    for id in [
        "a/b",
        "//evil.example",
        "a b%2F",
        "?x=1#y",
        "<script>",
        "Z\u{fc}rich \u{1f4e6}",
        "...",
        "a\u{202e}b",
        "{company}",
    ] {
        let world = World::new().await;
        world.facts.administrators.lock().unwrap().insert(("ada".to_owned(), id.to_owned()));
        let page = format!("/companies/{}", company(id).path_segment());
        let browser = world.ada();

        let departure = browser.press(&format!("{page}/authenticate")).await;
        let callback = world.come_back(&departure).await;
        let refused = browser.get(&format!("{callback}&error=x")).await;
        assert!(refused.body.contains(&format!("href=\"{page}\"")) && !refused.body.contains("<script"), "{refused:?}");
        let done = browser.get(&world.come_back(&browser.press(&format!("{page}/authenticate")).await).await).await;

        assert_eq!(done.location(), page, "{id}");
        assert!(world.is_authenticated(id).await, "{id}");
    }
}

#[tokio::test]
async fn a_hundred_kilobytes_of_cookies_and_a_quoted_one_hide_nothing() {
    let world = World::new().await;
    let mut browser = world.ada();
    let quoted = format!("ups-trip=\"{}\"; ", "A".repeat(43));
    browser.others = format!("{quoted}{}", "other=x; ups-trip-1=short; ".repeat(4_000)).leak().as_bytes();
    let callback = world.trip(&browser, "acme").await;

    let done = browser.get(&callback).await;

    assert_eq!(done.location(), "/companies/acme", "{done:?}");
}
