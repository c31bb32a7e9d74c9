//! One damaged row, a lost key, a role with few rights, an old history: the program goes on.

use batchsuite_auth::fake_ups::Endpoint;
use company_manager::demo::{ADMIN_USER, COMPANY_ADMIN};
use http::StatusCode;

use crate::{
    instance::{Browser, Instance, KEYS, Site, companies_on},
    sharing::authenticate,
};

const NEW: &str = "2026-12:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const DAMAGED: &str = "The stored tokens of this company cannot be read.";

async fn sql(site: &Site, sql: &str) {
    site.stage.server.client().await.batch_execute(sql).await.unwrap();
}

/// A company admin, with the first two of three companies authenticated.
async fn two_authenticated(site: &Site, instance: &Instance) -> (Browser, Vec<String>) {
    let browser = site.signed_in(instance, COMPANY_ADMIN).await;
    let companies = companies_on(&browser.get(instance, "/companies").await.body);
    for company in &companies[..2] {
        authenticate(site, &browser, company, instance, instance).await;
    }
    (browser, companies)
}

async fn track(browser: &Browser, instance: &Instance, company: &str) -> (StatusCode, String) {
    let answer = browser.post(instance, &format!("{company}/track"), &[("number", "1Z999AA10123456784")]).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_damaged_company_is_shown_so_and_every_page_and_company_beside_it_works() {
    let site = Site::new().await;
    let first = site.start().await;
    let (browser, companies) = two_authenticated(&site, &first).await;
    let (damaged, healthy) = (&companies[0], &companies[1]);
    first.end().await;
    let id = damaged.strip_prefix("/companies/").unwrap();
    sql(
        &site,
        &format!("UPDATE batchsuite.tokens SET access_token = set_byte(access_token, 40, 255 - get_byte(access_token, 40)) WHERE company = '{id}'"),
    )
    .await;
    let instance = site.start().await;
    let user = site.signed_in(&instance, ADMIN_USER).await;

    let list = browser.get(&instance, "/companies").await;
    assert_eq!((list.status, list.body.matches(DAMAGED).count()), (StatusCode::OK, 1), "{}", list.body);
    assert_eq!(companies_on(&list.body).len(), 3);
    for page in ["/companies", "/batch-track", "/sigview", "/custom-billing", "/batch-rate"] {
        for visitor in [&browser, &user] {
            assert_eq!(visitor.get(&instance, page).await.status, StatusCode::OK, "{page}");
        }
    }
    for page in [damaged.clone(), format!("{damaged}/history"), healthy.clone()] {
        assert_eq!(browser.get(&instance, &page).await.status, StatusCode::OK, "{page}");
    }
    let page = browser.get(&instance, damaged).await.body;
    assert!(page.contains(DAMAGED) && page.contains("REMOVE AUTH"), "{page}");
    assert!(!browser.get(&instance, healthy).await.body.contains(DAMAGED));
    track(&browser, &instance, healthy).await;
    assert_eq!(site.ups.requests().total(Endpoint::Track), 1, "the healthy one is tracked");
    let (status, body) = track(&browser, &instance, damaged).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains("cannot be read"), "{status} {body}");
    assert_eq!(site.ups.requests().total(Endpoint::Track), 1);

    // Both ways out.
    authenticate(&site, &browser, damaged, &instance, &instance).await;
    assert!(!browser.get(&instance, damaged).await.body.contains(DAMAGED));
    track(&browser, &instance, damaged).await;
    assert_eq!(site.ups.requests().total(Endpoint::Track), 2);
    sql(&site, &format!("UPDATE batchsuite.tokens SET refresh_token = '' WHERE company = '{id}'")).await;
    let asked = browser.post(&instance, &format!("{damaged}/remove-auth"), &[]).await;
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.body);
    let removed = browser.post(&instance, &format!("{damaged}/remove-auth"), &[("confirm", "yes")]).await;
    assert_eq!(removed.status, StatusCode::SEE_OTHER, "{}", removed.body);
    assert!(browser.get(&instance, damaged).await.body.contains("Not authenticated"));
    instance.end().await;
}

