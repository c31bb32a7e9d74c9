//! Imports of another system's tokens, on each store that outlives a process.

use batchsuite_auth::{
    Imported, ImportedTokens,
    error::ImportError,
    events::EventKind,
    fake_ups::{FakeUps, KeptTokens},
    machine::CauseKind,
    store::StoredTokens,
};
use batchsuite_tests::{Backend, HOUR, Moment, Verb, acme, ada, on_each_backend, shapes};

use crate::stage::Stage;

on_each_backend!(
    imported_tokens_are_sealed_and_found_again_by_another_process,
    a_spent_token_is_told_as_a_lost_rotation,
    a_removal_during_an_import_stays,
    an_opt_in_that_ups_issued_later_stays,
);

fn tokens(kept: &KeptTokens) -> ImportedTokens {
    let tokens = ImportedTokens::new(kept.refresh_token.clone()).unwrap().with_issued_at(kept.issued_at);
    tokens.with_access_token(kept.access_token.clone(), kept.expires_in).unwrap()
}

async fn imported_tokens_are_sealed_and_found_again_by_another_process(backend: Backend) {
    let stage = Stage::new(backend).await;
    let (process, other) = (stage.process().await, stage.process().await);
    let kept = stage.ups.opt_in_elsewhere(FakeUps::USER);

    assert_eq!(process.auth.import(&acme(), &ada(), tokens(&kept)).await.unwrap(), Imported::Stored);

    let StoredTokens::Readable(stored) = stage.row().await.tokens else { panic!("both are stored") };
    assert!(stored.refresh.unwrap().matches(&kept.refresh_token) && stored.access.unwrap().matches(&kept.access_token));
    let dump = String::from_utf8_lossy(&stage.database.dump()).into_owned();
    assert!(dump.contains("acme"), "the dump has the row");
    for secret in [kept.refresh_token.expose_secret(), kept.access_token.expose_secret()] {
        for shape in shapes(secret) {
            assert!(!dump.contains(&shape), "the dump shows a secret as {shape}");
        }
    }
    assert_eq!(other.auth.import(&acme(), &ada(), tokens(&kept)).await.unwrap(), Imported::AlreadyStored);
    assert_eq!(other.token(&acme()).await.expose_secret(), kept.access_token.expose_secret());
    assert_eq!(other.kinds(&acme()).await, [EventKind::Authenticated]);
}

async fn a_spent_token_is_told_as_a_lost_rotation(backend: Backend) {
    let stage = Stage::new(backend).await;
    let process = stage.process().await;
    let kept = stage.ups.opt_in_elsewhere(FakeUps::USER);
    stage.ups.refresh_elsewhere(&kept.refresh_token).unwrap();
    process.auth.import(&acme(), &ada(), tokens(&kept)).await.unwrap();

    stage.advance(HOUR).await;
    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));
}

async fn a_removal_during_an_import_stays(backend: Backend) {
    let stage = Stage::new(backend).await;
    let (process, other) = (stage.process().await, stage.process().await);
    let kept = stage.ups.opt_in_elsewhere(FakeUps::USER);
    let save = process.store.hold(Verb::Import, Moment::Before);
    let auth = process.auth.clone();
    let importing = tokio::spawn(async move { auth.import(&acme(), &ada(), tokens(&kept)).await });
    save.reached().await;

    other.auth.remove_auth(&acme(), &ada()).await.unwrap();
    save.release();

    let refused = importing.await.unwrap();
    assert!(matches!(refused, Err(ImportError::ChangedSince)), "{refused:?}");
    assert!(matches!(stage.row().await.tokens, StoredTokens::None));
}

async fn an_opt_in_that_ups_issued_later_stays(backend: Backend) {
    let stage = Stage::new(backend).await;
    let process = stage.process().await;
    let kept = stage.ups.opt_in_elsewhere(FakeUps::USER);
    stage.advance(HOUR).await;
    stage.opt_in(&acme()).await;
    let before = stage.row().await;

    let refused = process.auth.import(&acme(), &ada(), tokens(&kept)).await;

    assert!(matches!(refused, Err(ImportError::NewerOptIn)), "{refused:?}");
    assert_eq!(stage.row().await.number, before.number);
}
