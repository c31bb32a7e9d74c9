//! Wrong clocks, stopped processes, and an unavailable store.

use std::time::Duration;

use batchsuite_auth::{
    Client,
    error::{TokenError, Unavailable},
    events::EventKind,
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Outcome},
    machine::CauseKind,
    status::Status,
    test_util::ManualClock,
};
use batchsuite_tests::{Verb, eventually};
use chrono::TimeDelta;

use crate::{
    steps::assert_lost,
    world::{LEASE, World, assert_authenticated, cause, unavailable},
};

/// A service with its own clock. UPS's clock does not move.
async fn apart() -> World {
    World::with(|setup| setup.clock = Some(ManualClock::new())).await.opted_in().await
}

fn jump(world: &World, hours: i64) {
    world.clock.set(world.now() + TimeDelta::hours(hours));
}

const YEAR: i64 = 366 * 24;

#[tokio::test]
async fn a_clock_that_jumps_makes_one_refresh_and_nothing_outlives_it() {
    // Five hours ahead, and back again.
    let world = apart().await;
    for (hours, version) in [(5, 2), (-5, 3)] {
        jump(&world, hours);
        for _ in 0..5 {
            assert_eq!(world.token().await.unwrap().revision().version, version, "{hours} hours");
        }
        assert_eq!(world.track(&world.token().await.unwrap()).await, 200);
    }
    assert_eq!(world.calls(Endpoint::Refresh), 2);
    // The pair fetched with the correct clock stays in use.
    world.advance(1800);
    world.ups.advance(Duration::from_secs(1800));
    assert_eq!(world.token().await.unwrap().revision().version, 3);

    // A year ahead and back: the expiry is derived and not recorded.
    let world = apart().await;
    let before = world.look().await;
    jump(&world, YEAR);
    assert_eq!(cause(world.token().await).kind, CauseKind::RefreshExpired);
    assert!(
        matches!(world.status().await.status, Status::ReauthRequired(cause) if cause.kind == CauseKind::RefreshExpired)
    );
    jump(&world, -YEAR);
    assert_eq!(world.token().await.unwrap().revision().version, 1);
    assert_eq!(world.look().await, before);

    // A year back, and ahead again.
    jump(&world, -YEAR);
    world.token().await.unwrap();
    jump(&world, YEAR);
    world.token().await.unwrap();
    assert_authenticated(&world.status().await);
    assert!(world.calls(Endpoint::Refresh) <= 2);
}

#[tokio::test]
async fn no_pause_outlives_a_clock_that_ran_ahead() {
    let limited = Fault::TooManyRequests { retry_after: Some("3600".to_owned()) };
    for fault in [limited, Fault::InvalidClient, Fault::Unavailable, Answer::status(400).into(), Fault::Blocked] {
        let what = format!("{fault:?}");
        let world = apart().await;
        jump(&world, 24 * 30);
        world.next(Endpoint::Refresh, fault);
        world.token().await.unwrap_err();
        jump(&world, -24 * 30);

        // The first token is still valid, so the caller does not wait.
        let token = world.token().await.expect(&what);

        assert_eq!(world.track(&token).await, 200, "{what}");
        // A refresh does not wait for a month.
        world.advance(2 * 3600);
        for _ in 0..4 {
            if let Err(error) = world.token().await {
                assert!(error.retry_after().unwrap() <= Duration::from_secs(2 * 3600), "{what}: {error:?}");
                world.clock.advance(error.retry_after().unwrap());
            }
        }
        world.token().await.expect(&what);
        assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::SpentRefreshToken), 0, "{what}");
    }
}

#[tokio::test]
async fn a_clock_at_the_end_of_time_does_not_panic() {
    for seconds in [8_000_000_000_000, -8_000_000_000_000, 253_402_300_799] {
        let world = apart().await;
        let there = batchsuite_auth::clock::Timestamp::from_timestamp(seconds, 0).unwrap();
        let here = world.now();
        world.clock.set(there);
        let _ = world.token().await;
        let _ = world.status().await;
        let trip = world.auth.authenticate(&world.company, &world.actor).await.unwrap();
        let query = world.ups.consent(&trip.url, FakeUps::USER).await;
        let _ = world.auth.callback(&world.actor, query, &trip.browser_secret).await;
        world.clock.set(here);

        let token = world.token().await.unwrap();

        assert_eq!(world.track(&token).await, 200, "{seconds}");
    }
}

