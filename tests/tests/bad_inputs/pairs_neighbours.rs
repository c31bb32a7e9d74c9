//! More inputs of the families in `pairs.rs` and `unanswered.rs`.

use batchsuite_auth::{
    events::EventKind,
    fake_ups::{Answer, Edit, Endpoint, Outcome},
    status::Status,
};
use serde_json::{Value, json};

use crate::{
    errors::assert_unknown,
    pairs::{assert_accepted, assert_kept_as_expired, both},
    unanswered::assert_all_unanswered,
    world::{World, assert_authenticated},
};

#[tokio::test]
async fn json_that_is_no_object_is_unanswered() {
    let pair = r#"{"access_token":"one","refresh_token":"two"}"#;
    let bodies = [format!("[{pair}]"), "null".into(), "true".into(), "7".into(), format!("\"{pair}\""), "[]".into()];
    assert_all_unanswered(bodies.map(|body| Answer::status(200).with_body(body).into())).await;
}

#[tokio::test]
async fn status_408_and_statuses_beyond_http_are_unanswered() {
    assert_all_unanswered([408, 300, 304, 505, 511, 599].map(|status| Answer::status(status).into())).await;
}

#[tokio::test]
async fn an_access_token_that_no_header_can_carry_is_not_used() {
    for token in
        [json!("a\r\nb"), json!("a\u{0}b"), json!("é"), json!(["a"]), json!({"a": 1}), json!(7), json!("a b\n")]
    {
        assert_kept_as_expired(Edit::default().set("access_token", token), "no access token").await;
    }
}

/// Asserts that a whole answer, as text that no JSON library would write, is accepted.
async fn assert_pair_in(body: &str) {
    let pair = r#""access_token":"an-access-token","refresh_token":"a-refresh-token","token_type":"Bearer","expires_in":"3599""#;
    let body = body.replace("PAIR", pair);
    let world = World::refresh_due().await;
    world.next(Endpoint::Refresh, Answer::status(200).with_body(body.clone()));

    let token = world.token().await.unwrap_or_else(|error| panic!("{body:?}: {error:?}"));

    assert!(token.expose_secret() == "an-access-token", "{body:?}");
    let stored = world.look().await.tokens.unwrap();
    assert!(stored.1.as_deref() == Some("a-refresh-token"), "{body:?}: the refresh token was lost");
    assert_eq!(world.count(EventKind::RefreshUnanswered).await, 0);
}

#[tokio::test]
async fn a_byte_order_mark_or_space_around_the_json_is_no_fault() {
    for body in ["\u{feff}{PAIR}", " \r\n\t{PAIR}\n\n", "\u{feff}\n{PAIR}"] {
        assert_pair_in(body).await;
    }
}

#[tokio::test]
async fn a_field_beyond_all_bounds_does_not_cost_the_pair() {
    let deep = format!("{{PAIR,\"deep\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for body in [
        r#"{PAIR,"refresh_count":1e400}"#,
        r#"{PAIR,"refresh_token_expires_in":1e999999}"#,
        r#"{PAIR,"refresh_count":-123456789012345678901234567890}"#,
        r#"{PAIR,"scope":"\ud800"}"#,
        &deep,
    ] {
        assert_pair_in(body).await;
    }
}

