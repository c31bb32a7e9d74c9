//! Lists of the few companies with a status, among many with another.

use batchsuite_auth::{
    CompanyQuery, Environment,
    ids::Revision,
    status::StatusFilter,
    store::{Document, ListedAs, RowKey, RowNumber, Saved, Store, Swap, TokenChange},
};
use batchsuite_tests::{Verb, company};

use crate::stage::Stage;

const ROWS: usize = 25_000;

/// Rows that are listed as authenticated but are not, by their documents.
async fn stale(stage: &Stage) {
    for number in 0..ROWS {
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
    stale(&stage).await;
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
