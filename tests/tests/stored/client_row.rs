//! A client row with values that this release cannot read, written by hand or by another release.

use batchsuite_auth::{CompanyQuery, Environment, status::StatusFilter, store::RowKey};
use batchsuite_tests::{Backend, acme, on_each_backend};

use crate::stage::Stage;

on_each_backend!(a_client_row_that_cannot_be_read_stops_no_list_and_is_replaced_by_a_restore);

async fn a_client_row_that_cannot_be_read_stops_no_list_and_is_replaced_by_a_restore(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&acme()).await;
    let process = stage.process().await;
    assert_eq!(process.auth.after_restore().await.unwrap(), 1);
    stage.database.set_field("", "client_id", &7.into()).await;

    let query = CompanyQuery::new().with_filter(StatusFilter::Authenticated);
    let listed = process.auth.companies(query).await.unwrap().items;
    assert_eq!(listed.iter().map(|status| status.company.as_str()).collect::<Vec<_>>(), ["acme"]);
    process.auth.after_restore().await.unwrap();

    let row = stage.database.store(stage.ups.clock()).await.load(&RowKey::client(Environment::Cie)).await.unwrap();
    let document: serde_json::Value = serde_json::from_str(row.document.as_str()).unwrap();
    assert_eq!((document.get("client_id"), document.get("restored_at")), (None, None), "{document}");
}
