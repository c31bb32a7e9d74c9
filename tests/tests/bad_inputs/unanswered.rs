//! Answers that do not reveal UPS's action.

use std::io::Write as _;

use batchsuite_auth::{
    Client,
    error::Unavailable,
    events::EventKind,
    fake_ups::{Answer, Edit, Endpoint, FakeUps, Fault, Times},
    machine::CauseKind,
};
use batchsuite_tests::eventually;
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    steps::{Ups, assert_lost, assert_unanswered_exchange, assert_unanswered_refresh},
    world::{World, assert_authenticated, cause, unavailable},
};

/// Asserts that each answer is unanswered, at both endpoints. UPS rotates before an [`Edit`] or a fault in transit;
/// other faults replace its action.
pub(crate) async fn assert_all_unanswered(faults: impl IntoIterator<Item = Fault>) {
    join_all(faults.into_iter().map(async |fault| {
        let did = match fault {
            Fault::Edit(_) | Fault::DropAnswer | Fault::Truncate { .. } | Fault::Trickle { .. } => Ups::Rotated,
            _ => Ups::DidNotRotate,
        };
        assert_unanswered_refresh(&World::refresh_due().await, fault.clone(), did).await;
        assert_unanswered_exchange(&World::authenticated().await, fault).await;
    }))
    .await;
}

#[tokio::test]
async fn no_refresh_token_and_no_usable_access_token_is_unanswered() {
    let no_refresh_token = || Edit::default().remove("refresh_token");
    assert_all_unanswered([
        no_refresh_token().remove("access_token").into(),
        no_refresh_token().set("access_token", "").into(),
        no_refresh_token().set("access_token", json!(null)).into(),
        no_refresh_token().set("token_type", "MAC").into(),
        no_refresh_token().set("expires_in", "0").into(),
        no_refresh_token().set("expires_in", "-1").into(),
        Edit::default().set("refresh_token", "").remove("access_token").into(),
        Answer::status(200).with_json(json!({})).into(),
        Answer::status(201).with_json(json!({"status": "approved", "expires_in": "3599"})).into(),
    ])
    .await;
}

#[tokio::test]
async fn truncated_json_html_empty_200_and_204_are_unanswered() {
    let html = "<!DOCTYPE html><html><body>Please try again later</body></html>";
    assert_all_unanswered([
        // Truncated within a complete response, and by a connection that closes early.
        Edit::default().cut(1).into(),
        Edit::default().cut(40).into(),
        Fault::Truncate { keep_bytes: 40 },
        Fault::Truncate { keep_bytes: 0 },
        Edit::default().with_body(html).with_content_type("text/html").into(),
        Answer::status(200).with_body(html).into(),
        Edit::default().with_body("").into(),
        Answer::status(200).into(),
        Answer::status(204).into(),
        Edit::default().with_status(204).with_body("").into(),
    ])
    .await;
}

