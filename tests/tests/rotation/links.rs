//! Connect links: one person makes a link, and it is followed once in another browser without a sign-in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, BrowserSecret, Client, ClientAuthentication, CompanyId, LinkSecrets, LinkToken, NewOptIn, OptInCheck,
    OptedIn, Trip,
    error::{CallbackError, LinkError, OptInRefused},
    events::EventKind,
    fake_ups::{Endpoint, FakeUps},
};
use batchsuite_tests::{Moment, Process, Verb, acme, ada, company, seconds};
use http::{HeaderMap, HeaderValue, header};

use crate::stage::Stage;

/// The cookies of a browser after these answers.
fn cookies<'a>(trips: impl IntoIterator<Item = &'a Trip>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for trip in trips {
        let set_cookie = trip.set_cookie();
        let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
        headers.append(header::COOKIE, HeaderValue::from_str(pair).unwrap());
    }
    headers
}

fn links(process: &Process, trip: &Trip) -> LinkSecrets {
    process.auth.trip_cookie().links(&cookies([trip]))
}

/// The colleague signs in at UPS.com and returns.
async fn come_back(stage: &Stage, process: &Process, trip: &Trip) -> Result<OptedIn, CallbackError> {
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    process.auth.callback_of_link(&query, &links(process, trip)).await
}

async fn link(process: &Process, company: &CompanyId) -> LinkToken {
    process.auth.connect_link(company, &ada()).await.unwrap().token
}

#[tokio::test(start_paused = true)]
async fn a_link_leads_another_browser_to_ups_and_authenticates_in_its_maker_s_name() {
    let stage = Stage::new().await;
    let process = stage.process();
    let link = process.auth.connect_link(&acme(), &ada()).await.unwrap();
    assert_eq!(link.expires_at, stage.row(&acme()).await.as_of + seconds(1800));

    for _ in 0..3 {
        let open = process.auth.open_link(&link.token, &LinkSecrets::default()).await.unwrap();
        assert_eq!((open.company, open.actor), (acme(), ada()), "opening a link does not use it");
    }
    let trip = process.auth.follow_link(&link.token, &LinkSecrets::default()).await.unwrap();
    let done = come_back(&stage, &process, &trip).await.unwrap();

    assert_eq!((done.company, done.return_to), (acme(), None));
    process.token(&acme()).await;
    let events = process.events(&acme()).await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let expected = [EventKind::LinkIssued, EventKind::LinkFollowed, EventKind::Started, EventKind::Authenticated];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|event| event.actor == Some(ada())));
}

#[tokio::test(start_paused = true)]
async fn a_link_works_once() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    let token = link(&process, &acme()).await;
    let trip = process.auth.follow_link(&token, &LinkSecrets::default()).await.unwrap();

    for again in [&process, &other] {
        assert!(matches!(again.auth.follow_link(&token, &LinkSecrets::default()).await, Err(LinkError::Used)));
        assert!(matches!(again.auth.open_link(&token, &LinkSecrets::default()).await, Err(LinkError::Used)));
    }
    come_back(&stage, &process, &trip).await.unwrap();

    assert!(matches!(other.auth.follow_link(&token, &LinkSecrets::default()).await, Err(LinkError::Used)));
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 1);
}

/// The cookies of a browser that has opened the link.
fn opened(process: &Process, token: &LinkToken) -> LinkSecrets {
    let cookie = process.auth.trip_cookie();
    let set_cookie = cookie.header_of_link(token, &BrowserSecret::random());
    let mut headers = HeaderMap::new();
    let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
    headers.append(header::COOKIE, HeaderValue::from_str(pair).unwrap());
    cookie.links(&headers)
}

