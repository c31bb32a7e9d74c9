//! Fields of a newer release survive every save by an older one.

use batchsuite_auth::{
    fake_ups::Fault,
    status::Status,
    store::{Document, RowKey},
};
use batchsuite_tests::{Backend, HOUR, acme, ada, on_each_backend, opt_in, seconds};
use serde_json::{Value, json};

use crate::stage::Stage;

on_each_backend!(
    a_field_of_a_newer_release_outlives_a_whole_opt_in,
    a_field_of_a_newer_release_is_in_a_company_that_is_authenticated_for_the_first_time,
    a_field_of_a_newer_release_stays_in_the_client_row,
);

const FIELD: &str = "of_a_newer_release";

fn value() -> Value {
    json!({"a": [1, null, "ü"], "b": {"standing": "dancing"}})
}

fn assert_still_there(document: &Document, after: &str) {
    let document: Value = serde_json::from_str(document.as_str()).unwrap();
    assert_eq!(document[FIELD], value(), "{after}: {document}");
}

async fn a_field_of_a_newer_release_outlives_a_whole_opt_in(backend: Backend) {
    let stage = Stage::new(backend).await;
    let still_there = async |after| assert_still_there(&stage.row().await.document, after);
    stage.opt_in(&acme()).await;
    stage.database.set_field("acme", FIELD, &value()).await;
    let process = stage.process().await;

    stage.advance(HOUR).await;
    assert_eq!(process.token(&acme()).await.revision().version, 2);
    still_there("a refresh").await;

    stage.advance(HOUR).await;
    stage.at_the_next_refresh(Fault::Reset);
    process.auth.access_token(&acme()).await.unwrap_err();
    still_there("an unanswered attempt").await;
    stage.advance(seconds(180)).await;
    assert_eq!(process.token(&acme()).await.revision().version, 3);
    still_there("a probe").await;

    stage.advance(HOUR).await;
    stage.at_the_next_refresh(Fault::InvalidRefreshToken);
    assert!(process.auth.access_token(&acme()).await.unwrap_err().needs_reauthorization());
    still_there("a refusal").await;

    opt_in(&process.auth, &stage.ups, &acme()).await;
    still_there("a new consent").await;

    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    still_there("a removal").await;

    opt_in(&process.auth, &stage.ups, &acme()).await;
    process.token(&acme()).await;
    still_there("a new consent after a removal").await;
}

/// The row exists before the first opt-in, because a person went to UPS.com.
async fn a_field_of_a_newer_release_is_in_a_company_that_is_authenticated_for_the_first_time(backend: Backend) {
    let stage = Stage::new(backend).await;
    let process = stage.process().await;
    process.auth.authenticate(&acme(), &ada()).await.unwrap();
    stage.database.set_field("acme", FIELD, &value()).await;

    opt_in(&process.auth, &stage.ups, &acme()).await;

    assert!(matches!(process.auth.status(&acme()).await.unwrap().status, Status::Authenticated { .. }));
    assert_still_there(&stage.row().await.document, "the first consent");
}

async fn a_field_of_a_newer_release_stays_in_the_client_row(backend: Backend) {
    let stage = Stage::new(backend).await;
    let process = stage.process().await;
    // The call runs twice, because the first one creates the row.
    process.auth.after_restore().await.unwrap();
    stage.database.set_field("", FIELD, &value()).await;

    process.auth.after_restore().await.unwrap();

    let store = stage.database.store(stage.ups.clock()).await;
    let row = store.load(&RowKey::client(batchsuite_auth::Environment::Cie)).await.unwrap();
    assert_still_there(&row.document, "a restore");
}
