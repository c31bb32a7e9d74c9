//! A server that has lost its latest writes, as after a fail-over to a standby without them.

use std::time::Duration;

use batchsuite_auth::{BatchSuiteAuth, Policy, error::TokenError, fake_ups::FakeUps};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{acme, ada, eventually, opt_in};

use crate::stage::Stage;

fn process(ups: &FakeUps, store: PostgresStore) -> BatchSuiteAuth {
    let mut policy = Policy::default();
    policy.feed_interval = Duration::from_millis(50);
    ups.authenticator().store(store).policy(policy).without_keeper().build().unwrap()
}

/// The new events reuse numbers of lost events.
#[tokio::test]
async fn a_removal_after_lost_writes_ends_the_cached_tokens_of_other_processes() {
    let (stage, ups) = (Stage::new().await, FakeUps::start().await);
    let (one, other) = (process(&ups, stage.store.clone()), process(&ups, stage.another().await));
    opt_in(&one, &ups, &acme()).await;
    let first = other.access_token(&acme()).await.unwrap();
    one.report_rejected(&acme(), &first).await.unwrap();
    let is_second = async || other.access_token(&acme()).await.unwrap().revision().version == 2;
    eventually("the other process has heard of the rotation", is_second).await;

    stage.execute("DELETE FROM {schema}.events; SELECT setval('{schema}.event_number', 3)").await;
    one.remove_auth(&acme(), &ada()).await.unwrap();

    let is_over = async || matches!(other.access_token(&acme()).await, Err(TokenError::NotAuthenticated));
    eventually("the other process has heard of the removal", is_over).await;
}
