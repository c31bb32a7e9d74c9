//! No secret in a dump, nor in a log of everything.

use std::fmt::Write;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use batchsuite_auth::{
    machine::Verdict,
    secret::{AccessTokenSecret, BrowserSecret, PkceVerifier, RefreshToken},
    store::{Connect, NewConsent, NewPair, SettleRefresh, Store, TakeConsent, Written},
};
use batchsuite_tests::HOUR;

use crate::stage::{Stage, commit, company, connect, consent, pair, server, stored};

/// A secret in the shapes in which it could be found: as it is, in hexadecimal, and inside a base64 of more than it.
fn shapes(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    // Inside, it has one of three shapes, by where it begins; what its neighbours have a part in is left out.
    let inside = (0..3).flat_map(|before| {
        let text = [&b"??"[..before], secret.as_bytes()].concat();
        [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)].map(|text| text[4..text.len() - 2].to_owned())
    });
    [secret.to_owned(), hex.clone(), hex.to_uppercase()].into_iter().chain(inside).collect()
}

#[test]
fn a_secret_is_recognised_inside_a_longer_base64() {
    for before in ["", "a", "ab", "abc"] {
        let text = STANDARD_NO_PAD.encode(format!("{before}some-long-secret{before}"));
        assert!(shapes("some-long-secret").iter().any(|shape| text.contains(shape)), "{text}");
    }
}

#[tokio::test]
async fn neither_a_dump_nor_the_log_of_all_statements_shows_a_secret() {
    // Arrange: secrets that are nowhere else.
    let stage = Stage::new().await;
    let (state, browser) = (BrowserSecret::random(), BrowserSecret::random());
    let secrets: Vec<String> = (0..5).map(|_| BrowserSecret::random().expose_secret().to_owned()).collect();
    let [access, refresh, access_2, refresh_2, verifier] = &secrets[..] else { panic!("five") };
    let acme = company("acme");

    // Act: the whole life, and one that stays.
    let consent = NewConsent {
        state: state.hash(),
        browser: browser.hash(),
        verifier: Some(PkceVerifier::new(verifier.clone())),
        ..consent(&acme)
    };
    stage.store.begin_consent(consent.clone()).await.unwrap();
    let pending = NewConsent { state: BrowserSecret::random().hash(), ..consent.clone() };
    stage.store.begin_consent(pending).await.unwrap();
    let take = TakeConsent {
        environment: acme.environment,
        state: consent.state,
        browser: consent.browser,
        actor: consent.actor.clone(),
        event: None,
    };
    stage.store.take_consent(take).await.unwrap();
    let new_pair = |access: &str, refresh: &str| NewPair {
        access_token: Some(AccessTokenSecret::new(access)),
        refresh_token: Some(RefreshToken::new(refresh)),
        ..pair("")
    };
    let first = Connect { pair: new_pair(access, refresh), ..connect(&acme) };
    let grant = stored(stage.store.connect(first).await.unwrap());
    let attempt = stage.claimed(&grant).await;
    let rotation = commit(&grant, attempt, new_pair(access_2, refresh_2));
    stage.store.commit_refresh(rotation.clone()).await.unwrap();
    stage.store.commit_refresh(rotation).await.unwrap();
    let rotated = stage.store.load(&acme).await.unwrap();
    let attempt = stage.claimed(&rotated).await;
    let settle = SettleRefresh {
        key: acme.clone(),
        revision: rotated.opt_in.revision,
        attempt,
        verdict: Verdict::Unanswered,
        evidence: Default::default(),
        retry_in: HOUR,
    };
    assert_eq!(stage.store.settle_refresh(settle).await.unwrap(), Written::Yes);

    // Assert
    let (dump, log) = (server().dump(stage.schema.name()), server().log());
    assert!(dump.contains("acme") && dump.contains("COPY"), "the dump has the rows");
    assert!(log.contains("parameters: $1") && log.contains(stage.schema.name()), "the log has the parameters");
    for secret in secrets.iter().map(String::as_str).chain([state.expose_secret(), browser.expose_secret()]) {
        for shape in shapes(secret) {
            assert!(!dump.contains(&shape), "the dump shows a secret as {shape}");
            assert!(!log.contains(&shape), "the log shows a secret as {shape}");
        }
    }
}
