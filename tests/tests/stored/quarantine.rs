//! A refused refresh token kept for a second opinion is encrypted like any other, and the access token is deleted.

use batchsuite_auth::{
    fake_ups::{Endpoint, Fault, Times},
    store::StoredTokens,
};
use batchsuite_tests::{Backend, HOUR, acme, on_each_backend, shapes};

use crate::stage::Stage;

on_each_backend!(a_dump_shows_no_token_while_one_is_in_quarantine);

async fn a_dump_shows_no_token_while_one_is_in_quarantine(backend: Backend) {
    let stage = Stage::new(backend).await;
    let process = stage.process().await;
    batchsuite_tests::opt_in(&process.auth, &stage.ups, &acme()).await;
    stage.advance(HOUR).await;
    process.token(&acme()).await;
    stage.advance(HOUR).await;
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    assert!(process.auth.access_token(&acme()).await.unwrap_err().needs_reauthorization());

    let StoredTokens::Readable(tokens) = stage.row().await.tokens else { panic!("the refresh token is kept") };
    assert!(tokens.refresh.is_some() && tokens.access.is_none(), "only the refresh token");
    let dump = String::from_utf8_lossy(&stage.database.dump()).into_owned();
    assert!(dump.contains("acme") && dump.contains("quarantine"), "the dump has the row");
    let secrets = process.http.secrets();
    assert!(secrets.len() > 5, "both pairs and the sent secrets: {}", secrets.len());
    for secret in secrets {
        for shape in shapes(&secret) {
            assert!(!dump.contains(&shape), "the dump shows a secret as {shape}");
        }
    }
}
