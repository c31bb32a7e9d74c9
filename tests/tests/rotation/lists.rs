//! Lists of companies: their pages, and those of the few companies with a status among many with another.

use std::sync::Arc;

use batchsuite_auth::{
    Client, CompanyQuery, Environment,
    ids::Revision,
    status::StatusFilter,
    store::{Document, ListedAs, RowKey, RowNumber, Saved, Store, Swap, TokenChange},
};
use batchsuite_tests::{FlakyStore, Gate, Process, Verb, companies, company};

use crate::stage::{Stage, policy};

/// Rows that are listed as authenticated but are not, by their documents.
async fn stale(stage: &Stage, rows: usize) {
    for number in 0..rows {
        let swap = Swap {
            key: RowKey::company(Environment::Cie, company(&format!("company-{number:05}"))),
            expected: RowNumber::NEVER_SAVED,
            decided_at: None,
            step: "test",
            document: Document::default(),
            revision: Revision::default(),
            listed_as: ListedAs::Authenticated,
            tokens: TokenChange::Keep,
            wake: None,
            used_at: None,
            events: Vec::new(),
            announce: false,
        };
        assert_ne!(stage.store.save(swap).await.unwrap(), Saved::Conflict);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_filtered_list_reads_a_bounded_number_of_rows_and_tells_where_to_go_on() {
    let stage = Stage::new().await;
    let process = stage.process();
    stale(&stage, 25_000).await;
    stage.opt_in(&process, &company("the-last-one")).await;
    let filter = Some(StatusFilter::Authenticated);
    let (before, mut found, mut after, mut pages) = (process.store.calls(Verb::List), Vec::new(), None, 0);

    loop {
        let query = CompanyQuery::new().with_filter(filter).with_after(after).with_limit(100);
        let page = process.auth.companies(query).await.unwrap();
        found.extend(page.items.into_iter().map(|status| status.company));
        (after, pages) = (page.next, pages + 1);
        assert!(process.store.calls(Verb::List) - before <= 20 * pages, "page {pages}");
        if after.is_none() {
            break;
        }
    }

    assert_eq!((found, pages), (vec![company("the-last-one")], 2));
}

#[tokio::test(start_paused = true)]
async fn a_page_of_any_size_is_listed_and_passes_no_company() {
    let stage = Stage::new().await;
    let process = stage.process();
    for company in companies(0..3) {
        stage.opt_in(&process, &company).await;
    }
    let pages = async |query: CompanyQuery| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = process.auth.companies(query.clone().with_after(after)).await.unwrap();
            found.extend(page.items.into_iter().map(|status| status.company));
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };

    for limit in [0, 1, usize::MAX - 1, usize::MAX] {
        for filter in [None, Some(StatusFilter::Authenticated)] {
            let query = CompanyQuery::new().with_limit(limit).with_filter(filter);
            assert_eq!(pages(query).await, companies(0..3), "limit {limit}, {filter:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_pages_of_a_list_hold_each_company_once_cost_a_call_each_and_the_last_one_has_no_next() {
    let stage = Stage::new().await;
    let process = stage.process();
    let all = companies(0..4);
    for company in &all {
        stage.opt_in(&process, company).await;
    }
    for (limit, expected) in [(1, 4), (2, 2), (3, 2), (4, 1), (5, 1)] {
        let (before, mut found, mut after, mut pages) = (process.store.calls(Verb::List), Vec::new(), None, 0);
        loop {
            let page = process.auth.companies(CompanyQuery::new().with_after(after).with_limit(limit)).await.unwrap();
            found.extend(page.items.into_iter().map(|status| status.company));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() || pages > expected {
                break;
            }
        }

        assert_eq!((&found, pages), (&all, expected), "{limit} a page");
        assert_eq!(process.store.calls(Verb::List) - before, pages, "{limit} a page");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_may_be_longer_than_what_a_store_lists_at_once() {
    let stage = Stage::new().await;
    let process = stage.process();
    stale(&stage, 2_500).await;

    for limit in [2_000, 2_500, 25_000] {
        let page = process.auth.companies(CompanyQuery::new().with_limit(limit)).await.unwrap();
        assert_eq!((page.items.len(), page.next.is_some()), (limit.min(2_500), limit < 2_500), "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_call_for_a_filtered_page_reads_no_more_rows_than_the_page_holds() {
    let stage = Stage::new().await;
    let store = Arc::new(FlakyStore::over(stage.store.clone()).witnessed());
    let http = Arc::new(Gate::before(stage.ups.in_process()));
    let client = Client::new(stage.ups.client_id(), stage.ups.client_secret());
    let process = Process::start(&stage.ups, client, store, http, |builder| builder.without_keeper().policy(policy()));
    for company in companies(0..3) {
        stage.opt_in(&process, &company).await;
    }
    process.store.take_witnessed();

    let query = CompanyQuery::new().with_filter(StatusFilter::Authenticated).with_limit(2);
    assert_eq!(process.auth.companies(query).await.unwrap().items.len(), 2);

    let calls: Vec<_> = process.store.take_witnessed().into_iter().filter(|shown| shown.starts_with("List(")).collect();
    assert!(calls.len() == 1 && calls[0].contains("limit: 3"), "one more, to learn whether there are more: {calls:?}");
}
