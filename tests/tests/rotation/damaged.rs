//! An unreadable document affects only its own row.

use batchsuite_auth::{
    BatchSuiteAuth, CompanyQuery, Environment,
    events::EventKind,
    fake_ups::{Endpoint, Fault, Times},
    status::StatusFilter,
    store::{RowKey, Store as _},
};
use batchsuite_tests::{DAY, HOUR, Process, acme, ada, company, log::Log, seconds};

use crate::stage::{Stage, policy};

/// Companies in each status, and one with the name *damaged*, long after the client was announced.
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
    let query = CompanyQuery::new().with_filter(filter);
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

/// Client rows that are not an object, or have a field of the wrong type.
const CLIENT_ROWS: [&str; 3] = ["[]", "null", r#"{"client_id": 7}"#];

#[tokio::test(start_paused = true)]
async fn a_damaged_client_row_stops_no_list_and_no_restore() {
    for document in CLIENT_ROWS {
        let stage = Stage::new().await;
        let (log, _guard) = Log::of_this_test();
        let process = companies(&stage).await;
        stage.write_document(&RowKey::client(Environment::Cie), document).await;

        assert_each_filter_lists_its_companies(&process.auth, document).await;
        assert!(!log.lines("the client row cannot be read").is_empty(), "{document}");
        assert_eq!(process.auth.after_restore().await.unwrap(), 4, "{document}");
        assert_eq!(process.auth.after_restore().await.unwrap(), 0, "{document}: every company is marked already");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_client_row_is_replaced_by_the_next_announcement() {
    for document in CLIENT_ROWS {
        let stage = Stage::new().await;
        let (log, _guard) = Log::of_this_test();
        let process = companies(&stage).await;
        let key = RowKey::client(Environment::Cie);
        let before = stage.store.load(&key).await.unwrap().document;
        stage.write_document(&key, document).await;
        stage.live(seconds(15)).await;
        assert_eq!(stage.store.load(&key).await.unwrap().document.as_str(), document, "announced before");

        let next = stage.process_with(|builder| builder);
        stage.live(seconds(15)).await;

        let after = stage.store.load(&key).await.unwrap().document;
        let client_id =
            |document: &str| serde_json::from_str::<serde_json::Value>(document).unwrap()["client_id"].clone();
        assert_eq!(client_id(after.as_str()), client_id(before.as_str()), "{document}");
        let told = log.lines("the client row cannot be read").len();
        assert!(told > 0, "{document}");
        for auth in [&process.auth, &next.auth] {
            assert_each_filter_lists_its_companies(auth, document).await;
        }
        assert_eq!(log.lines("the client row cannot be read").len(), told, "{document}: the row is readable again");
    }
}

/// Without the tokens keep-alive cannot renew anything, so a person is needed.
#[tokio::test(start_paused = true)]
async fn people_are_warned_of_the_end_of_a_company_whose_tokens_cannot_be_read() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    stage.opt_in(&process, &acme()).await;
    stage.delete_tokens(&acme()).await;

    let mut told = Vec::new();
    for day in 0..63 {
        stage.live(seconds(15)).await;
        let kinds = process.kinds(&acme()).await;
        told.resize(kinds.len(), day);
        stage.ups.clock().advance(DAY - seconds(15));
    }

    let days: Vec<_> = process.kinds(&acme()).await.into_iter().zip(told).skip(2).collect();
    let soon = EventKind::ExpiringSoon;
    assert_eq!(days, [(soon, 46), (soon, 53), (soon, 57), (soon, 59), (EventKind::Expired, 60)]);
    assert_eq!(stage.refreshes(), 0, "there is nothing to send");
}
