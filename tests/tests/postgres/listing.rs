//! Lists of companies with a certain status, among more rows than one call reads.

use batchsuite_auth::{
    CompanyId,
    status::ListedAs,
    store::{ListQuery, Store},
};

use crate::stage::{Stage, all};

/// Companies whose names end with their numbers; the last row is the first in the table. All must opt in again, except
/// three of each thousand, and as many in the other environment between them.
async fn crowded(wake: &str) -> Stage {
    let stage = Stage::new().await;
    let fill = "INSERT INTO {schema}.grants (environment, company, number, epoch, version, listed_as, wake_at)
        SELECT 'cie', 'company-' || n, n, 1, 1,
            CASE WHEN n % 1000 = 7 THEN 'authenticated' WHEN n % 1000 = 9 THEN 'expiring_soon' ELSE 'reauth_required' END,
            now() + interval '{wake}'
        FROM generate_series(3300, 1001, -1) AS n;
        INSERT INTO {schema}.grants (environment, company, number, epoch, version, listed_as)
        SELECT 'production', company || '-more', number, 1, 1, 'authenticated' FROM {schema}.grants;
        ANALYZE {schema}.grants";
    stage.execute(&fill.replace("{wake}", wake)).await;
    stage
}

/// Each page's companies, and where the next one begins.
async fn pages(stage: &Stage, listed_as: ListedAs, limit: usize) -> Vec<(Vec<String>, Option<String>)> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let query = ListQuery { listed_as: Some(vec![listed_as]), after, limit, ..all() };
        let page = stage.store.list(query).await.unwrap();
        let names = page.items.iter().map(|row| row.key.name().to_owned()).collect();
        pages.push((names, page.next.as_ref().map(CompanyId::to_string)));
        let Some(next) = page.next else { return pages };
        after = Some(next);
    }
}

fn name(number: usize) -> String {
    format!("company-{number}")
}

#[tokio::test]
async fn companies_of_a_rare_status_are_found_by_it_in_one_call() {
    let stage = crowded("1 hour").await;

    let found = pages(&stage, ListedAs::ExpiringSoon, 100).await;

    assert_eq!(found, [(vec![name(1009), name(2009), name(3009)], None)]);
    let found = pages(&stage, ListedAs::ExpiringSoon, 2).await;
    assert_eq!(found, [(vec![name(1009), name(2009)], Some(name(2009))), (vec![name(3009)], None)]);
}

/// No index leads to them.
#[tokio::test]
async fn authenticated_companies_are_searched_among_a_thousand_rows_at_a_time() {
    let stage = crowded("1 hour").await;

    let found = pages(&stage, ListedAs::Authenticated, 100).await;

    let expected =
        [(vec![name(1007)], Some(name(2000))), (vec![name(2007)], Some(name(3000))), (vec![name(3007)], None)];
    assert_eq!(found, expected);
}

/// Each may have any status by now.
#[tokio::test]
async fn of_more_overdue_companies_than_one_call_reads_each_is_listed_once() {
    let stage = crowded("-1 hour").await;

    let found = pages(&stage, ListedAs::ExpiringSoon, 300).await;

    assert!(found.iter().all(|(names, _)| names.len() <= 300));
    let names: Vec<_> = found.into_iter().flat_map(|(names, _)| names).collect();
    assert_eq!(names, (1001..=3300).map(name).collect::<Vec<_>>());
}
