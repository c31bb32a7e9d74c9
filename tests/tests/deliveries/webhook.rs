//! The webhook, at a receiver on this machine.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use batchsuite_auth::{
    DeliveryEnded, Environment, EventId, EventKind,
    adapters::webhook::{Webhook, WebhookBuilder, WebhookSecret},
    clock::{Clock as _, SystemClock},
    store::{Prune, Store as _},
};
use batchsuite_tests::{Posted, Process, WebhookReceiver, acme, ada, events, log::Log, opt_in, seconds};
use serde_json::json;

use crate::stage::{CONSUMER, Stage, happen};

const SECRET: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

fn secret(number: usize) -> WebhookSecret {
    WebhookSecret::new(SECRET[number]).unwrap()
}

fn webhook(receiver: &WebhookReceiver) -> WebhookBuilder {
    Webhook::builder(receiver.url(), secret(0)).allow_loopback_http()
}

/// A process that delivers to the receiver.
async fn delivering(
    stage: &Stage,
    receiver: &WebhookReceiver,
    set_up: impl FnOnce(WebhookBuilder) -> WebhookBuilder,
) -> (Process, batchsuite_auth::DeliveryHandle) {
    let process = stage.process();
    let delivery = process.auth.deliver(CONSUMER, set_up(webhook(receiver)).build().unwrap()).unwrap();
    delivery.begun().await;
    (process, delivery)
}

/// Whether a signature of the request is that of the secret, as a receiver checks it.
fn is_signed(posted: &Posted, secret: &str) -> bool {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let signed = format!("{}.{}.{}", posted.header("webhook-id"), posted.header("webhook-timestamp"), posted.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    posted.header("webhook-signature").split(' ').filter_map(|one| one.strip_prefix("v1,")).any(|signature| {
        STANDARD.decode(signature).is_ok_and(|tag| hmac::verify(&key, signed.as_bytes(), &tag).is_ok())
    })
}

#[tokio::test]
async fn each_event_is_posted_as_json_and_signed() {
    let (stage, receiver) = (Stage::new().await, WebhookReceiver::start().await);
    let (process, _) = delivering(&stage, &receiver, |webhook| webhook).await;
    let before = SystemClock.now().timestamp();

    opt_in(&process.auth, &stage.ups, &acme()).await;
    let posted = receiver.reached(2).await;

    let log = events(&process.auth, None).await;
    assert_eq!(posted.len(), log.len());
    for (posted, event) in posted.iter().zip(&log) {
        assert!(posted.head.starts_with("POST /hooks/canary-path HTTP/1.1\r\n"), "{}", posted.head);
        assert_eq!(posted.json(), serde_json::to_value(event).unwrap());
        assert_eq!(posted.header("webhook-id"), event.stable_id());
        assert_eq!(posted.header("content-type"), "application/json");
        let sent: i64 = posted.header("webhook-timestamp").parse().unwrap();
        assert!((before..=SystemClock.now().timestamp()).contains(&sent));
        assert!(is_signed(posted, SECRET[0]) && !is_signed(posted, SECRET[1]));
        let forged = Posted { body: posted.body.replace("acme", "evil"), ..posted.clone() };
        assert!(!is_signed(&forged, SECRET[0]));
    }
}

#[tokio::test]
async fn while_a_secret_is_replaced_either_signs() {
    let (stage, receiver) = (Stage::new().await, WebhookReceiver::start().await);
    let (process, _) = delivering(&stage, &receiver, |webhook| webhook.also_signed_with(secret(1))).await;

    happen(&process, &["acme"]).await;
    let posted = &receiver.reached(1).await[0];

    assert!(is_signed(posted, SECRET[0]) && is_signed(posted, SECRET[1]));
}

#[tokio::test]
async fn only_the_wanted_kinds_are_posted() {
    let (stage, receiver) = (Stage::new().await, WebhookReceiver::start().await);
    let (process, _) = delivering(&stage, &receiver, |webhook| webhook.kinds([EventKind::Removed])).await;

    opt_in(&process.auth, &stage.ups, &acme()).await;
    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    let posted = receiver.reached(1).await;

    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].json()["kind"], "removed");
}

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_event_again_under_the_same_id() {
    let (stage, receiver) = (Stage::new().await, WebhookReceiver::start().await);
    let elsewhere = WebhookReceiver::start().await;
    let (process, _) = delivering(&stage, &receiver, |webhook| webhook).await;
    receiver.answer_status(500);
    receiver.answer(format!("HTTP/1.1 307 Elsewhere\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url()));

    happen(&process, &["acme", "bolt"]).await;
    let posted = receiver.reached(4).await;

    let ids: Vec<_> = posted.iter().map(|posted| posted.header("webhook-id")).collect();
    assert!(ids[..3].iter().all(|id| *id == ids[0]) && ids[3] != ids[0], "{ids:?}");
    assert_eq!(elsewhere.requests().len(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_judged_by_its_head_and_one_that_never_comes_by_the_deadline() {
    let (stage, receiver) = (Stage::new().await, WebhookReceiver::start().await);
    let (process, _) = delivering(&stage, &receiver, |webhook| webhook.deadline(Duration::from_secs(6))).await;
    // Larger than the cap; cut off; then silence.
    receiver.answer(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n{}", "x".repeat(200_000)));
    receiver.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx");
    receiver.answer("");

    happen(&process, &["acme", "bolt", "cog"]).await;
    let posted = receiver.reached(4).await;

    let companies: Vec<_> = posted.iter().map(|posted| posted.json()["company"].clone()).collect();
    assert_eq!(companies, ["acme", "bolt", "cog", "cog"]);
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_the_delivery_and_nothing_of_its_answer_is_shown() {
    let (log, _guard) = Log::of_this_test();
    let (stage, receiver) = (Stage::new().await, WebhookReceiver::start().await);
    let (process, delivery) = delivering(&stage, &receiver, |webhook| webhook).await;
    receiver.answer("HTTP/1.1 500 canary-reason\r\nx-canary: header\r\ncontent-length: 11\r\n\r\ncanary-body");
    receiver.answer("HTTP/1.1 410 canary-reason\r\ncontent-length: 11\r\n\r\ncanary-body");

    happen(&process, &["acme"]).await;

    assert_eq!(delivery.ended().await, DeliveryEnded::GivenUp);
    let lines = log.lines(CONSUMER);
    for answer in ["the webhook answered 500", "the webhook answered 410"] {
        assert!(lines.iter().any(|line| line.contains(answer)), "{lines:#?}");
    }
    assert!(!log.text().contains("canary"), "neither the URL nor the answer: {:#?}", log.lines("canary"));
}

#[tokio::test]
async fn a_gap_is_posted_too() {
    let (stage, receiver) = (Stage::new().await, WebhookReceiver::start().await);
    let (process, _) = delivering(&stage, &receiver, |webhook| webhook).await;
    process.auth.shutdown().await;
    happen(&stage.process(), &["lost", "lost"]).await;
    stage.ups.clock().advance(seconds(3600));
    let prune = Prune { environment: Environment::Cie, older_than: seconds(60), limit: 100, undelivered: true };
    assert_eq!(stage.store.prune(prune).await.unwrap().up_to, EventId::new(2));

    let _process = delivering(&stage, &receiver, |webhook| webhook).await;
    let posted = &receiver.reached(1).await[0];

    assert_eq!(posted.json(), json!({"kind": "missed", "environment": "cie", "after": 0, "up_to": 2}));
    assert_eq!(posted.header("webhook-id"), "cie_missed_0_2");
    assert!(is_signed(posted, SECRET[0]));
}
