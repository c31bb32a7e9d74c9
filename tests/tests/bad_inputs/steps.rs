//! The outcomes common to all answers of a kind, for the tables in the other files.

use std::time::Duration;

use batchsuite_auth::{
    CompanyId,
    error::{CallbackError, Unavailable},
    events::EventKind,
    fake_ups::{Endpoint, Fault, Outcome, Times},
    machine::CauseKind,
    status::Cause,
};
use batchsuite_tests::companies;

use crate::world::{LEASE, World, assert_authenticated, cause, misconfigured, unavailable};

/// Whether UPS had rotated when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ups {
    Rotated,
    DidNotRotate,
}

/// Asserts that a refresh with `fault` is unanswered, so that UPS's action is unknown: the tokens are kept, nothing is
/// sent before the lease ends, and then the same token is sent again.
pub(crate) async fn assert_unanswered_refresh(world: &World, fault: Fault, did: Ups) {
    world.next(Endpoint::Refresh, fault.clone());
    assert_unanswered(world, did, &format!("{fault:?}")).await;
}

/// The same for a fault that is already set.
pub(crate) async fn assert_unanswered(world: &World, did: Ups, what: &str) {
    let before = world.look().await;
    let sent_before = world.http.exchanges().len();
    let sent = || world.http.exchanges().len() - sent_before;

    let (reason, wait) = unavailable(world.token().await);

    assert_eq!(reason, Unavailable::Unanswered, "{what}");
    assert!(wait <= LEASE, "{what}: {wait:?}");
    let after = world.look().await;
    assert_eq!((after.status, after.tokens), (before.status.clone(), before.tokens), "{what}");
    assert_eq!(world.count(EventKind::RefreshUnanswered).await, 1, "{what}");
    for _ in 0..3 {
        assert_eq!(unavailable(world.token().await).0, Unavailable::Unanswered, "{what}");
    }
    world.http.back_to_ups();
    world.advance(LEASE.as_secs() - 1);

    // A caller within the last second waits for the end of the lease.
    let (probed, ()) = tokio::join!(world.token(), async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(sent(), 1, "{what}: sent before the lease ended");
        world.advance(2);
    });

    let refreshes = world.http.exchanges().split_off(sent_before);
    assert_eq!(refreshes.len(), 2, "{what}");
    assert!(refreshes[0].sent("refresh_token") == refreshes[1].sent("refresh_token"), "{what}: the token differs");
    match did {
        Ups::DidNotRotate => {
            let token = probed.expect(what);
            assert_eq!(token.revision().version, before.status.revision.version + 1, "{what}");
            assert_eq!(world.rotations(), 1, "{what}");
            assert_authenticated(&world.status().await);
        }
        Ups::Rotated => assert_lost(&cause(probed), what),
    }
}

/// Asserts that a rotation is reported as lost, with UPS's evidence and not as a password change.
#[track_caller]
pub(crate) fn assert_lost(cause: &Cause, what: &str) {
    assert_eq!(cause.kind, CauseKind::RotationLost, "{what}");
    let evidence = cause.evidence.as_ref().expect(what);
    assert_eq!((evidence.status, evidence.code.as_deref()), (Some(400), Some("10400")), "{what}");
    assert!(evidence.attempt.is_some() && cause.at.is_some(), "{what}");
}

/// Asserts that an exchange with `fault` is unanswered, so that UPS's action is unknown: the consent fails, the code is
/// not sent again, the earlier opt-in stays, and the person can start again.
pub(crate) async fn assert_unanswered_exchange(world: &World, fault: Fault) {
    let what = format!("{fault:?}");
    world.next(Endpoint::Token, fault);
    let error = assert_failed_exchange(world, &what).await;
    assert!(matches!(error, CallbackError::Unanswered(_)), "{what}: {error:?}");
    assert!(error.is_transient(), "{what}");
}

