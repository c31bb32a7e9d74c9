//! Callbacks concurrent with other callbacks and with other work.

use std::time::Duration;

use batchsuite_auth::{
    ActorId, BrowserSecret, Client,
    error::CallbackError,
    events::EventKind,
    fake_ups::{Answer, Edit, Endpoint, FakeUps, Outcome},
    status::Status,
};
use batchsuite_tests::{company, eventually};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::world::{Back, World, assert_authenticated};

#[tokio::test]
async fn fifty_identical_callbacks_at_once_make_exactly_one_exchange() {
    let world = World::new().await;
    let back = world.back().await;

    let stranger = Back { browser: BrowserSecret::random(), ..back.clone() };
    let other_person = Back { actor: ActorId::new("mallory").unwrap(), ..back.clone() };

    let outcomes =
        join_all((0..50).flat_map(|_| [&back, &stranger, &other_person]).map(|back| world.callback(back))).await;

    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number % 3 {
            0 => assert_eq!(outcome.unwrap().company, world.company, "the same person in the same browser"),
            1 => assert!(
                matches!(outcome, Err(CallbackError::OtherBrowser | CallbackError::UnknownState)),
                "{outcome:?}"
            ),
            _ => {
                assert!(matches!(outcome, Err(CallbackError::OtherActor | CallbackError::UnknownState)), "{outcome:?}")
            }
        }
    }
    assert_eq!(world.calls(Endpoint::Token), 1);
    assert_eq!(world.count(EventKind::Authenticated).await, 1);
    assert_authenticated(&world.status().await);
}

#[tokio::test]
async fn the_same_callback_again_while_the_first_is_under_way_gets_what_comes_of_it() {
    for fails in [false, true] {
        let world = World::new().await;
        let back = world.back().await;
        if fails {
            world.next(Endpoint::Token, Answer::status(503));
        }
        let held = world.http.hold_answer();
        let (auth, first) = (world.auth.clone(), back.clone());
        // The browser reloads: it abandons its first request, and the second arrives during the exchange.
        let first = tokio::spawn(async move { auth.callback(&first.actor, &first.query, &first.browser).await });
        held.reached().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());

        let (again, ()) = tokio::join!(world.callback(&back), async {
            tokio::task::yield_now().await;
            held.release();
        });

        match again {
            Ok(done) => assert!(!fails && done.company == world.company, "{done:?}"),
            Err(error) => assert!(fails && matches!(error, CallbackError::Unanswered(_)), "{error:?}"),
        }
        assert_eq!(world.calls(Endpoint::Token), 1);
        assert_eq!(world.count(EventKind::Authenticated).await, usize::from(!fails));
    }
}

#[tokio::test]
async fn the_same_callback_again_at_another_process_sends_nothing_and_is_led_to_the_company() {
    let world = World::new().await;
    let other = world.another_process(Client::new(world.ups.client_id(), world.ups.client_secret()));
    let back = world.back().await;
    let held = world.http.hold_answer();
    let again = async || other.auth.callback(&back.actor, &back.query, &back.browser).await;

    let (done, ()) = tokio::join!(world.callback(&back), async {
        held.reached().await;
        let error = again().await.unwrap_err();
        let CallbackError::AlreadyUsed { company, .. } = error else { panic!("{error:?}") };
        assert_eq!(company, world.company);
        held.release();
    });

    done.unwrap();
    assert_eq!(again().await.unwrap().company, world.company);
    assert!(other.http.exchanges().is_empty());
    // Another process knows of a failure once no exchange can still be in flight.
    let back = world.back().await;
    world.next(Endpoint::Token, Answer::status(503));
    world.callback(&back).await.unwrap_err();
    let again = async || other.auth.callback(&back.actor, &back.query, &back.browser).await;
    assert!(matches!(again().await, Err(CallbackError::AlreadyUsed { .. })));
    world.advance(61);
    assert!(matches!(again().await, Err(CallbackError::UnknownState)));
}

