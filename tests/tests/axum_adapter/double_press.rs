//! A button pressed again before the response arrives, in a real browser: the browser drops the first response.

use batchsuite_auth::{events::EventKind, fake_ups::FakeUps};
use batchsuite_tests::{acme, events, eventually};

use crate::{chrome::Chrome, world::World};

/// Presses the button until the page is gone. The response to the first press never reaches the browser.
async fn press_twice(world: &World, chrome: &Chrome, button: &str) {
    let answer = world.hold_next_answer();
    chrome.press_until_it_is_gone(button).await;
    answer.reached().await;
}

/// Signs in at UPS.com, from its first page to the return.
async fn agree(chrome: &Chrome) {
    chrome.see("Log In").await;
    assert_eq!(chrome.referrer().await, "", "UPS.com gets no referrer");
    chrome.fill("Email or Username", FakeUps::USER).await;
    chrome.tick("By continuing, I agree").await;
    chrome.press("Continue").await;
    chrome.see("Welcome back").await;
    chrome.fill("Password", FakeUps::PASSWORD).await;
    chrome.press("Log In").await;
}

async fn kinds(world: &World) -> Vec<EventKind> {
    events(&world.auth, Some(&acme())).await.into_iter().map(|event| event.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_authenticate_the_second_press_completes() {
    for has_cookie in [true, false] {
        let (world, chrome) = (World::new().await, Chrome::start().await);
        let page = format!("http://{}/companies/acme", world.address);
        chrome.open(&page).await;
        chrome.see("the page of acme").await;
        chrome.keep_cookie("who", "ada").await;
        if !has_cookie {
            chrome.forget_cookie("ups-trip").await;
        }

        press_twice(&world, &chrome, "Authenticate").await;
        agree(&chrome).await;

        chrome.see("the page of acme").await;
        eventually("the browser is back", async || chrome.address().await.as_str() == page).await;
        assert!(world.is_authenticated("acme").await);
        let kinds = kinds(&world).await;
        let (last, before) = kinds.split_last().unwrap();
        assert!(before.len() >= 2 && before.iter().all(|kind| *kind == EventKind::Started), "{kinds:?}");
        assert_eq!((*last, world.exchanges()), (EventKind::Authenticated, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_connect_link_the_second_press_gets_the_trip_of_the_first() {
    let (world, chrome) = (World::new().await, Chrome::start().await);
    let link = world.link("acme").await;
    chrome.open(format!("http://{}{link}", world.address)).await;

    press_twice(&world, &chrome, "Continue to UPS.com").await;
    agree(&chrome).await;

    chrome.see("is authenticated.").await;
    let own = format!("http://{}", world.address);
    let senders = world.facts.senders.lock().unwrap().split_off(1);
    let without_path = (own.clone(), format!("{own}/"));
    assert!(senders.iter().all(|sender| *sender == without_path), "{senders:?}");
    let expected = [EventKind::LinkIssued, EventKind::LinkFollowed, EventKind::Started, EventKind::Authenticated];
    assert_eq!(kinds(&world).await, expected);
}
