//! Neither a dump nor a log of everything contains a secret.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use batchsuite_auth::{
    secret::{AccessTokenSecret, BrowserSecret, PkceVerifier, RefreshToken},
    store::{Consent, NewConsent, Store, Swap, TokenChange, Tokens},
};
use batchsuite_tests::shapes;

use crate::stage::{CIE, Stage, company, consent, put, rotation, saved, server, unchanged};

#[test]
fn a_secret_is_recognised_inside_a_longer_base64() {
    for before in ["", "a", "ab", "abc"] {
        let text = STANDARD_NO_PAD.encode(format!("{before}some-long-secret{before}"));
        assert!(shapes("some-long-secret").iter().any(|shape| text.contains(shape)), "{text}");
    }
}

#[tokio::test]
async fn neither_a_dump_nor_the_log_of_all_statements_shows_a_secret() {
    // Arrange: secrets that occur nowhere else.
    let stage = Stage::new().await;
    let (state, browser) = (BrowserSecret::random(), BrowserSecret::random());
    let secrets: Vec<String> = (0..5).map(|_| BrowserSecret::random().expose_secret().to_owned()).collect();
    let [access, refresh, access_2, refresh_2, verifier] = &secrets[..] else { panic!("five") };
    let acme = company("acme");

    // Act: a whole life, and an opt-in that stays.
    let new = consent(&acme);
    let consent = NewConsent {
        consent: Consent { browser: browser.hash(), ..new.consent.clone() },
        state: state.hash(),
        verifier: Some(PkceVerifier::new(verifier.clone())),
        ..new
    };
    put(&stage.store, consent.clone()).await.unwrap();
    put(&stage.store, NewConsent { verifier: consent.verifier.clone(), ..self::consent(&acme) }).await.unwrap();
    stage.store.find_consent(CIE, &consent.state).await.unwrap().unwrap();
    stage.store.use_consent(CIE, consent.consent.id, None).await.unwrap().unwrap();
    let with_pair = |swap: Swap, access: &str, refresh: &str| {
        let tokens = Tokens { access: Some(AccessTokenSecret::new(access)), refresh: Some(RefreshToken::new(refresh)) };
        Swap { tokens: TokenChange::Replace(tokens), ..swap }
    };
    let empty = stage.store.load(&acme).await.unwrap();
    let row = saved(&stage.store, with_pair(rotation(&empty, "1"), access, refresh)).await;
    let row = saved(&stage.store, unchanged(&row)).await;
    saved(&stage.store, with_pair(rotation(&row, "2"), access_2, refresh_2)).await;
    assert_eq!(stage.store.wake(CIE, 10).await.unwrap().len(), 1);

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
