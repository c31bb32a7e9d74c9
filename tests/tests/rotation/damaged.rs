//! A document that cannot be read concerns its own row alone.

use batchsuite_auth::{
    BatchSuiteAuth, CompanyQuery, Environment,
    fake_ups::{Endpoint, Fault, Times},
    status::StatusFilter,
    store::RowKey,
};
use batchsuite_tests::{DAY, HOUR, Process, ada, company, seconds};

use crate::stage::{Stage, policy};

/// Companies in each status, and one whose name is *damaged*, long after the client was announced.
async fn companies(stage: &Stage) -> Process {
    let mut policy = policy();
    policy.keep_alive_before_end = seconds(0);
    policy.fresh_if_used_within = seconds(0);
    let process = stage.process_with(|builder| builder.policy(policy));
    stage.opt_in(&process, &company("soon")).await;
    stage.live(seconds(15)).await;
    stage.ups.clock().advance(47 * DAY);
    for name in ["damaged", "lost", "removed", "well"] {
        stage.opt_in(&process, &company(name)).await;
    }
    process.auth.remove_auth(&company("removed"), &ada()).await.unwrap();
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    process.auth.access_token(&company("lost")).await.unwrap_err();
    stage.live(seconds(15)).await;
    process
}

async fn names(auth: &BatchSuiteAuth, filter: StatusFilter) -> Vec<String> {
    let query = CompanyQuery { filter: Some(filter), ..CompanyQuery::default() };
    let listed = auth.companies(query).await.unwrap().items;
    listed.into_iter().map(|status| status.company.as_str().to_owned()).collect()
}

async fn assert_each_filter_lists_its_companies(auth: &BatchSuiteAuth, when: &str) {
    for (filter, expected) in [
        (StatusFilter::Unauthenticated, &["removed"][..]),
        (StatusFilter::Authenticated, &["damaged", "soon", "well"]),
        (StatusFilter::ExpiringSoon, &["soon"]),
        (StatusFilter::ReauthRequired, &["lost"]),
    ] {
        assert_eq!(names(auth, filter).await, expected, "{when}: {filter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_company_is_listed_under_the_status_that_it_is_shown_as() {
    let stage = Stage::new().await;
    let process = companies(&stage).await;
    assert_each_filter_lists_its_companies(&process.auth, "nothing is damaged").await;

    stage.write_document(&RowKey::company(Environment::Cie, company("damaged")), "[]").await;
    assert_each_filter_lists_its_companies(&process.auth, "nobody has looked").await;
    stage.live(seconds(15)).await;

    let row = stage.row(&company("damaged")).await;
    assert!(row.wake_at.is_some_and(|at| at > row.as_of && at <= row.as_of + HOUR), "{row:?}");
    assert_each_filter_lists_its_companies(&process.auth, "the keeper has put it off").await;
}
