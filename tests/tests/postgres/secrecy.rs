//! No secret in a dump, nor in a log of everything.

use std::fmt::Write;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use batchsuite_auth::{
    machine::Verdict,
    secret::{AccessTokenSecret, BrowserSecret, PkceVerifier, RefreshToken},
    store::{Connect, NewConsent, NewPair, SettleRefresh, Store, TakeConsent},
};

use crate::stage::{HOUR, Stage, commit, company, connect, consent, pair, server, stored};

/// A secret in the shapes in which one is found.
fn shapes(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut shapes = vec![secret.to_owned(), hex];
    // base64 of a text that contains it has one of three shapes, by where it begins.
    for offset in 0..3 {
        let shifted = [&b"xx"[..offset], secret.as_bytes()].concat();
        for engine in [&STANDARD_NO_PAD as &dyn Fn64, &URL_SAFE_NO_PAD, &STANDARD] {
            let text = engine.text(&shifted);
            shapes.push(text.trim_end_matches('=')[4..text.trim_end_matches('=').len() - 2].to_owned());
        }
    }
    shapes
}

trait Fn64 {
    fn text(&self, bytes: &[u8]) -> String;
}

impl<E: Engine> Fn64 for E {
    fn text(&self, bytes: &[u8]) -> String {
        self.encode(bytes)
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
    stage.store.settle_refresh(settle).await.unwrap();

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
    // What would be found if it were there.
    assert!(shapes("acme-acme-acme").iter().any(|shape| dump.contains(shape)) || dump.contains("acme"));
}