/// Asserts that the next exchange fails and changes nothing stored. Returns the browser's error.
pub(crate) async fn assert_failed_exchange(world: &World, what: &str) -> CallbackError {
    let before = world.look().await;
    let earlier = world.token().await.unwrap();
    let back = world.back().await;
    let sent_before = world.http.exchanges().len();

    let error = world.callback(&back).await.expect_err(what);

    let after = world.look().await;
    assert_eq!((after.status, after.tokens), (before.status, before.tokens), "{what}");
    assert_eq!(world.token().await.unwrap().revision(), earlier.revision(), "{what}");
    let replayed = world.callback(&back).await.unwrap_err();
    assert!(matches!(replayed, CallbackError::UnknownState), "{what}: {replayed:?}");
    assert_eq!(world.http.exchanges().len(), sent_before + 1, "{what}: the code was sent again");
    let told = world.events().await.pop().unwrap();
    assert!(matches!(told.kind, EventKind::Failed | EventKind::Misconfigured), "{what}: {told:?}");
    assert!(told.evidence.is_some(), "{what}");
    world.http.back_to_ups();
    world.opt_in(&world.company).await;
    error
}

/// Asserts that a refresh that did not reach UPS, or was answered with a pause, is retried later: the same token works
/// and is rotated once.
pub(crate) async fn assert_retried(world: &World, expected: Unavailable, what: &str) -> Duration {
    let before = world.look().await;
    let sent_before = world.http.exchanges().len();

    let (reason, wait) = unavailable(world.token().await);

    assert_eq!(reason, expected, "{what}");
    let after = world.look().await;
    assert_eq!((after.status, after.tokens), (before.status, before.tokens), "{what}");
    unavailable(world.token().await);
    assert_eq!(world.http.exchanges().len(), sent_before + 1, "{what}: sent again at once");
    world.http.back_to_ups();
    world.clock.advance(wait);
    let token = world.token().await.expect(what);
    assert_eq!(world.track(&token).await, 200, "{what}");
    let refreshes = world.http.exchanges().split_off(sent_before);
    assert_eq!(refreshes.len(), 2, "{what}");
    assert!(refreshes[0].sent("refresh_token") == refreshes[1].sent("refresh_token"), "{what}: the token differs");
    assert_eq!(world.rotations(), 1, "{what}");
    wait
}

/// Asserts that a refusal of the whole client costs two calls for any number of companies, that all tokens are kept,
/// that each pause is followed by one trial, and that everything works again as soon as UPS does.
pub(crate) async fn assert_breaks_the_client(fault: impl Into<Fault>) {
    let fault = fault.into();
    let what = format!("{fault:?}");
    let world = World::new().await;
    let companies = companies(0..5);
    for company in &companies {
        world.opt_in(company).await;
    }
    world.advance(2 * 3600);
    world.ups.fault(Endpoint::Refresh, fault, Times::UntilCleared);

    let ask_all = async || {
        let mut wait = Duration::MAX;
        for company in &companies {
            wait = wait.min(misconfigured(world.token_of(company).await));
        }
        wait
    };
    let wait = ask_all().await;

    assert_eq!(world.calls(Endpoint::Refresh), 2, "{what}: two companies suffice for all");
    assert!(wait <= Duration::from_secs(30), "{what}: {wait:?}");
    assert_eq!(world.count(EventKind::Misconfigured).await, 2, "{what}");
    assert_all_kept(&world, &companies).await;
    world.advance(30);
    ask_all().await;
    assert_eq!(world.calls(Endpoint::Refresh), 3, "{what}: half-open lets one trial through");
    assert_all_kept(&world, &companies).await;
    world.ups.clear_faults(Endpoint::Refresh);
    world.advance(60);
    for company in &companies {
        assert_eq!(world.token_of(company).await.expect(&what).revision().version, 2, "{what}");
    }
    assert_eq!(world.rotations(), 5, "{what}");
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::SpentRefreshToken), 0, "{what}");
}

pub(crate) async fn assert_all_kept(world: &World, companies: &[CompanyId]) {
    for company in companies {
        assert_authenticated(&world.auth.status(company).await.unwrap());
    }
    assert_eq!(world.count(EventKind::Invalidated).await, 0);
}