#[tokio::test]
async fn a_callback_that_comes_again_after_its_opt_in_ended_is_led_to_the_company_and_not_told_that_it_is_authenticated()
 {
    let world = World::new().await;
    let back = world.back().await;
    world.callback(&back).await.unwrap();
    let token = world.token().await.unwrap();
    world.ups.change_password(FakeUps::USER);
    world.auth.report_rejected(&world.company, &token).await.unwrap_err();

    let error = world.callback(&back).await.unwrap_err();
    assert!(matches!(error, CallbackError::AlreadyUsed { .. }), "{error:?}");

    world.auth.remove_auth(&world.company, &world.actor).await.unwrap();
    let error = world.callback(&back).await.unwrap_err();
    assert!(matches!(error, CallbackError::RemovedSince), "{error:?}");
}

#[tokio::test]
async fn of_two_consents_the_one_that_was_superseded_is_led_to_the_company_too() {
    let world = World::new().await;
    let first = world.back().await;
    let second = world.back_for(&world.company, &world.actor, Some(&first.browser)).await;
    world.callback(&first).await.unwrap();
    world.advance(1);
    world.callback(&second).await.unwrap();

    for back in [&first, &second] {
        assert_eq!(world.callback(back).await.unwrap().company, world.company);
    }
    assert_eq!(world.calls(Endpoint::Token), 2);
}

#[tokio::test]
async fn a_callback_after_remove_auth_is_refused() {
    let world = World::authenticated().await;
    let back = world.back().await;
    world.auth.remove_auth(&world.company, &world.actor).await.unwrap();
    let before = world.look().await;

    let error = world.callback(&back).await.unwrap_err();

    assert!(matches!(error, CallbackError::UnknownState | CallbackError::RemovedSince), "{error:?}");
    assert!(error.to_string().contains("start again"), "{error}");
    assert_eq!(world.look().await, before);
    assert_eq!(before.status.status, Status::Unauthenticated);
    assert_eq!(before.tokens, None);
}

#[tokio::test]
async fn a_remove_during_the_exchange_leaves_nothing_stored() {
    let world = World::new().await;
    let back = world.back().await;
    let held = world.http.hold_answer();

    let (done, ()) = tokio::join!(world.callback(&back), async {
        held.reached().await;
        world.auth.remove_auth(&world.company, &world.actor).await.unwrap();
        held.release();
    });

    assert!(matches!(done, Err(CallbackError::RemovedSince)), "{done:?}");
    let after = world.look().await;
    assert_eq!((after.status.status, after.tokens), (Status::Unauthenticated, None));
    assert_eq!(world.count(EventKind::Authenticated).await, 0);
    assert!(world.token().await.unwrap_err().needs_reauthorization());
    assert_eq!(world.calls(Endpoint::Refresh), 0);
}

#[tokio::test]
async fn a_callback_while_already_authenticated_lets_the_old_grant_serve_until_the_new_one_is_stored() {
    let world = World::authenticated().await;
    let old = world.token().await.unwrap();
    let back = world.back().await;
    let held = world.http.hold_answer();

    let (done, ()) = tokio::join!(world.callback(&back), async {
        held.reached().await;
        assert_eq!(world.token().await.unwrap().revision(), old.revision());
        assert_eq!(world.status().await.revision, old.revision());
        held.release();
    });

    done.unwrap();
    let new = world.token().await.unwrap();
    assert_eq!((old.revision().epoch + 1, 1), (new.revision().epoch, new.revision().version));
    assert_ne!(new.expose_secret(), old.expose_secret());
    assert_eq!(world.track(&new).await, 200);
}

#[tokio::test]
async fn two_consents_of_one_browser_both_complete() {
    let world = World::new().await;
    let other = company("globex");
    let first = world.back().await;
    let second = world.back_for(&other, &world.actor, Some(&first.browser)).await;
    assert!(first.browser.expose_secret() == second.browser.expose_secret(), "one cookie for both");

    let (second, first) = tokio::join!(world.callback(&second), world.callback(&first));

    assert_eq!(first.unwrap().company, world.company);
    assert_eq!(second.unwrap().company, other);
    assert_eq!(world.ups.requests().count(Endpoint::Token, Outcome::Ok), 2);
    for company in [&world.company, &other] {
        let token = world.token_of(company).await.unwrap();
        assert_eq!(world.track(&token).await, 200);
    }
}