#[tokio::test]
async fn a_process_stopped_past_its_lease_loses_no_pair_and_tells_no_false_reauth() {
    // Stopped before its request was sent: another process rotates, and the refusal of the late request proves nothing.
    let world = World::refresh_due().await;
    let other = world.another_process(Client::new(world.ups.client_id(), world.ups.client_secret()));
    let stopped = world.http.hold_request();
    let (continued, ()) = tokio::join!(world.token(), async {
        stopped.reached().await;
        world.clock.advance(LEASE * 2);
        other.auth.access_token(&world.company).await.unwrap();
        stopped.release();
    });
    assert_eq!(continued.unwrap().revision().version, 2);
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::SpentRefreshToken), 1);
    assert_eq!(world.count(EventKind::Invalidated).await, 0);

    // Stopped with the new pair in hand: no other process can know the pair, but it is not lost.
    let world = World::refresh_due().await;
    let other = world.another_process(Client::new(world.ups.client_id(), world.ups.client_secret()));
    let stopped = world.http.hold_answer();
    let (continued, ()) = tokio::join!(world.token(), async {
        stopped.reached().await;
        world.clock.advance(LEASE * 2);
        assert_lost(&cause(other.auth.access_token(&world.company).await), "never as a password change");
        stopped.release();
    });
    let token = continued.unwrap();
    assert_eq!(world.track(&token).await, 200);
    assert_authenticated(&world.status().await);
    assert_eq!(world.count(EventKind::Recovered).await, 1);
    world.advance(2 * 3600);
    other.auth.access_token(&world.company).await.unwrap();
    assert_eq!(world.rotations(), 2);
}

/// Callers are told after 100 ms that they have to wait.
async fn with_impatient_callers() -> World {
    World::with(|setup| setup.policy.max_wait = Duration::from_millis(100)).await
}

#[tokio::test]
async fn a_pair_is_held_while_the_database_is_away_then_stored() {
    let world = with_impatient_callers().await.opted_in().await;
    world.advance(2 * 3600);
    let held = world.http.hold_answer();
    let caller = tokio::join!(world.token(), async {
        held.reached().await;
        world.store.go_away();
        held.release();
    });

    let (reason, _) = unavailable(caller.0);

    assert_eq!(reason, Unavailable::UnderWay);
    // Later tries read the row first, because an earlier try may have been written.
    let tries = || world.store.failures(Verb::Commit) + world.store.failures(Verb::Load);
    eventually("the store is called repeatedly", async || tries() >= 3).await;
    assert!(world.token().await.unwrap_err().is_transient(), "no caller gets an unstored token");
    world.store.come_back();
    let token = eventually("the pair is stored", async || world.token().await.ok()).await;
    assert_eq!(token.revision().version, 2);
    assert!(Some(token.expose_secret()) == world.http.exchanges()[1].received("access_token").as_deref());
    assert_eq!((world.calls(Endpoint::Refresh), world.rotations()), (1, 1));
    assert_eq!(world.count(EventKind::Refreshed).await, 1);
}

#[tokio::test]
async fn the_first_pair_is_held_while_the_database_is_away_then_stored() {
    let world = World::new().await;
    let back = world.back().await;
    let held = world.http.hold_answer();

    let (done, ()) = tokio::join!(world.callback(&back), async {
        held.reached().await;
        world.store.go_away();
        held.release();
        eventually("the store is called again", async || world.store.failures(Verb::Load) >= 3).await;
        world.store.come_back();
    });

    done.unwrap();
    assert_eq!(world.track(&world.token().await.unwrap()).await, 200);
    assert_eq!(world.calls(Endpoint::Token), 1);
    assert_eq!(world.count(EventKind::Authenticated).await, 1);
}

#[tokio::test]
async fn nothing_is_sent_while_the_database_is_away() {
    let world = World::authenticated().await;
    let back = world.back().await;
    let requests = world.ups.requests();
    world.store.go_away();
    world.token().await.expect("cached tokens are served during an outage");
    world.advance(2 * 3600);

    let error = world.token().await.unwrap_err();

    assert!(matches!(error, TokenError::Store(_)) && error.is_transient(), "{error:?}");
    let error = world.callback(&back).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(world.ups.requests(), requests);
    world.store.come_back();
    world.token().await.unwrap();
}

#[tokio::test]
async fn a_verdict_is_kept_while_the_database_is_away() {
    let world = with_impatient_callers().await.opted_in().await;
    world.advance(2 * 3600);
    world.ups.change_password(FakeUps::USER);
    let held = world.http.hold_answer();
    let caller = tokio::join!(world.token(), async {
        held.reached().await;
        world.store.go_away();
        held.release();
    });
    unavailable(caller.0);
    world.store.come_back();

    let error = eventually("the verdict is written", async || {
        world.token().await.err().filter(TokenError::needs_reauthorization)
    })
    .await;

    assert_eq!(cause(Err(error)).kind, CauseKind::OptInInvalidated);
    assert_eq!(world.calls(Endpoint::Refresh), 1);
}