#[tokio::test]
async fn without_a_lost_key_it_starts_as_documented_and_each_company_authenticates_again() {
    let site = Site::new().await;
    let first = site.start().await;
    let (browser, companies) = two_authenticated(&site, &first).await;
    browser.post(&first, &format!("{}/access-key", companies[0]), &[("access_key", "CANARYKEY0123456")]).await;
    first.end().await;

    let refusal = site.refusal(&[("BATCHSUITE_KEYS", NEW)]).await;
    assert!(refusal.contains("2026-11:lost"), "it says how to go on: {refusal}");
    let lost = format!("{NEW},2026-11:lost");
    let instance = site.start_with(&[("BATCHSUITE_KEYS", &lost)]).await;

    let list = browser.get(&instance, "/companies").await;
    assert_eq!((list.status, list.body.matches(DAMAGED).count()), (StatusCode::OK, 2), "{}", list.body);
    for company in &companies {
        authenticate(&site, &browser, company, &instance, &instance).await;
        assert!(!browser.get(&instance, company).await.body.contains(DAMAGED));
    }
    let page = browser.get(&instance, &companies[0]).await.body;
    assert!(page.contains("CANNOT BE READ") && !page.contains(">CONFIGURED<"), "a new access key is asked for: {page}");
    browser.post(&instance, &format!("{}/access-key", companies[0]), &[("access_key", "CANARYKEY0123456")]).await;
    assert!(browser.get(&instance, &companies[0]).await.body.contains(">CONFIGURED<"));
    instance.end().await;
    site.start_with(&[("BATCHSUITE_KEYS", NEW)]).await.end().await;
}

#[tokio::test]
async fn a_damaged_access_key_stops_neither_a_start_nor_a_rotation_of_keys() {
    let site = Site::new().await;
    let first = site.start().await;
    let browser = site.signed_in(&first, COMPANY_ADMIN).await;
    let companies = companies_on(&browser.get(&first, "/companies").await.body);
    for company in &companies[..2] {
        browser.post(&first, &format!("{company}/access-key"), &[("access_key", "CANARYKEY0123456")]).await;
    }
    first.end().await;
    let id = companies[0].strip_prefix("/companies/").unwrap();
    let cut =
        format!("UPDATE company_manager.companies SET access_key = substring(access_key FOR 20) WHERE id = '{id}'");
    sql(&site, &cut).await;

    site.start_with(&[("BATCHSUITE_KEYS", &format!("{NEW},{KEYS}"))]).await.end().await;

    let under = "SELECT count(*) FROM company_manager.companies WHERE position('2026-12'::bytea IN access_key) > 0";
    assert_eq!(
        site.stage.server.client().await.query_one(under, &[]).await.unwrap().get::<_, i64>(0),
        1,
        "the other one"
    );
    let instance = site.start_with(&[("BATCHSUITE_KEYS", NEW)]).await;
    assert_eq!(browser.get(&instance, &companies[0]).await.status, StatusCode::OK);
    instance.end().await;
}

#[tokio::test]
async fn a_role_that_may_only_read_and_write_rows_starts_it_where_the_tables_are_there() {
    let site = Site::new().await;
    site.start().await.end().await;
    let mut rights = "CREATE ROLE service LOGIN; REVOKE ALL ON DATABASE postgres FROM PUBLIC;
        GRANT CONNECT ON DATABASE postgres TO service;"
        .to_owned();
    for schema in ["company_manager", "batchsuite"] {
        rights += &format!(
            "GRANT USAGE ON SCHEMA {schema} TO service;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO service;
             GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO service;"
        );
    }
    sql(&site, &rights).await;
    let url = site.stage.server.url().replace("user=postgres", "user=service");

    let instance = site.start_with(&[("DATABASE_URL", &url)]).await;

    two_authenticated(&site, &instance).await;
    instance.end().await;
}

#[tokio::test]
async fn old_events_are_deleted_at_the_start() {
    let site = Site::new().await;
    let first = site.start().await;
    two_authenticated(&site, &first).await;
    first.end().await;
    let numbers = "SELECT id FROM batchsuite.events ORDER BY id LIMIT 3";
    let numbers = site.stage.server.client().await.query(numbers, &[]).await.unwrap();
    let numbers: Vec<i64> = numbers.iter().map(|row| row.get(0)).collect();
    let age = format!("UPDATE batchsuite.events SET at = at - interval '31 days' WHERE id <= {}", numbers[1]);
    sql(&site, &age).await;
    let left = async || -> i64 {
        site.stage.server.client().await.query_one("SELECT min(id) FROM batchsuite.events", &[]).await.unwrap().get(0)
    };

    let kept = site.start().await;
    assert_eq!(left().await, numbers[0], "400 days are kept by default");
    let instance = site.start_with(&[("EVENTS_KEPT_DAYS", "30")]).await;
    while left().await != numbers[2] {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for instance in [kept, instance] {
        instance.end().await;
    }
}
