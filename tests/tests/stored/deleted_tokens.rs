//! A company's tokens were deleted by hand while its grant still mentions them: an operator's mistake that affects only
//! this company, and that a new opt-in or a removal repairs.

use std::time::Duration;

use batchsuite_auth::{
    BatchSuiteAuth, CompanyId, CompanyQuery, Policy,
    error::TokenError,
    fake_ups::Fault,
    status::{CompanyStatus, Status},
    store::{Store as _, StoreErrorKind},
};
use batchsuite_tests::{Backend, HOUR, Verb, acme, ada, company, eventually, on_each_backend, opt_in, seconds};

use crate::stage::Stage;

on_each_backend!(
    deleted_tokens_are_told_as_unreadable_and_never_as_a_password_change,
    deleted_tokens_are_shown_in_a_list,
    a_company_whose_tokens_were_deleted_can_be_authenticated_again_and_removed,
    a_keeper_puts_off_a_company_whose_tokens_were_deleted_and_keeps_the_others,
    deleted_tokens_of_a_second_opinion_are_not_asked_about_and_cost_no_cause,
);

/// Deletes tokens of every company.
const DELETIONS: [&str; 3] = [
    "DELETE FROM {schema}.tokens",
    "UPDATE {schema}.tokens SET access_token = NULL",
    "UPDATE {schema}.tokens SET refresh_token = NULL",
];

fn other() -> CompanyId {
    company("other")
}

/// Acme with deleted tokens, and an undamaged company.
async fn damaged(backend: Backend, deletion: &str) -> Stage {
    let stage = Stage::new(backend).await;
    stage.opt_in(&acme()).await;
    stage.database.execute(deletion).await;
    stage.opt_in(&other()).await;
    stage
}

fn is_authenticated(status: &CompanyStatus) -> bool {
    matches!(status.status, Status::Authenticated { .. })
}

async fn assert_is_unreadable(auth: &BatchSuiteAuth, deletion: &str) {
    let status = auth.status(&acme()).await.unwrap();
    assert!(is_authenticated(&status) && status.tokens_unreadable, "{deletion}: {status:?}");
    let error = auth.access_token(&acme()).await.unwrap_err();
    assert!(!error.needs_reauthorization() && !error.is_transient(), "{deletion}: {error:?}");
    let TokenError::Store(error) = error else { panic!("{deletion}: {error:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{deletion}");
}

async fn deleted_tokens_are_told_as_unreadable_and_never_as_a_password_change(backend: Backend) {
    for deletion in DELETIONS {
        let stage = damaged(backend, deletion).await;
        let process = stage.process().await;

        assert_is_unreadable(&process.auth, deletion).await;
        assert!(process.store.calls(Verb::Load) <= 2, "{deletion}: one read per call");
        // The same when a refresh is due.
        stage.advance(HOUR).await;
        assert_is_unreadable(&process.auth, deletion).await;

        assert_eq!((stage.refreshes(), process.store.calls(Verb::Claim)), (0, 0), "{deletion}: nothing can be sent");
        let well = process.auth.status(&other()).await.unwrap();
        assert!(is_authenticated(&well) && !well.tokens_unreadable, "{deletion}: {well:?}");
        process.token(&other()).await;
    }
}

/// A list does not decrypt tokens, so it notices only that all are missing.
async fn deleted_tokens_are_shown_in_a_list(backend: Backend) {
    let stage = damaged(backend, DELETIONS[0]).await;

    let listed = stage.process().await.auth.companies(CompanyQuery::default()).await.unwrap().items;

    let shown: Vec<_> = listed.iter().map(|status| (status.company.as_str(), status.tokens_unreadable)).collect();
    assert_eq!(shown, [("acme", true), ("other", false)]);
}

async fn a_company_whose_tokens_were_deleted_can_be_authenticated_again_and_removed(backend: Backend) {
    for deletion in DELETIONS {
        let stage = damaged(backend, deletion).await;
        let process = stage.process().await;

        opt_in(&process.auth, &stage.ups, &acme()).await;
        let status = process.auth.status(&acme()).await.unwrap();
        assert!(is_authenticated(&status) && !status.tokens_unreadable, "{deletion}: {status:?}");
        process.token(&acme()).await;

        stage.database.execute(deletion).await;
        let process = stage.process().await;
        process.auth.remove_auth(&acme(), &ada()).await.unwrap();
        let status = process.auth.status(&acme()).await.unwrap();
        assert!(
            matches!(status.status, Status::Unauthenticated) && !status.tokens_unreadable,
            "{deletion}: {status:?}"
        );
    }
}

async fn a_keeper_puts_off_a_company_whose_tokens_were_deleted_and_keeps_the_others(backend: Backend) {
    for deletion in DELETIONS {
        let stage = damaged(backend, deletion).await;
        let before = stage.process().await.auth.status(&other()).await.unwrap().revision;
        stage.advance(4 * HOUR).await;
        let store = stage.database.store(stage.ups.clock()).await;
        store.record_use(batchsuite_auth::Environment::Cie, &[acme(), other()]).await.unwrap();

        let keeper = stage.process_with(|builder| builder.policy(hasty())).await;
        let is_kept = async || keeper.auth.status(&other()).await.unwrap().revision != before;
        eventually("the other company is kept", is_kept).await;
        let is_put_off = async || {
            let row = stage.row().await;
            row.wake_at.is_some_and(|at| at > row.as_of)
        };
        eventually("acme is postponed", is_put_off).await;

        assert_eq!(stage.refreshes(), 1, "{deletion}: the refresh is the other company's");
        assert_eq!(keeper.cause(&acme()).await, None, "{deletion}");
        assert_is_unreadable(&keeper.auth, deletion).await;
        keeper.auth.shutdown().await;
    }
}

/// The recorded cause stays, whatever happens to the token.
async fn deleted_tokens_of_a_second_opinion_are_not_asked_about_and_cost_no_cause(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&acme()).await;
    stage.advance(HOUR).await;
    stage.at_the_next_refresh(Fault::InvalidRefreshToken);
    let process = stage.process().await;
    process.auth.access_token(&acme()).await.unwrap_err();
    let cause = process.cause(&acme()).await;
    stage.database.execute(DELETIONS[0]).await;
    stage.advance(seconds(15 * 60)).await;

    let keeper = stage.process_with(|builder| builder.policy(hasty())).await;
    let is_put_off = async || {
        let row = stage.row().await;
        row.wake_at.is_some_and(|at| at > row.as_of)
    };
    eventually("acme is postponed", is_put_off).await;

    assert_eq!((stage.refreshes(), keeper.cause(&acme()).await), (1, cause));
    assert!(keeper.auth.access_token(&acme()).await.unwrap_err().needs_reauthorization());
    keeper.auth.shutdown().await;
}

fn hasty() -> Policy {
    let mut policy = Policy::default();
    policy.keeper_interval = Duration::from_millis(50);
    policy
}
