//! Why a company works or does not: the findings on its page, *Check connection*, the filters of the list, the probe.

use std::time::Duration;

use batchsuite_auth::fake_ups::{Answer, Endpoint, Fault, Outcome, Times};
use http::StatusCode;

use crate::world::{Browser, World};

const HOUR: Duration = Duration::from_secs(3600);

/// Two companies whose access tokens have ended, and somebody who has just signed in.
async fn with_ended_tokens(world: &World) -> (Browser, [String; 2]) {
    let browser = world.company_admin().await;
    let companies = world.companies().await;
    for company in &companies[..2] {
        world.authenticate(&browser, company).await;
    }
    world.clock().advance(HOUR);
    (world.company_admin().await, [0, 1].map(|index| format!("/companies/{}", companies[index])))
}

async fn check(browser: &Browser, path: &str) -> String {
    let answer = browser.post(&format!("{path}/check"), &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, path));
    browser.get(path).await.body
}

#[tokio::test]
async fn a_check_gets_a_token_and_says_until_when_it_works() {
    let world = World::new().await;
    let (browser, [path, _]) = with_ended_tokens(&world).await;

    let page = check(&browser, &path).await;

    let token = world.auth.access_token(&world.companies().await[0]).await.unwrap();
    let ends = token.expires_at().format("%Y-%m-%d %H:%M:%S").to_string();
    assert!(page.contains("The connection was checked: programs get an access token."), "{page}");
    assert!(page.contains(&format!("ends at {ends}")), "{ends}: {page}");
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::Ok), 1);
    assert!(!browser.get(&path).await.body.contains("was checked"), "told once");
}

#[tokio::test]
async fn a_check_without_a_token_says_why_since_when_and_what_happens_next() {
    for (fault, words, said) in [
        (Fault::Unavailable, "The last refresh got neither tokens nor a refusal from UPS.", " Since "),
        (
            Fault::InvalidClient,
            "UPS refused the last refresh for a reason other than its token.",
            "UPS says “ClientId is Invalid”.",
        ),
        (
            Answer::status(400).with_body(r#"{"response":{"errors":[{"code":"7","message":"On holiday"}]}}"#).into(),
            "UPS refused the last refresh for a reason other than its token.",
            "UPS says “On holiday”.",
        ),
    ] {
        let world = World::new().await;
        let (browser, [path, _]) = with_ended_tokens(&world).await;
        world.ups.fault(Endpoint::Refresh, fault, Times::UntilCleared);

        let page = check(&browser, &path).await;

        assert!(page.contains("no access token can be had now"), "{page}");
        assert!(page.contains(words), "{words}: {page}");
        assert!(page.contains(" Next: "), "{page}");
        assert!(page.contains(said), "{said}: {page}");
    }
}

#[tokio::test]
async fn only_a_companys_administrators_check_its_connection() {
    let world = World::new().await;
    let (_, [path, _]) = with_ended_tokens(&world).await;
    let admin_user = world.admin_user().await;
    assert!(!admin_user.get(&path).await.body.contains("CHECK CONNECTION"));

    let refused = admin_user.post(&format!("{path}/check"), &[]).await;

    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let others = format!("/companies/{}/check", world.others_company().await);
    assert_eq!(world.company_admin().await.post(&others, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.ups.requests().total(Endpoint::Refresh), 0);
}

#[tokio::test]
async fn before_the_trip_the_page_says_what_to_know() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let page = browser.get(&format!("/companies/{}", world.companies().await.remove(0))).await.body;

    for words in ["sign out of UPS.com first", "CampusShip", "Add all shipper accounts", "holds the shipper number"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("CHECK CONNECTION"), "there is no connection to check");
}

#[tokio::test]
async fn the_list_filters_by_expiring_soon_and_authenticate_again() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let companies = world.companies().await;
    world.authenticate(&browser, &companies[0]).await;
    world.clock().advance(50 * 24 * HOUR);
    let browser = world.company_admin().await;
    world.authenticate(&browser, &companies[1]).await;
    world.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    world.clock().advance(HOUR);
    world.auth.access_token(&companies[1]).await.unwrap_err();
    let browser = world.company_admin().await;

    let listed = async |browser: &Browser, query: &str| {
        let page = browser.get(&format!("/companies{query}")).await.body;
        companies.iter().map(|company| page.contains(&format!("href=\"/companies/{company}\""))).collect::<Vec<_>>()
    };
    assert_eq!(listed(&browser, "").await[..2], [true, true]);
    assert_eq!(listed(&browser, "?status=expiring_soon").await[..2], [true, false]);
    assert_eq!(listed(&browser, "?status=reauth_required").await[..2], [false, true]);
    assert_eq!(listed(&browser, "?status=nonsense").await[..2], [true, true], "an unknown filter is none");

    let admin_user = world.admin_user().await;
    assert_eq!(listed(&admin_user, "?status=expiring_soon").await[..2], [true, false]);
    assert_eq!(listed(&admin_user, "?status=reauth_required").await[..2], [true, false], "not for this person");
}

#[tokio::test]
async fn the_probe_says_whether_the_process_serves_and_an_outage_of_ups_is_no_reason() {
    let world = World::new().await;
    let browser = world.browser();
    let ready = browser.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (StatusCode::OK, r#"{"findings":[],"ready":true}"#));
    assert_eq!(ready.headers["cache-control"], "no-store");

    let (admin, paths) = with_ended_tokens(&world).await;
    world.ups.fault(Endpoint::Refresh, Fault::InvalidClient, Times::UntilCleared);
    for path in &paths {
        check(&admin, path).await;
    }
    let troubled = browser.get("/readyz").await;
    assert!(troubled.body.contains("client_misconfigured"), "{}", troubled.body);

    world.auth.quiesce();
    let stopping = browser.get("/readyz").await;
    assert_eq!(stopping.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(stopping.body.contains("\"stopping\"") && stopping.body.contains("\"ready\":false"), "{}", stopping.body);
    assert_eq!(browser.get("/healthz").await.status, StatusCode::OK, "it lives");
}
