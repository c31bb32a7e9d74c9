//! Callbacks beside one another, and beside everything else.

use batchsuite_auth::{
    CompanyId,
    error::CallbackError,
    events::EventKind,
    fake_ups::{Endpoint, Outcome},
    status::Status,
};
use futures_util::future::join_all;

use crate::world::{World, assert_authenticated, eventually};

#[tokio::test]
async fn fifty_identical_callbacks_at_once_make_exactly_one_exchange() {
    let world = World::new().await;
    let back = world.back().await;

    let outcomes = join_all((0..50).map(|_| world.callback(&back))).await;

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert!(matches!(error, CallbackError::UnknownState), "{error:?}");
    }
    assert_eq!(world.calls(Endpoint::Token), 1);
    assert_eq!(world.count(EventKind::Authenticated).await, 1);
    assert_authenticated(&world.status().await);
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
    let mut held = world.wire.hold_answer();

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
    let mut held = world.wire.hold_answer();

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
    let other = CompanyId::new("globex").unwrap();
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
        let mut held = world.wire.hold_answer();

        let (earlier, later) = tokio::join!(world.callback(&first), async {
            held.reached().await;
            if !later_is_stored_first {
                held.release();
                eventually("the earlier grant is stored", async || {
                    (world.count(EventKind::Authenticated).await == 1).then_some(())
                })
                .await;
                world.advance(1);
                return world.callback(&second).await;
            }
            world.advance(1);
            let later = world.callback(&second).await;
            held.release();
            later
        });

        // The company is authenticated either way, so both browsers are told so.
        assert_eq!((earlier.unwrap().company, later.unwrap().company), (world.company.clone(), world.company.clone()));
        let issued_later = world.wire.exchanges()[1].received("access_token").unwrap();
        assert!(world.token().await.unwrap().expose_secret() == issued_later, "{later_is_stored_first}");
        let stored = world.look().await.tokens.unwrap();
        assert!(stored.0 == Some(issued_later), "{later_is_stored_first}");
        // And it can be refreshed.
        world.advance(2 * 3600);
        world.token().await.unwrap();
    }
}

#[tokio::test]
async fn the_exchange_completes_and_is_stored_when_the_browser_goes_away() {
    let world = World::new().await;
    let back = world.back().await;
    let mut held = world.wire.hold_answer();
    let (auth, actor, query) = (world.auth.clone(), world.actor.clone(), back.query.clone());
    let browser = back.browser.clone();
    let caller = tokio::spawn(async move { auth.callback(&actor, &query, &browser).await });

    held.reached().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    held.release();

    eventually("the opt-in is stored", async || {
        matches!(world.status().await.status, Status::Authenticated { .. }).then_some(())
    })
    .await;
    let token = world.token().await.unwrap();
    assert_eq!(world.track(&token).await, 200);
    assert_eq!(world.calls(Endpoint::Token), 1);
}
