//! Odd pairs: whatever is wrong with a pair, its refresh token is stored before anything else happens.

use std::time::Duration;

use batchsuite_auth::{
    error::Unavailable,
    events::EventKind,
    fake_ups::{Answer, Edit, Endpoint, Fault, Outcome, Times},
    machine::CauseKind,
    status::Status,
};
use serde_json::{Value, json};

use crate::world::{World, assert_authenticated, cause, unavailable};

/// A world whose first pair has this fault, and one whose second pair has it.
pub(crate) async fn both(fault: impl Into<Fault>) -> [World; 2] {
    let fault = fault.into();
    let exchanged = World::new().await;
    exchanged.next(Endpoint::Token, fault.clone());
    let exchanged = exchanged.opted_in().await;
    let refreshed = World::refresh_due().await;
    refreshed.next(Endpoint::Refresh, fault.clone());
    refreshed.token().await.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
    [exchanged, refreshed]
}

/// Asserts that an altered pair is accepted at both endpoints without a reported oddity.
pub(crate) async fn assert_accepted(fault: impl Into<Fault>) {
    let fault = fault.into();
    for world in both(fault.clone()).await {
        assert_good(&world, &format!("{fault:?}")).await;
        assert_eq!(world.count(EventKind::OddAnswer).await, 0, "{fault:?}");
    }
}

/// Asserts that the token is served and works, and that the next refresh succeeds.
async fn assert_good(world: &World, what: &str) {
    let token = world.token().await.expect(what);
    assert_eq!(world.track(&token).await, 200, "{what}");
    assert_authenticated(&world.status().await);
    let rotations = world.rotations();
    world.advance(2 * 3600);
    let next = world.token().await.expect(what);
    assert_eq!(next.revision().version, token.revision().version + 1, "{what}");
    assert_eq!(world.rotations(), rotations + 1, "{what}");
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::SpentRefreshToken), 0, "{what}");
}

/// Asserts that a pair with an unusable access token is kept: the refresh token is stored first, one refresh follows at
/// once, and then a cool-down if the result is no better.
pub(crate) async fn assert_kept_as_expired(edit: Edit, oddity: &str) {
    let what = format!("{edit:?}");
    let exchanged = World::new().await;
    exchanged.next(Endpoint::Token, edit.clone());
    exchanged.next(Endpoint::Refresh, edit.clone());
    let exchanged = exchanged.opted_in().await;
    let refreshed = World::refresh_due().await;
    refreshed.ups.fault(Endpoint::Refresh, edit, Times::Exactly(2));
    for (world, calls) in [(exchanged, 1), (refreshed, 2)] {
        let (reason, wait) = unavailable(world.token().await);

        assert!(matches!(reason, Unavailable::Paused | Unavailable::Unusable), "{what}: {reason:?}");
        assert!((45..=60).contains(&wait.as_secs()), "{what}: {wait:?}");
        assert_eq!(world.calls(Endpoint::Refresh), calls, "{what}");
        assert_authenticated(&world.status().await);
        assert_eq!(world.count(EventKind::OddAnswer).await, 2, "{what}");
        let told = world.last(EventKind::OddAnswer).await.evidence.unwrap().message.unwrap();
        assert!(told.contains(oddity), "{what}: {told}");
        unavailable(world.token().await);
        assert_eq!(world.calls(Endpoint::Refresh), calls, "{what}: no cool-down");
        world.clock.advance(wait);
        let token = world.token().await.expect(&what);
        assert_eq!(world.track(&token).await, 200, "{what}");
        assert_eq!(world.rotations(), calls + 1, "{what}");
        assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::SpentRefreshToken), 0, "{what}");
    }
}

