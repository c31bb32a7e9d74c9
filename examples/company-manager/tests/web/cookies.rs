//! Cookies: those of others on the same host, and the one that binds a trip to its browser.

use batchsuite_auth::BrowserSecret;
use http::{StatusCode, header};

use crate::world::World;

#[tokio::test]
async fn cookies_of_other_applications_disturb_nothing_whatever_bytes_they_hold() {
    let world = World::new().await;
    let company = world.companies().await.remove(0);
    let garbage: [&[u8]; 5] = [
        b"town=Z\xfcrich",
        b"town=Z\xc3\xbcrich; \xff=\xfe; ;;=",
        b"session=theirs; ups-trip=theirs",
        b"session=; ups-trip=\xf0\x9f\x8d\xaa",
        // Of our very form, and first: of another path, say.
        b"session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; ups-trip=BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
    ];
    for others in garbage {
        let mut browser = world.company_admin().await;
        browser.other_cookies = vec![b"a=b", others];

        assert_eq!(browser.get("/companies").await.status, StatusCode::OK, "still signed in");
        let callback = world.trip(&browser, &company).await;
        let answer = browser.get(&callback).await;

        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    }
}

#[tokio::test]
async fn one_can_sign_in_beside_a_cookie_that_is_not_ascii() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.other_cookies = vec![b"town=Z\xfcrich"];
    browser.get("/login").await;

    let answer = browser.post("/login", &[("sign_in_name", "admin"), ("password", crate::world::PASSWORD)]).await;

    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert_eq!(browser.get("/companies").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_trip_s_cookie_is_there_before_the_first_press_and_stays_the_same() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let companies = world.companies().await;
    let secret = browser.cookies.lock().unwrap()["ups-trip"].clone();

    for company in &companies[..2] {
        world.authenticate(&browser, company).await;
        assert_eq!(browser.cookies.lock().unwrap()["ups-trip"], secret);
    }
    // Whoever lost it, or has garbage in its place, gets another one with the next page.
    for garbage in ["", "garbage"] {
        browser.cookies.lock().unwrap().insert("ups-trip".into(), garbage.into());
        browser.get("/companies").await;
        assert_eq!(browser.cookies.lock().unwrap()["ups-trip"].len(), 43);
    }
}

#[tokio::test]
async fn authenticate_in_two_tabs_before_any_cookie_was_set_completes_in_both() {
    let world = World::new().await;
    let mut browser = world.company_admin().await;
    let companies = world.companies().await;
    browser.cookies.lock().unwrap().remove("ups-trip");
    let without = browser.cookies.lock().unwrap().clone();

    // Both presses are on their way before either answer is here.
    let first = world.trip(&browser, &companies[0]).await;
    let after_first = std::mem::replace(&mut *browser.cookies.lock().unwrap(), without);
    let second = world.trip(&browser, &companies[1]).await;
    browser.cookies.get_mut().unwrap().extend(after_first);

    for (callback, company) in [(first, &companies[0]), (second, &companies[1])] {
        let answer = browser.get(&callback).await;
        assert_eq!(answer.location(), format!("/companies/{company}"), "{}", answer.body);
        assert!(world.is_authenticated(company).await);
    }
}

#[tokio::test]
async fn a_browser_that_refuses_cookies_is_told_so_and_the_consent_stays_open() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let callback = world.trip(&browser, &company).await;
    let kept = browser.cookies.lock().unwrap().remove("ups-trip").unwrap();

    let answer = browser.get(&callback).await;

    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("refuses cookies"), "{}", answer.body);
    assert!(!answer.headers.contains_key(header::SET_COOKIE));
    browser.cookies.lock().unwrap().insert("ups-trip".into(), BrowserSecret::random().expose_secret().into());
    assert!(browser.get(&callback).await.body.contains("another browser"));
    browser.cookies.lock().unwrap().insert("ups-trip".into(), kept);
    assert_eq!(browser.get(&callback).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.exchanges(), 1);
}