#[tokio::test(start_paused = true)]
async fn a_second_press_in_the_same_browser_gets_the_trip_of_the_first_until_it_comes_back() {
    let pkce = ClientAuthentication::PkceWithSecret;
    for authentication in [ClientAuthentication::Secret, pkce] {
        let stage = Stage::new().await;
        let client = Client::new(stage.ups.client_id(), stage.ups.client_secret()).with_authentication(authentication);
        let (process, other) = (stage.process_as(client.clone()), stage.process_as(client));
        let token = link(&process, &acme()).await;
        let (links, elsewhere) = (opened(&process, &token), opened(&process, &token));

        let trip = process.auth.follow_link(&token, &links).await.unwrap();
        for again in [&process, &other] {
            assert_eq!(again.auth.open_link(&token, &links).await.unwrap().expires_at, trip.expires_at);
            assert_eq!(again.auth.follow_link(&token, &links).await.unwrap().url, trip.url);
            for links in [&elsewhere, &LinkSecrets::default()] {
                assert!(matches!(again.auth.follow_link(&token, links).await, Err(LinkError::Used)));
                assert!(matches!(again.auth.open_link(&token, links).await, Err(LinkError::Used)));
            }
        }
        let expected = [EventKind::LinkIssued, EventKind::LinkFollowed, EventKind::Started];
        assert_eq!(process.kinds(&acme()).await, expected);
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        other.auth.callback_of_link(&query, &links).await.unwrap();

        assert!(matches!(process.auth.follow_link(&token, &links).await, Err(LinkError::Used)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_press_while_the_first_is_being_stored_waits_for_it() {
    let stage = Stage::new().await;
    let process = stage.process();
    let token = link(&process, &acme()).await;
    let links = opened(&process, &token);
    let put = process.store.hold(Verb::PutConsent, Moment::Before);
    let press = || {
        let (auth, token, links) = (process.auth.clone(), token.clone(), links.clone());
        tokio::spawn(async move { auth.follow_link(&token, &links).await })
    };
    let first = press();
    put.reached().await;
    let second = press();
    tokio::time::sleep(Duration::from_millis(50)).await;
    put.release();

    assert_eq!(first.await.unwrap().unwrap().url, second.await.unwrap().unwrap().url);
}

#[tokio::test(start_paused = true)]
async fn a_second_press_after_a_removal_or_too_late_leads_nowhere() {
    let stage = Stage::new().await;
    let process = stage.process();
    let (first, second) = (link(&process, &acme()).await, link(&process, &company("other")).await);
    let links = [opened(&process, &first), opened(&process, &second)];
    process.auth.follow_link(&first, &links[0]).await.unwrap();
    process.auth.follow_link(&second, &links[1]).await.unwrap();

    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    assert!(matches!(process.auth.follow_link(&first, &links[0]).await, Err(LinkError::RemovedSince)));
    stage.ups.clock().advance(seconds(600));
    assert!(matches!(process.auth.follow_link(&second, &links[1]).await, Err(LinkError::Used)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_who_follow_a_link_at_once_in_two_processes_exactly_one_begins() {
    let stage = Stage::new().await;
    let processes = [stage.process(), stage.process()];
    let token = link(&processes[0], &acme()).await;

    let follow = |number: usize| {
        let (auth, token) = (processes[number % 2].auth.clone(), token.clone());
        tokio::spawn(async move { auth.follow_link(&token, &LinkSecrets::default()).await })
    };
    let mut trips = Vec::new();
    for followed in (0..50).map(follow).collect::<Vec<_>>() {
        match followed.await.unwrap() {
            Ok(trip) => trips.push(trip),
            Err(error) => assert!(matches!(error, LinkError::Used), "{error:?}"),
        }
    }

    assert_eq!(trips.len(), 1);
    come_back(&stage, &processes[1], &trips[0]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_ends_after_half_an_hour_and_is_forgotten_an_hour_later() {
    let stage = Stage::new().await;
    let process = stage.process();
    let token = link(&process, &acme()).await;

    stage.ups.clock().advance(seconds(1799));
    process.auth.open_link(&token, &LinkSecrets::default()).await.unwrap();
    stage.ups.clock().advance(seconds(1));
    assert!(matches!(process.auth.follow_link(&token, &LinkSecrets::default()).await, Err(LinkError::Expired)));
    stage.ups.clock().advance(seconds(3600));
    assert!(matches!(process.auth.follow_link(&token, &LinkSecrets::default()).await, Err(LinkError::Unknown)));
}

#[tokio::test(start_paused = true)]
async fn a_removal_ends_links_and_the_trips_of_links_that_were_made_before_it() {
    let stage = Stage::new().await;
    let process = stage.process();
    let (followed, open) = (link(&process, &acme()).await, link(&process, &acme()).await);
    let trip = process.auth.follow_link(&followed, &LinkSecrets::default()).await.unwrap();
    process.auth.remove_auth(&acme(), &ada()).await.unwrap();

    assert!(matches!(process.auth.open_link(&open, &LinkSecrets::default()).await, Err(LinkError::RemovedSince)));
    assert!(matches!(process.auth.follow_link(&open, &LinkSecrets::default()).await, Err(LinkError::RemovedSince)));
    assert!(matches!(come_back(&stage, &process, &trip).await, Err(CallbackError::RemovedSince)));
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removal_while_a_link_is_being_followed_ends_its_trip() {
    let stage = Stage::new().await;
    let process = stage.process();
    let token = link(&process, &acme()).await;
    let use_of_it = process.store.hold(Verb::UseConsent, Moment::Before);
    let following = tokio::spawn({
        let auth = process.auth.clone();
        async move { auth.follow_link(&token, &LinkSecrets::default()).await }
    });
    use_of_it.reached().await;
    stage.process().auth.remove_auth(&acme(), &ada()).await.unwrap();
    use_of_it.release();
    let trip = following.await.unwrap().unwrap();

    assert!(matches!(come_back(&stage, &process, &trip).await, Err(CallbackError::RemovedSince)));
}

#[tokio::test(start_paused = true)]
async fn a_text_that_is_no_link_is_unknown_also_if_it_is_the_state_of_a_trip() {
    let stage = Stage::new().await;
    let process = stage.process();
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let state = trip.url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let token = link(&process, &acme()).await;
    let mut almost = token.expose_secret().to_owned();
    almost.replace_range(..1, if almost.starts_with('A') { "B" } else { "A" });

    for text in ["", "x", "../..", &"A".repeat(43), &state, &almost, &format!("{} ", token.expose_secret())] {
        let text = LinkToken::new(text);
        assert!(matches!(process.auth.open_link(&text, &LinkSecrets::default()).await, Err(LinkError::Unknown)));
        assert!(matches!(process.auth.follow_link(&text, &LinkSecrets::default()).await, Err(LinkError::Unknown)));
    }

    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_s_token_is_no_state_of_a_callback() {
    let stage = Stage::new().await;
    let process = stage.process();
    let token = link(&process, &acme()).await;
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = format!("code=any-code&state={}", token.expose_secret());

    let error = process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();

    assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 0);
    process.auth.follow_link(&token, &LinkSecrets::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_s_cookie_completes_its_own_trip_alone() {
    let stage = Stage::new().await;
    let process = stage.process();
    let (token, other) = (link(&process, &acme()).await, link(&process, &company("other")).await);
    let trip = process.auth.follow_link(&token, &LinkSecrets::default()).await.unwrap();
    let of_other = process.auth.follow_link(&other, &LinkSecrets::default()).await.unwrap();
    // Ada started her own trip in the same browser and did not return.
    let ordinary = process.auth.authenticate(&company("third"), &ada()).await.unwrap();
    let (to_acme, to_third) = (stage.ups.consent(&trip.url, FakeUps::USER).await, &ordinary.url);
    let to_third = stage.ups.consent(to_third, FakeUps::USER).await;
    let cookie = process.auth.trip_cookie();

    let elsewhere = process.auth.callback_of_link(&to_acme, &links(&process, &of_other)).await;
    assert!(matches!(elsewhere, Err(CallbackError::OtherBrowser)), "{elsewhere:?}");
    let without = process.auth.callback_of_link(&to_acme, &LinkSecrets::default()).await;
    assert!(matches!(without, Err(CallbackError::NoBrowserSecret)), "{without:?}");
    let signed_in = process.auth.callback(&ada(), &to_acme, &ordinary.browser_secret).await;
    assert!(matches!(signed_in, Err(CallbackError::OtherBrowser)), "{signed_in:?}");
    // The link's token with the secret of Ada's own trip: a person at that browser could forge this cookie.
    let own = ordinary.browser_secret.expose_secret();
    let forged = format!("ups-link-1={}.{own}", token.expose_secret());
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, HeaderValue::from_str(&forged).unwrap());
    let forged = process.auth.callback_of_link(&to_third, &cookie.links(&headers)).await;
    assert!(matches!(forged, Err(CallbackError::OtherBrowser)), "{forged:?}");
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 0);

    // The browser followed both links.
    let both = cookie.links(&cookies([&of_other, &trip]));
    assert_eq!(process.auth.callback_of_link(&to_acme, &both).await.unwrap().company, acme());
    let to_other = stage.ups.consent(&of_other.url, FakeUps::USER).await;
    assert_eq!(process.auth.callback_of_link(&to_other, &both).await.unwrap().company, company("other"));
    process.auth.callback(&ada(), &to_third, &ordinary.browser_secret).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_followed_speaks_for_nobody() {
    let stage = Stage::new().await;
    let process = stage.process();
    let token = link(&process, &acme()).await;
    let ordinary = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&ordinary.url, FakeUps::USER).await;
    let forged = format!("ups-link-1={}.{}", token.expose_secret(), ordinary.browser_secret.expose_secret());
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, HeaderValue::from_str(&forged).unwrap());

    let ended = process.auth.callback_of_link(&query, &process.auth.trip_cookie().links(&headers)).await;

    assert!(matches!(ended, Err(CallbackError::NoBrowserSecret)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn the_callback_of_a_link_that_comes_twice_sends_nothing_and_is_led_to_the_company() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    // The browser has followed another link before.
    let before =
        process.auth.follow_link(&link(&process, &company("other")).await, &LinkSecrets::default()).await.unwrap();
    let trip = process.auth.follow_link(&link(&process, &acme()).await, &LinkSecrets::default()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    let links = process.auth.trip_cookie().links(&cookies([&before, &trip]));
    process.auth.callback_of_link(&query, &links).await.unwrap();

    for again in [&process, &other] {
        assert_eq!(again.auth.callback_of_link(&query, &links).await.unwrap().company, acme());
    }
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 1);
}

/// Whether Ada has lost her rights.
#[derive(Clone, Debug, Default)]
struct Dismissed(Arc<AtomicBool>);

#[async_trait]
impl OptInCheck for Dismissed {
    async fn before_sending(&self, _: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        match *actor == ada() && self.0.load(Relaxed) {
            true => Err(OptInRefused::new("she left")),
            false => Ok(()),
        }
    }

    async fn check(&self, _: NewOptIn<'_>) -> Result<(), OptInRefused> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_is_asked_about_a_link_s_maker_when_it_is_opened_followed_and_at_the_callback() {
    let stage = Stage::new().await;
    let dismissed = Dismissed::default();
    let process = stage.process_with(|builder| builder.without_keeper().opt_in_check(dismissed.clone()));
    let token = link(&process, &acme()).await;

    dismissed.0.store(true, Relaxed);
    for _ in 0..2 {
        assert!(matches!(
            process.auth.open_link(&token, &LinkSecrets::default()).await,
            Err(LinkError::RefusedByHost(_))
        ));
        assert!(matches!(
            process.auth.follow_link(&token, &LinkSecrets::default()).await,
            Err(LinkError::RefusedByHost(_))
        ));
    }
    dismissed.0.store(false, Relaxed);
    let trip = process.auth.follow_link(&token, &LinkSecrets::default()).await.expect("the link is unused");
    dismissed.0.store(true, Relaxed);

    let ended = come_back(&stage, &process, &trip).await;
    assert!(matches!(ended, Err(CallbackError::RefusedByHost(_))), "{ended:?}");
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_counts_as_a_pending_consent_and_the_oldest_goes() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.consents_per_company = 2);
    let first = link(&process, &acme()).await;
    let second = link(&process, &acme()).await;
    let _trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();

    assert!(matches!(process.auth.follow_link(&first, &LinkSecrets::default()).await, Err(LinkError::Unknown)));
    process.auth.follow_link(&second, &LinkSecrets::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_an_open_link_from_somebody_at_ups() {
    let stage = Stage::new().await;
    let process = stage.process();
    let pending = async || {
        let status = process.auth.status(&acme()).await.unwrap();
        (status.connect_link_until, status.consent_pending_until)
    };
    let link = process.auth.connect_link(&acme(), &ada()).await.unwrap();
    assert_eq!(pending().await, (Some(link.expires_at), None));

    let trip = process.auth.follow_link(&link.token, &LinkSecrets::default()).await.unwrap();
    assert_eq!(pending().await, (None, Some(trip.expires_at)));

    come_back(&stage, &process, &trip).await.unwrap();
    assert_eq!(pending().await, (None, None));
}

#[tokio::test(start_paused = true)]
async fn after_the_shutdown_no_link_is_made_or_followed() {
    let stage = Stage::new().await;
    let process = stage.process();
    let token = link(&process, &acme()).await;
    process.auth.shutdown().await;

    assert!(process.auth.connect_link(&acme(), &ada()).await.is_err());
    assert!(matches!(process.auth.follow_link(&token, &LinkSecrets::default()).await, Err(LinkError::ShutDown)));
    assert_eq!(process.kinds(&acme()).await, [EventKind::LinkIssued]);
}

#[tokio::test(start_paused = true)]
async fn debug_shows_neither_a_link_s_token_nor_its_trip_s_secret() {
    let stage = Stage::new().await;
    let process = stage.process();
    let link = process.auth.connect_link(&acme(), &ada()).await.unwrap();
    let trip = process.auth.follow_link(&link.token, &LinkSecrets::default()).await.unwrap();

    for shown in [format!("{link:?}"), format!("{trip:?}"), format!("{:?}", links(&process, &trip))] {
        assert!(!shown.contains(link.token.expose_secret()), "{shown}");
        assert!(!shown.contains(trip.browser_secret.expose_secret()), "{shown}");
    }
    assert!(trip.set_cookie().is_sensitive());
}