#[tokio::test]
async fn numbers_as_strings_and_as_numbers_are_accepted() {
    for fault in [Fault::from(Edit::default()), Fault::Numbers] {
        assert_accepted(fault.clone()).await;
        for world in both(fault.clone()).await {
            let token = world.token().await.unwrap();
            assert_eq!(world.until(token.expires_at()).num_seconds(), 3599, "{fault:?}");
            let Status::Authenticated { refresh_expires_at, .. } = world.status().await.status else { panic!() };
            assert_eq!(world.until(refresh_expires_at.unwrap()).num_seconds(), 5_183_999, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn expires_in_negative_or_zero_keeps_the_pair_as_expired() {
    for value in [json!("-1"), json!(-14_399), json!("0"), json!(0), json!("-99999999999999999999999"), json!(-0.5)] {
        assert_kept_as_expired(Edit::default().set("expires_in", value), "expired already").await;
    }
}

#[tokio::test]
async fn expires_in_beyond_u64_or_any_date_is_clamped() {
    for value in [
        json!(u64::MAX),
        json!(i64::MAX),
        json!("18446744073709551616"),
        json!("9".repeat(1000)),
        json!(1e300),
        json!("315360001"),
    ] {
        for world in both(Edit::default().set("expires_in", value.clone())).await {
            let token = world.token().await.unwrap();

            assert_eq!(world.until(token.expires_at()).num_days(), 3650, "{value}");
            // UPS ends the token earlier; the API's 401 leads to a new one.
            world.advance(2 * 3600);
            assert_eq!(world.track(&token).await, 401, "{value}");
            let next = world.auth.report_rejected(&world.company, &token).await.unwrap();
            assert_eq!(world.track(&next).await, 200, "{value}");
        }
    }
}

#[tokio::test]
async fn expires_in_missing_keeps_the_pair_and_assumes_1_h() {
    for edit in [Edit::default().remove("expires_in"), Edit::default().set("expires_in", json!(null))] {
        assert_accepted(edit.clone()).await;
        for world in both(edit).await {
            let end = world.token().await.unwrap().expires_at();
            assert_eq!(world.until(end).num_seconds(), 3600);
        }
    }
}

#[tokio::test]
async fn access_token_missing_or_empty_commits_the_refresh_token_first() {
    for edit in [
        Edit::default().remove("access_token"),
        Edit::default().set("access_token", ""),
        Edit::default().set("access_token", json!(null)),
    ] {
        assert_kept_as_expired(edit, "no access token").await;
    }
}

#[tokio::test]
async fn refresh_token_missing_at_exchange_is_stored_and_said() {
    for edit in [Edit::default().remove("refresh_token"), Edit::default().set("refresh_token", "")] {
        let world = World::new().await;
        world.next(Endpoint::Token, edit);
        let world = world.opted_in().await;

        let token = world.token().await.unwrap();

        assert_eq!(world.track(&token).await, 200);
        let Status::Authenticated { refreshable, .. } = world.status().await.status else { panic!() };
        assert!(!refreshable);
        world.advance(3590);
        world.token().await.unwrap();
        world.advance(10);
        let cause = cause(world.token().await);
        assert_eq!(cause.kind, CauseKind::NoRefreshToken);
        assert_eq!(cause.at, Some(token.expires_at()));
        assert_eq!(world.calls(Endpoint::Refresh), 0);
    }
}

#[tokio::test]
async fn refresh_token_missing_at_refresh_keeps_the_old_one() {
    let answer = json!({"access_token": "an-access-token-of-ups", "expires_in": "3599", "token_type": "Bearer"});
    let world = World::refresh_due().await;
    let before = world.look().await.tokens.unwrap().1;
    world.next(Endpoint::Refresh, Answer::status(200).with_json(answer));

    assert!(world.token().await.unwrap().expose_secret() == "an-access-token-of-ups");

    assert!(world.look().await.tokens.unwrap().1 == before);
    assert_eq!(world.status().await.revision.version, 2);
    world.advance(2 * 3600);
    world.token().await.unwrap();
    let sent = world.http.exchanges();
    assert!(sent[1].sent("refresh_token") == before && sent[2].sent("refresh_token") == before);
}

#[tokio::test]
async fn refresh_token_unchanged_is_accepted_as_the_next_version() {
    let world = World::refresh_due().await;
    let before = world.look().await.tokens.unwrap().1;
    world.next(Endpoint::Refresh, Fault::KeepRefreshToken);

    let token = world.token().await.unwrap();

    assert_eq!(token.revision().version, 2);
    assert!(world.look().await.tokens.unwrap().1 == before);
    assert_eq!(world.track(&token).await, 200);
    world.advance(2 * 3600);
    assert_eq!(world.token().await.unwrap().revision().version, 3);
}

#[tokio::test]
async fn token_type_bearer_or_missing_is_accepted() {
    for edit in [
        Edit::default().set("token_type", "bearer"),
        Edit::default().set("token_type", "BEARER"),
        Edit::default().set("token_type", ""),
        Edit::default().remove("token_type"),
    ] {
        assert_accepted(edit).await;
    }
}

#[tokio::test]
async fn token_type_mac_commits_the_refresh_token_and_does_not_use_the_access_token() {
    for kind in ["MAC", "DPoP", "Bearer2"] {
        assert_kept_as_expired(Edit::default().set("token_type", kind), "token type is not Bearer").await;
    }
}

#[tokio::test]
async fn status_201_or_content_type_text_plain_is_accepted() {
    for edit in [
        Edit::default().with_status(201),
        Edit::default().with_status(202),
        Edit::default().with_content_type("text/plain"),
        Edit::default().with_content_type("text/html;charset=utf-8"),
        Edit::default().with_status(203).with_content_type("nonsense"),
    ] {
        assert_accepted(edit).await;
    }
}

#[tokio::test]
async fn refresh_token_expires_in_zero_missing_or_absurd_is_unknown_and_ups_is_asked() {
    let set = |value: Value| Edit::default().set("refresh_token_expires_in", value);
    for edit in [
        set(json!("0")),
        set(json!(0)),
        set(json!("-1")),
        set(json!("soon")),
        set(json!(u64::MAX)),
        set(json!("9".repeat(400))),
        set(json!({})),
        Edit::default().remove("refresh_token_expires_in"),
    ] {
        for world in both(edit.clone()).await {
            let Status::Authenticated { refresh_expires_at, expiring_soon, refreshable } = world.status().await.status
            else {
                panic!("{edit:?}")
            };
            assert_eq!((refresh_expires_at, expiring_soon, refreshable), (None, false, true), "{edit:?}");
            let calls = world.calls(Endpoint::Refresh);
            world.advance(59 * 86_400);
            world.token().await.unwrap_or_else(|error| panic!("{edit:?}: {error:?}"));
            assert_eq!(world.calls(Endpoint::Refresh), calls + 1, "{edit:?}");
        }
    }
}

#[tokio::test]
async fn an_unknown_end_of_a_refresh_token_is_never_told_as_expired() {
    let world = World::new().await;
    world.next(Endpoint::Token, Edit::default().remove("refresh_token_expires_in"));
    let world = world.opted_in().await;
    world.advance(100 * 86_400);
    assert_authenticated(&world.status().await);

    let cause = cause(world.token().await);

    assert_eq!(cause.kind, CauseKind::OptInInvalidated, "UPS's refusal decides, not an unknown end");
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::ExpiredRefreshToken), 1);
}

#[tokio::test]
async fn a_16_kib_access_token_is_accepted() {
    let edit = Edit::default().pad("access_token", 16 * 1024);
    assert_accepted(edit.clone()).await;
    for world in both(edit).await {
        assert_eq!(world.token().await.unwrap().expose_secret().len(), 16 * 1024);
    }
}

/// Asserts that the pair is used and that operators are told.
async fn assert_used_and_told(edit: Edit, oddity: &str) {
    for world in both(edit.clone()).await {
        assert_eq!(world.count(EventKind::OddAnswer).await, 1, "{edit:?}");
        let event = world.last(EventKind::OddAnswer).await;
        assert_eq!(event.company.as_ref(), Some(&world.company), "{edit:?}");
        assert!(event.evidence.unwrap().message.unwrap().contains(oddity), "{edit:?}");
        assert_good(&world, oddity).await;
    }
}

#[tokio::test]
async fn client_id_of_another_commits_the_refresh_token_and_raises_an_operator_event() {
    for client in ["another-client", "FAKE-UPS-CLIENT"] {
        assert_used_and_told(Edit::default().set("client_id", client), "another client id").await;
    }
}

#[tokio::test]
async fn status_not_approved_keeps_the_pair_and_warns() {
    for edit in [
        Edit::default().set("status", "pending"),
        Edit::default().set("refresh_token_status", "revoked"),
        Edit::default().set("status", "denied").set("refresh_token_status", "denied"),
    ] {
        assert_used_and_told(edit, "not approved").await;
    }
}

#[tokio::test]
async fn unknown_fields_of_a_token_answer_are_ignored() {
    let edit = Edit::default()
        .set("id_token", "x".repeat(5000))
        .set("error", "none")
        .set("response", json!({"errors": [{"code": "10400", "message": "Invalid Refresh Token"}]}))
        .set("nested", json!([[{"refresh_token": "another"}], null, 1.5]))
        .set("ACCESS_TOKEN", "another")
        .remove("scope")
        .remove("refresh_count");
    assert_accepted(edit).await;
}

#[tokio::test]
async fn an_unusable_pair_again_and_again_is_paused_for_longer_and_longer() {
    let world = World::refresh_due().await;
    world.ups.fault(Endpoint::Refresh, Edit::default().set("expires_in", "0"), Times::UntilCleared);

    let mut waits = Vec::new();
    for _ in 0..10 {
        let wait = unavailable(world.token().await).1;
        waits.push(wait);
        world.clock.advance(wait);
    }

    assert!(waits[3] > waits[0] * 2, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(3600)), "{waits:?}");
    assert_eq!(world.calls(Endpoint::Refresh), 11, "one more than there are pauses");
}
