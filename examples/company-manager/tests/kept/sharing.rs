//! Instances share everything, and it outlives them.

use batchsuite_auth::fake_ups::Endpoint;
use company_manager::demo::{ADMIN_USER, COMPANY_ADMIN, UPS_USER};
use http::StatusCode;
use url::Url;

use crate::instance::{Browser, Instance, PASSWORD, Site, companies_on};

const TRACKING_NUMBER: &str = "1Z999AA10123456784";

/// To UPS.com from one instance, and back to another: the callback's path and query, and the page that it leads to.
pub(crate) async fn authenticate(
    site: &Site,
    browser: &Browser,
    company: &str,
    from: &Instance,
    to: &Instance,
) -> (String, String) {
    let departure = browser.post(from, &format!("{company}/authenticate"), &[]).await;
    let trip = Url::parse(&departure.location).unwrap();
    let callback = format!("/oauth/ups/callback?{}", site.ups.consent(&trip, UPS_USER).await);
    let answer = browser.get(to, &callback).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    (callback, answer.location)
}

#[tokio::test]
async fn two_instances_that_start_at_once_share_everything_and_a_third_finds_it_after_them() {
    let site = Site::new().await;
    let (one, other) = tokio::join!(site.start(), site.start());
    assert!(!one.said.contains("canary"), "{}", one.said);

    // People, sessions and companies, which were added once.
    let browser = site.signed_in(&one, COMPANY_ADMIN).await;
    let companies = companies_on(&browser.get(&other, "/companies").await.body);
    assert_eq!(companies.len(), 3);
    assert_eq!(companies_on(&browser.get(&one, "/companies").await.body), companies);
    let added = browser.post(&other, "/companies/new", &[("name", "Zenith")]).await;
    assert!(browser.get(&one, "/companies").await.body.contains("Zenith"));
    assert!(browser.get(&one, &added.location).await.body.contains("Zenith"), "a flash, too");

    // Settings, the access key, and a flash, which is told once.
    let company = &companies[0];
    let settings = [("pod_retention_years", "7"), ("minimum_quality_score", "55"), ("batch_track", "yes")];
    assert_eq!(browser.post(&one, &format!("{company}/settings"), &settings).await.status, StatusCode::SEE_OTHER);
    let told = browser.get(&other, company).await.body;
    assert!(told.contains("The changes are saved.") && told.contains("value=\"55\""), "{told}");
    assert!(!browser.get(&one, company).await.body.contains("The changes are saved."));
    assert!(told.contains("NOT CONFIGURED"));
    browser.post(&other, &format!("{company}/access-key"), &[("access_key", "CANARYKEY0123456")]).await;
    assert!(browser.get(&one, company).await.body.contains(">CONFIGURED<"));

    // An opt-in that began at one and came back at the other.
    let (callback, page) = authenticate(&site, &browser, company, &one, &other).await;
    for instance in [&one, &other] {
        let again = browser.get(instance, &callback).await;
        assert_eq!((again.status, again.location), (StatusCode::SEE_OTHER, page.clone()), "it came there already");
    }
    assert_eq!(site.ups.requests().total(Endpoint::Token), 1);
    for instance in [&other, &one] {
        assert!(browser.get(instance, &page).await.body.contains("Refresh expires"));
    }

    // One ends in order, the other does not; the session, the company and its opt-in are still there.
    one.end().await;
    other.kill().await;
    let third = site.start().await;
    assert_eq!(companies_on(&browser.get(&third, "/companies").await.body).len(), 4, "nothing was added again");
    let kept = browser.get(&third, company).await.body;
    assert!(kept.contains("Refresh expires") && kept.contains(">CONFIGURED<") && kept.contains("value=\"55\""));
    browser.post(&third, &format!("{company}/track"), &[("number", TRACKING_NUMBER)]).await;
    assert_eq!(site.ups.requests().total(Endpoint::Track), 1, "the stored token is at work");

    // What ends at one has ended at all.
    let fourth = site.start().await;
    browser.post(&fourth, "/logout", &[]).await;
    assert_eq!(browser.get(&third, "/companies").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn another_demo_password_takes_the_place_of_the_first_and_ends_its_sessions() {
    let site = Site::new().await;
    let first = site.start().await;
    let [admin, user] = [site.signed_in(&first, COMPANY_ADMIN).await, site.signed_in(&first, ADMIN_USER).await];

    let same = site.start().await;
    assert_eq!(admin.get(&same, "/companies").await.status, StatusCode::OK, "the same password ends nothing");
    let changed = site.start_with(&[("DEMO_PASSWORD", "canary-another-password")]).await;

    for browser in [admin, user] {
        assert_eq!(browser.get(&changed, "/companies").await.status, StatusCode::SEE_OTHER);
    }
    assert!(!site.browser().sign_in(&first, COMPANY_ADMIN, PASSWORD).await);
    assert!(site.browser().sign_in(&first, COMPANY_ADMIN, "canary-another-password").await);
}
