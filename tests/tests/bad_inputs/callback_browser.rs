//! The binding of a callback to its browser and its code.

use std::collections::BTreeMap;

use batchsuite_auth::{
    ActorId, BrowserSecret, ClientAuthentication, TripCookie,
    error::CallbackError,
    fake_ups::{Endpoint, FakeUps},
};
use batchsuite_tests::company;
use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::world::World;

/// A request with these cookies.
fn sent(cookies: &[&[u8]]) -> HeaderMap {
    let lines = cookies.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).unwrap()));
    lines.collect()
}

#[tokio::test]
async fn the_right_secret_is_found_among_several_and_beside_any_other_cookie() {
    let world = World::new().await;
    let cookie = TripCookie::of(&world.ups.redirect_uri());
    assert_eq!(cookie, world.auth.trip_cookie());
    let (wrong, name) = (BrowserSecret::random(), cookie.name());
    for others in ["", "town=Z\u{fc}rich; ", "ups-trip=; ups-trip=\u{1f36a}; ", "a=b; c; =d;; "] {
        let back = world.back().await;
        let ours = [b"town=Z\xfcrich; ", format!("{name}={}", back.browser.expose_secret()).as_bytes()].concat();
        let theirs = format!("{others}{name}={}", wrong.expose_secret());

        let secrets = cookie.secrets(&sent(&[theirs.as_bytes(), &ours]));
        let done = world.auth.callback(&back.actor, &back.query, &secrets).await;

        assert_eq!(done.unwrap().company, world.company, "{others}");
    }
}

#[tokio::test]
async fn without_a_secret_or_with_wrong_ones_alone_nothing_is_consumed() {
    let world = World::authenticated().await;
    let back = world.back().await;
    let cookie = world.auth.trip_cookie();
    let before = world.look().await;
    let wrong: String =
        (0..30).map(|_| format!("{}={}; ", cookie.name(), BrowserSecret::random().expose_secret())).collect();

    for nothing in [sent(&[]), sent(&[b"town=Z\xfcrich"]), sent(&[b"ups-trip=garbage"])] {
        let refused = world.auth.callback(&back.actor, &back.query, &cookie.secrets(&nothing)).await;
        assert!(matches!(refused, Err(CallbackError::NoBrowserSecret)), "{refused:?}");
    }
    let refused = world.auth.callback(&back.actor, &back.query, None).await;
    assert!(matches!(refused, Err(CallbackError::NoBrowserSecret)), "{refused:?}");
    let refused = world.auth.callback(&back.actor, &back.query, &cookie.secrets(&sent(&[wrong.as_bytes()]))).await;
    assert!(matches!(refused, Err(CallbackError::OtherBrowser)), "{refused:?}");

    assert_eq!(world.look().await, before);
    world.auth.callback(&back.actor, &back.query, Some(&back.browser)).await.unwrap();
}

#[tokio::test]
async fn a_garbage_secret_is_ignored_and_a_new_one_is_given_out() {
    let world = World::new().await;
    let valid = BrowserSecret::random();
    let right = valid.expose_secret();
    for garbage in ["", "x", &right[1..], &format!("{right}A"), &"<".repeat(43), &format!("{}\u{fc}", &right[2..])] {
        let begin = world.auth.authenticate(&world.company, &world.actor);
        let trip = begin.browser_secret(BrowserSecret::new(garbage)).await.unwrap();

        assert_ne!(trip.browser_secret.expose_secret(), garbage);
        let query = world.ups.consent(&trip.url, FakeUps::USER).await;
        world.auth.callback(&world.actor, &query, &trip.browser_secret).await.unwrap();
    }
    let kept = world.auth.authenticate(&world.company, &world.actor).browser_secret(valid.clone()).await.unwrap();
    assert!(kept.browser_secret.matches(&valid));
}

#[tokio::test]
async fn two_trips_that_began_without_a_cookie_both_complete() {
    let world = World::new().await;
    let other = company("globex");
    let mut jar = BTreeMap::new();
    let mut queries = Vec::new();
    for company in [&world.company, &other] {
        // Both tabs are pressed before either answer arrives.
        let trip = world.auth.authenticate(company, &world.actor).browser_secret(None).await.unwrap();
        let set = trip.set_cookie().to_str().unwrap().to_owned();
        let (name, rest) = set.split_once('=').unwrap();
        assert!(rest.ends_with("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax"), "{rest}");
        jar.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        queries.push(world.ups.consent(&trip.url, FakeUps::USER).await);
    }
    let line = jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let secrets = world.auth.trip_cookie().secrets(&sent(&[line.as_bytes()]));

    for query in queries {
        world.auth.callback(&world.actor, &query, &secrets).await.unwrap();
    }
    // The next trip continues with one of the secrets, under the lasting cookie name.
    let next = world.auth.authenticate(&other, &world.actor).browser_secret(secrets.first().cloned()).await.unwrap();
    assert!(next.set_cookie().to_str().unwrap().starts_with("ups-trip="));
}

#[tokio::test]
async fn another_person_s_code_in_ones_own_trip_is_refused_with_pkce_and_cannot_be_told_without() {
    for (mode, is_refused) in [
        (ClientAuthentication::Secret, false),
        (ClientAuthentication::Pkce, true),
        (ClientAuthentication::PkceWithSecret, true),
    ] {
        let world = World::with(|setup| setup.authentication = mode).await;
        let theirs = world.back_for(&company("globex"), &ActorId::new("bob").unwrap(), None).await;
        let own = world.back().await;

        let done = world.callback_with(&own, &format!("code={}&state={}", theirs.code, own.state)).await;

        assert_eq!(world.calls(Endpoint::Token), 1, "{mode:?}");
        if is_refused {
            assert!(matches!(done, Err(CallbackError::CodeRefused(_))), "{mode:?}: {done:?}");
            assert!(world.look().await.tokens.is_none(), "{mode:?}");
        } else {
            // UPS's answer does not say who consented, as the documentation of the mode warns.
            assert_eq!(done.unwrap().company, world.company);
        }
    }
}