#[tokio::test]
async fn of_two_consents_for_one_company_the_grant_issued_later_wins() {
    for later_is_stored_first in [false, true] {
        let world = World::new().await;
        let first = world.back().await;
        let second = world.back_for(&world.company, &world.actor, Some(&first.browser)).await;
        let held = world.http.hold_answer();

        let (earlier, later) = tokio::join!(world.callback(&first), async {
            held.reached().await;
            if !later_is_stored_first {
                held.release();
                eventually("the earlier grant is stored", async || world.count(EventKind::Authenticated).await == 1)
                    .await;
                world.advance(1);
                return world.callback(&second).await;
            }
            world.advance(1);
            let later = world.callback(&second).await;
            held.release();
            later
        });

        // The company is authenticated in either case, and both browsers are told so.
        assert_eq!((earlier.unwrap().company, later.unwrap().company), (world.company.clone(), world.company.clone()));
        let issued_later = world.http.exchanges()[1].received("access_token").unwrap();
        assert!(world.token().await.unwrap().expose_secret() == issued_later, "{later_is_stored_first}");
        let stored = world.look().await.tokens.unwrap();
        assert!(stored.0 == Some(issued_later), "{later_is_stored_first}");
        // The stored pair can be refreshed.
        world.advance(2 * 3600);
        world.token().await.unwrap();
    }
}

/// If UPS sends no date, the time of arrival counts.
#[tokio::test]
async fn of_two_consents_a_pair_without_a_date_that_arrives_later_wins() {
    let world = World::new().await;
    let first = world.back().await;
    let second = world.back_for(&world.company, &world.actor, Some(&first.browser)).await;
    world.next(Endpoint::Token, Edit::default().remove("issued_at"));
    let held = world.http.hold_answer();

    let (arrives_later, ()) = tokio::join!(world.callback(&first), async {
        held.reached().await;
        world.callback(&second).await.unwrap();
        held.release();
    });

    arrives_later.unwrap();
    let arrived_later = world.http.exchanges().into_iter().find(|exchange| exchange.received("issued_at").is_none());
    assert!(world.look().await.tokens.unwrap().0 == arrived_later.unwrap().received("access_token"));
}

#[tokio::test]
async fn the_same_callback_again_waits_no_longer_than_the_first_while_the_store_is_away() {
    let world = World::with(|setup| {
        setup.policy.request_deadline = Duration::from_secs(1);
        setup.policy.max_wait = Duration::from_millis(50);
    })
    .await;
    let back = world.back().await;
    let held = world.http.hold_answer();

    let (first, again) = tokio::join!(world.callback(&back), async {
        held.reached().await;
        world.store.go_away();
        held.release();
        timeout(Duration::from_secs(20), world.callback(&back)).await.expect("the callback has a time limit")
    });

    for outcome in [first, again] {
        assert!(matches!(&outcome, Err(CallbackError::Store(error)) if error.is_transient()), "{outcome:?}");
    }
    world.store.come_back();
    eventually("the opt-in is stored", async || matches!(world.status().await.status, Status::Authenticated { .. }))
        .await;
    assert_eq!(world.callback(&back).await.unwrap().company, world.company);
    assert_eq!(world.calls(Endpoint::Token), 1);
}

#[tokio::test]
async fn the_exchange_completes_and_is_stored_when_the_browser_goes_away() {
    let world = World::new().await;
    let back = world.back().await;
    let held = world.http.hold_answer();
    let (auth, actor, query) = (world.auth.clone(), world.actor.clone(), back.query.clone());
    let browser = back.browser.clone();
    let caller = tokio::spawn(async move { auth.callback(&actor, &query, &browser).await });

    held.reached().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    held.release();

    eventually("the opt-in is stored", async || matches!(world.status().await.status, Status::Authenticated { .. }))
        .await;
    let token = world.token().await.unwrap();
    assert_eq!(world.track(&token).await, 200);
    assert_eq!(world.calls(Endpoint::Token), 1);
}