#[tokio::test]
async fn a_10_mb_body_and_a_gzip_bomb_are_unanswered() {
    // Decompressed, the body would be a pair; compressed, it is far below any size limit.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(br#"{"access_token":"bomb","refresh_token":"bomb","expires_in":"3599","x":""#).unwrap();
    bomb.write_all(&vec![b'x'; 10 << 20]).unwrap();
    bomb.write_all(br#""}"#).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 64 * 1024);
    let bomb = Answer::status(200).with_bytes(bomb);

    assert_all_unanswered([
        Answer::status(200).with_fill(10 << 20).into(),
        Edit::default().pad("access_token", 10 << 20).into(),
        bomb.with_header("content-encoding", "gzip").with_content_type("application/json").into(),
    ])
    .await;
}

#[tokio::test]
async fn a_redirect_from_token_or_refresh_is_unanswered() {
    let other = batchsuite_auth::fake_ups::FakeUps::start().await;
    let before = other.requests();
    let faults = [301, 302, 303, 307, 308].into_iter().flat_map(|status| {
        ["token", "refresh"].map(|endpoint| Fault::Redirect {
            status,
            location: other.base_url().join(&format!("/security/v1/oauth/{endpoint}")).unwrap().into(),
        })
    });

    assert_all_unanswered(faults.chain([Fault::ErrorPage])).await;

    assert_eq!(other.requests(), before, "the other host was asked");
}

#[tokio::test]
async fn status_500_502_503_504_is_unanswered() {
    let html = "<html><body><h1>Bad Gateway</h1></body></html>";
    let refusal = json!({"response": {"errors": [{"code": "10400", "message": "Invalid Refresh Token"}]}});
    let faults = [500, 502, 503, 504].into_iter().flat_map(|status| {
        [
            Fault::from(Answer::status(status)),
            Answer::status(status).with_body(html).into(),
            // The words of a failing server about a token prove nothing.
            Answer::status(status).with_json(refusal.clone()).into(),
            Edit::default().with_status(status).with_body("").into(),
        ]
    });

    assert_all_unanswered(faults.chain([Fault::Unavailable])).await;
}

#[tokio::test]
async fn an_outage_of_hours_at_ups_ends_with_the_opt_in_alive() {
    let world = World::refresh_due().await;
    world.ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::UntilCleared);
    let started = world.now();

    while world.now() - started < chrono::TimeDelta::hours(5) {
        let (reason, wait) = unavailable(world.token().await);
        assert_eq!(reason, Unavailable::Unanswered);
        world.clock.advance(wait);
    }

    assert_authenticated(&world.status().await);
    let probes = world.calls(Endpoint::Refresh);
    assert!((10..100).contains(&probes), "{probes} probes in five hours: too few, or no back-off");
    world.ups.clear_faults(Endpoint::Refresh);
    world.advance(12 * 60);
    world.token().await.unwrap();
    assert_eq!(world.rotations(), 1);
}

#[tokio::test]
async fn a_refusal_after_a_probe_is_told_as_lost_for_the_rest_of_the_opt_in() {
    // The probe brought a pair, but a later refusal may still be an echo of that race.
    let world = World::refresh_due().await;
    world.next(Endpoint::Refresh, Answer::status(503));
    unavailable(world.token().await);
    world.advance(62);
    world.token().await.unwrap();
    world.ups.change_password(FakeUps::USER);
    world.advance(2 * 3600);

    let cause = cause(world.token().await);

    assert_eq!(cause.kind, CauseKind::RotationLost);
}

#[tokio::test]
async fn an_access_token_that_still_works_is_served_whatever_becomes_of_its_refresh() {
    let refusal = json!({"error": "nobody has described this"});
    for (fault, expected) in [
        (Fault::Unavailable, Some(EventKind::RefreshUnanswered)),
        (Fault::DropAnswer, Some(EventKind::RefreshUnanswered)),
        (Fault::InvalidClient, Some(EventKind::Misconfigured)),
        (Fault::Blocked, Some(EventKind::Misconfigured)),
        (Answer::status(400).with_json(refusal).into(), Some(EventKind::Misconfigured)),
        (Fault::TooManyRequests { retry_after: None }, None),
    ] {
        let world = World::authenticated().await;
        world.next(Endpoint::Refresh, fault.clone());
        world.advance(3180);

        let early = world.token().await.unwrap();

        let what = format!("{fault:?}");
        eventually(&what, async || match expected {
            Some(kind) => world.count(kind).await == 1,
            None => world.calls(Endpoint::Refresh) == 1,
        })
        .await;
        world.advance(300);
        assert_eq!(world.token().await.unwrap().revision(), early.revision(), "{what}");
        // A process without a cached token gets it, too.
        let other = world.another_process(Client::new(world.ups.client_id(), world.ups.client_secret()));
        assert_eq!(other.auth.access_token(&world.company).await.unwrap().revision(), early.revision(), "{what}");
        assert_eq!(world.track(&early).await, 200, "{what}");
    }
}

#[tokio::test]
async fn after_a_lost_rotation_the_access_token_is_served_until_it_ends() {
    let world = World::authenticated().await;
    world.next(Endpoint::Refresh, Fault::DropAnswer);
    world.advance(3180);
    let token = world.token().await.unwrap();
    eventually("the silence", async || world.count(EventKind::RefreshUnanswered).await == 1).await;
    world.advance(90);
    world.token().await.unwrap();
    eventually("the verdict", async || world.count(EventKind::Invalidated).await == 1).await;

    let still = world.token().await.unwrap();

    assert_eq!(still.revision(), token.revision());
    world.advance(600);
    assert_lost(&cause(world.token().await), "after its end");
    assert_eq!(world.calls(Endpoint::Refresh), 2);
}