#[tokio::test]
async fn a_key_that_comes_twice_does_not_cost_the_pair() {
    for body in [
        r#"{"expires_in":"0",PAIR}"#,
        r#"{PAIR,"scope":"read","scope":"write"}"#,
        r#"{"refresh_token":"a-refresh-token",PAIR}"#,
    ] {
        assert_pair_in(body).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_utf8_in_another_field_do_not_cost_the_pair() {
    let mut body = br#"{"access_token":"an-access-token","refresh_token":"a-refresh-token","scope":""#.to_vec();
    body.extend(b"caf\xe9\"}");
    let world = World::refresh_due().await;
    world.next(Endpoint::Refresh, Answer::status(200).with_bytes(body));

    assert!(world.token().await.unwrap().expose_secret() == "an-access-token");
    assert!(world.look().await.tokens.unwrap().1.as_deref() == Some("a-refresh-token"));
}

#[tokio::test]
async fn an_expires_in_beyond_all_bounds_is_clamped() {
    let body = r#"{"access_token":"an-access-token","refresh_token":"a-refresh-token","expires_in":EXPIRES}"#;
    for expires in ["1e400", "18446744073709551616", "1e19", "123456789012345678901234567890"] {
        let world = World::refresh_due().await;
        world.next(Endpoint::Refresh, Answer::status(200).with_body(body.replace("EXPIRES", expires)));

        let token = world.token().await.unwrap_or_else(|error| panic!("{expires}: {error:?}"));

        assert_eq!(world.until(token.expires_at()).num_days(), 3650, "{expires}");
    }
}

#[tokio::test]
async fn a_16_kib_refresh_token_is_kept_whole() {
    let world = World::new().await;
    let long = "r".repeat(16 * 1024);
    world.next(Endpoint::Token, Edit::default().set("refresh_token", long.clone()));
    let world = world.opted_in().await;
    world.advance(2 * 3600);
    let _ = world.token().await;

    assert!(world.http.exchanges()[1].sent("refresh_token") == Some(long));
}

#[tokio::test]
async fn an_issued_at_that_cannot_be_is_no_fault() {
    for value in
        [json!("-1"), json!(-1_706_710_138_962_i64), json!(0), json!("soon"), json!(u64::MAX), json!({}), json!(1e300)]
    {
        assert_accepted(Edit::default().set("issued_at", value.clone()).set("refresh_token_issued_at", value)).await;
    }
}

#[tokio::test]
async fn an_issued_at_far_ahead_does_not_shut_out_the_next_consent() {
    for ahead in ["4102444800000", "1799999999999"] {
        let world = World::new().await;
        world.next(Endpoint::Token, Edit::default().set("issued_at", ahead));
        let world = world.opted_in().await;
        world.advance(60);

        world.opt_in(&world.company).await;

        assert_eq!(world.status().await.revision.epoch, 2, "{ahead}: the new grant was discarded");
    }
}

#[tokio::test]
async fn lifetimes_in_other_spellings_are_read_or_assumed() {
    let set = |value: Value| Edit::default().set("expires_in", value);
    for edit in
        [set(json!("3599.5")), set(json!(3599.5)), set(json!(" 3599 ")), set(json!("+3599")), set(json!("0x10"))]
    {
        for world in both(edit.clone()).await {
            let lifetime = world.until(world.token().await.unwrap().expires_at());
            assert!((3598..=3600).contains(&lifetime.num_seconds()), "{edit:?}: {lifetime}");
        }
    }
}

#[tokio::test]
async fn an_error_body_of_60_kib_is_judged_and_cut() {
    let message = "m".repeat(60 * 1024);
    assert_unknown([Answer::status(400).with_json(json!({"message": message.clone()}))]).await;
    let world = World::refresh_due().await;
    let body = json!({"error": "invalid_grant", "error_description": message});
    world.next(Endpoint::Refresh, Answer::status(400).with_json(body));

    world.token().await.unwrap_err();

    let evidence = world.last(EventKind::Invalidated).await.evidence.unwrap();
    assert_eq!(evidence.message.unwrap().len(), 200);
}

#[tokio::test]
async fn a_message_with_control_or_invisible_characters_is_kept_printable() {
    let world = World::refresh_due().await;
    let body = json!({"code": "10\n400", "message": "a\r\nb\u{1b}[31m\u{202e}c\u{0}\u{200b}d"});
    world.next(Endpoint::Refresh, Answer::status(400).with_json(body));

    world.token().await.unwrap_err();

    let evidence = world.last(EventKind::Misconfigured).await.evidence.unwrap();
    assert_eq!(evidence.code.as_deref(), Some("10 400"));
    assert_eq!(evidence.message.as_deref(), Some("a  b [31m c  d"));
}

#[tokio::test]
async fn retry_after_twice_is_the_first() {
    let world = World::refresh_due().await;
    let answer = http::Response::builder().status(429).header("retry-after", "7").header("retry-after", "3000");
    world.http.answer_next(Ok(answer.body(Vec::new()).unwrap()));

    let wait = crate::steps::assert_retried(&world, batchsuite_auth::error::Unavailable::RateLimited, "twice").await;

    assert_eq!(wait.as_secs(), 7);
}

#[tokio::test]
async fn a_pair_after_a_removal_is_discarded() {
    let world = World::refresh_due().await;
    let held = world.http.hold_answer();

    let (outcome, ()) = tokio::join!(world.token(), async {
        held.reached().await;
        world.auth.remove_auth(&world.company, &world.actor).await.unwrap();
        held.release();
    });

    assert!(outcome.unwrap_err().needs_reauthorization());
    let after = world.look().await;
    assert_eq!((after.status.status, after.tokens), (Status::Unauthenticated, None));
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::Ok), 1);
}

#[tokio::test]
async fn a_pair_after_a_new_consent_is_discarded_and_the_new_grant_stays() {
    let world = World::refresh_due().await;
    let held = world.http.hold_answer();

    let (outcome, ()) = tokio::join!(world.token(), async {
        held.reached().await;
        world.opt_in(&world.company).await;
        held.release();
    });

    let token = outcome.unwrap();
    assert_eq!((token.revision().epoch, token.revision().version), (2, 1));
    assert_eq!(world.track(&token).await, 200);
    assert_authenticated(&world.status().await);
}
