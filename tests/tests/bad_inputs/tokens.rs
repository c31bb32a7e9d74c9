//! Irregular refresh tokens and dates of issue: nothing is lost silently.

use batchsuite_auth::{
    events::EventKind,
    fake_ups::{Answer, Edit, Endpoint},
    machine::CauseKind,
    status::Status,
};
use serde_json::json;

use crate::{
    pairs::both,
    world::{World, assert_authenticated, cause},
};

/// An answer with these bytes as its refresh token.
fn with_refresh_token(raw: &[u8]) -> Answer {
    let head = br#"{"access_token":"an-access-token","token_type":"Bearer","expires_in":"3599","refresh_token":"#;
    let body = [head, raw, b"}"].concat();
    Answer::status(200).with_bytes(body)
}

async fn assert_told(world: &World, oddity: &str, what: &str) {
    assert_eq!(world.count(EventKind::OddAnswer).await, 1, "{what}");
    let told = world.last(EventKind::OddAnswer).await.evidence.unwrap().message.unwrap();
    assert!(told.contains(oddity), "{what}: {told}");
}

#[tokio::test]
async fn a_refresh_token_that_can_be_sent_is_kept_and_told() {
    for (raw, token) in [
        (&b"7"[..], "7"),
        (b"12345678901234567890123456789012345678901234567890", "12345678901234567890123456789012345678901234567890"),
        (br#""a\u0000b\r\nc""#, "a\0b\r\nc"),
    ] {
        let what = String::from_utf8_lossy(raw);
        for world in both(with_refresh_token(raw)).await {
            world.token().await.unwrap();
            assert_told(&world, "refresh token is a number, or holds control characters", &what).await;

            world.advance(2 * 3600);
            let _ = world.token().await;

            let sent = world.http.exchanges().pop().unwrap().sent("refresh_token");
            assert!(sent.as_deref() == Some(token), "{what}: {sent:?}");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_that_cannot_be_sent_is_told_and_never_the_spent_one() {
    for raw in [&br#"{"token":"x"}"#[..], br#"["x"]"#, b"true", b"\"caf\xe9\"", b"\"a\xff\"", br#""\ud800""#] {
        let what = String::from_utf8_lossy(raw);
        for world in both(with_refresh_token(raw)).await {
            let calls = world.calls(Endpoint::Refresh);
            let token = world.token().await.unwrap();
            assert_told(&world, "not renewable", &what).await;
            let status = world.status().await.status;
            assert!(matches!(status, Status::Authenticated { refreshable: false, .. }), "{what}: {status:?}");
            assert_eq!(world.look().await.tokens.unwrap().1, None, "{what}");

            world.advance(2 * 3600);

            let cause = cause(world.token().await);
            assert_eq!((cause.kind, cause.at), (CauseKind::NoRefreshToken, Some(token.expires_at())), "{what}");
            assert_eq!(world.calls(Endpoint::Refresh), calls, "{what}: the spent token was sent");
            world.opt_in(&world.company).await;
            world.token().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_token_that_is_there_twice_is_the_last_one_and_told() {
    let pair = r#""access_token":"an-access-token","refresh_token":"a-refresh-token","token_type":"Bearer""#;
    for body in [
        format!(r#"{{"refresh_token":"the-first-of-two",{pair}}}"#),
        format!(r#"{{"access_token":"the-first-of-two",{pair}}}"#),
        format!(r#"{{{pair},"refresh_token":null}}"#),
        format!(r#"{{{pair},"expires_in":"1","expires_in":"3599"}}"#),
    ] {
        for world in both(Answer::status(200).with_body(body.clone())).await {
            assert!(world.token().await.unwrap().expose_secret() == "an-access-token", "{body}");
            assert!(world.look().await.tokens.unwrap().1.as_deref() == Some("a-refresh-token"), "{body}");
            assert_told(&world, "twice", &body).await;
        }
    }
}

#[tokio::test]
async fn an_issued_at_that_cannot_be_is_ignored_alone() {
    for issued_at in [json!("4102444800000"), json!(4_102_444_800_000_u64), json!("1"), json!("32503680000000")] {
        for world in both(Edit::default().set("issued_at", issued_at.clone())).await {
            let Status::Authenticated { refresh_expires_at, expiring_soon, .. } = world.status().await.status else {
                panic!("{issued_at}")
            };
            assert_eq!(world.until(refresh_expires_at.unwrap()).num_seconds(), 5_183_999, "{issued_at}");
            assert!(!expiring_soon);
            assert_eq!(world.until(world.token().await.unwrap().expires_at()).num_seconds(), 3599, "{issued_at}");
        }
    }
}

#[tokio::test]
async fn a_person_who_has_just_consented_gets_that_opt_in_whatever_the_dates() {
    // The offset of UPS's clock in milliseconds, at the first consent and at the second.
    let hour = 3_600_000;
    for (first, second) in [
        (23 * hour, 0),
        (0, -23 * hour),
        (240_000, 0),
        (0, -240_000),
        (240_000, -240_000),
        (-23 * hour, 23 * hour),
        (70 * 365 * 24 * hour, 0),
        (0, 0),
    ] {
        let world = World::new().await;
        let dated = |ahead: i64| (world.now().timestamp_millis() + ahead).to_string();
        world.next(Endpoint::Token, Edit::default().set("issued_at", dated(first)));
        world.opt_in(&world.company).await;
        let before = world.look().await.tokens.unwrap();
        world.advance(60);
        world.next(Endpoint::Token, Edit::default().set("issued_at", dated(second)));

        world.opt_in(&world.company).await;

        let after = world.look().await.tokens.unwrap();
        assert!(after != before, "{first} {second}: the new grant was discarded");
        assert_eq!(world.status().await.revision.epoch, 2, "{first} {second}");
        assert_authenticated(&world.status().await);
        assert_eq!(world.track(&world.token().await.unwrap()).await, 200, "{first} {second}");
    }
}
