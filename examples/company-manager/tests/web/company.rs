//! The company page, its settings and its key; REMOVE AUTH; Batch Track; the history.

use std::time::Duration;

use batchsuite_auth::fake_ups::{AccessTokens, Answer, Endpoint, Outcome, Times};
use company_manager::demo::UPS_USER;
use http::StatusCode;

use crate::world::{TRACKING_NUMBER, World};

#[tokio::test]
async fn settings_are_saved_or_refused_as_a_whole() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let path = format!("/companies/{}", world.companies().await.remove(0));
    let settings = format!("{path}/settings");

    let wrong = [("pod_retention_years", "11"), ("minimum_quality_score", "<9>"), ("custom_billing", "yes")];
    let refused = browser.post(&settings, &wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.body.contains("a whole number from 0 to 10."), "{}", refused.body);
    assert!(refused.body.contains("value=\"&lt;9&gt;\""), "what was typed is still there: {}", refused.body);

    let right = [("pod_retention_years", "10"), ("minimum_quality_score", "55"), ("custom_billing", "yes")];
    assert_eq!(browser.post(&settings, &right).await.status, StatusCode::SEE_OTHER);
    let page = browser.get(&path).await.body;
    assert!(page.contains("The changes are saved."), "{page}");
    assert!(page.contains("value=\"55\""), "{page}");
    assert!(browser.get("/sigview").await.body.contains("10 years"));
    assert!(browser.get("/custom-billing").await.body.contains("<td>On</td>"));
    assert_eq!(browser.post(&settings, &[]).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_access_key_is_configured_and_never_shown_again() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let path = format!("/companies/{}", world.companies().await.remove(0));
    assert!(browser.get(&path).await.body.contains("NOT CONFIGURED"));

    let refused = browser.post(&format!("{path}/access-key"), &[("access_key", "CANARY!KEY")]).await;
    let saved = browser.post(&format!("{path}/access-key"), &[("access_key", "CANARYKEY0123456")]).await;

    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!refused.body.contains("CANARY"), "{}", refused.body);
    assert_eq!(saved.status, StatusCode::SEE_OTHER);
    let page = browser.get(&path).await.body;
    assert!(page.contains(">CONFIGURED<"), "{page}");
    assert!(!page.contains("CANARY"), "{page}");
}

#[tokio::test]
async fn remove_auth_asks_then_does() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    let path = format!("/companies/{company}/remove-auth");
    world.authenticate(&browser, &company).await;

    let asked = browser.post(&path, &[]).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(asked.body.contains("What this cannot do"), "{}", asked.body);
    assert!(world.is_authenticated(&company).await);

    let done = browser.post(&path, &[("confirm", "yes")]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(!world.is_authenticated(&company).await);
    let page = browser.get(done.location()).await.body;
    assert!(page.contains("The authorization was removed."), "{page}");
    let history = browser.get(&format!("/companies/{company}/history")).await.body;
    let (removed, authenticated) =
        (history.find("Removed the authorization.").unwrap(), history.find("Authenticated the company.").unwrap());
    assert!(removed < authenticated, "the newest first");
}

#[tokio::test]
async fn a_number_is_tracked_with_the_company_s_token() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    world.authenticate(&browser, &company).await;
    let path = format!("/companies/{company}/track");

    let tracked = browser.post(&path, &[("number", TRACKING_NUMBER)]).await;

    assert_eq!(tracked.status, StatusCode::OK);
    assert!(tracked.body.contains("On the Way"), "{}", tracked.body);
    for number in ["", "123456", "1Z/../../x", &"1".repeat(35)] {
        let answer = browser.post(&path, &[("number", number)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{number}");
    }
    assert_eq!(world.ups.requests().total(Endpoint::Track), 1);
}

#[tokio::test]
async fn a_rejected_token_is_reported_and_another_one_is_tried_once() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    world.authenticate(&browser, &company).await;
    let path = format!("/companies/{company}/track");
    let rejected = || Answer::status(401).with_body(r#"{"response":{"errors":[{"code":"251004","message":"x"}]}}"#);

    world.ups.fault(Endpoint::Track, rejected(), Times::Once);
    let answer = browser.post(&path, &[("number", TRACKING_NUMBER)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::Ok), 1);

    world.ups.fault(Endpoint::Track, rejected(), Times::UntilCleared);
    let before = world.ups.requests().total(Endpoint::Track);
    let answer = browser.post(&path, &[("number", TRACKING_NUMBER)]).await;
    assert!(answer.status.is_server_error(), "{}", answer.status);
    assert!(world.ups.requests().total(Endpoint::Track) - before <= 2, "no loop");
    assert!(world.is_authenticated(&company).await, "an API's 401 is no verdict");
}

#[tokio::test]
async fn after_a_password_change_the_cause_is_told_on_the_page_on_the_list_and_where_it_was_noticed() {
    let world = World::new().await;
    let (browser, admin) = (world.company_admin().await, world.admin_user().await);
    let company = world.companies().await.remove(0);
    world.authenticate(&browser, &company).await;
    world.ups.change_password_with(UPS_USER, AccessTokens::Die);

    let noticed = browser.post(&format!("/companies/{company}/track"), &[("number", TRACKING_NUMBER)]).await;

    assert_eq!(noticed.status, StatusCode::CONFLICT);
    for page in
        [noticed.body, browser.get("/companies").await.body, browser.get(&format!("/companies/{company}")).await.body]
    {
        assert!(page.contains("The UPS.com password was changed, access was withdrawn at UPS.com, or UPS ended it, e.g. after a change of billing."), "{page}");
    }
    assert!(!admin.get("/companies").await.body.contains("Alder"), "not authenticated, so absent");

    world.authenticate(&browser, &company).await;
    assert!(browser.get(&format!("/companies/{company}")).await.body.contains("Refresh expires: "));
}

#[tokio::test]
async fn batch_track_that_is_switched_off_asks_ups_nothing() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    world.authenticate(&browser, &company).await;
    let settings = [("pod_retention_years", "2"), ("minimum_quality_score", "80")];
    browser.post(&format!("/companies/{company}/settings"), &settings).await;

    let answer = browser.post(&format!("/companies/{company}/track"), &[("number", TRACKING_NUMBER)]).await;

    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(browser.get("/batch-track").await.body.contains("switched off"));
    assert_eq!(world.ups.requests().total(Endpoint::Track), 0);
}

#[tokio::test]
async fn an_authorization_that_ends_soon_is_warned_of_with_the_date() {
    let world = World::new().await;
    let company = world.companies().await.remove(0);
    world.authenticate(&world.company_admin().await, &company).await;
    world.clock().advance(Duration::from_secs(50 * 86_400));
    let browser = world.company_admin().await;
    let warning = format!("The authorization ends soon, on {} UTC", world.refresh_expires(&company).await);

    for path in ["/companies".to_owned(), format!("/companies/{company}")] {
        let page = browser.get(&path).await.body;
        assert!(page.contains("Expiring soon"), "{page}");
        assert!(page.contains(&warning), "{page}");
    }
}

#[tokio::test]
async fn a_long_history_comes_in_pages() {
    let world = World::new().await;
    let browser = world.company_admin().await;
    let company = world.companies().await.remove(0);
    for _ in 0..30 {
        world.depart(&browser, &company).await;
    }
    let path = format!("/companies/{company}/history");

    let first = browser.get(&path).await.body;
    let before = first.split("?before=").nth(1).unwrap().split('"').next().unwrap();
    let second = browser.get(&format!("{path}?before={before}")).await.body;

    assert_eq!(first.matches("<td class=\"when\"").count(), 25);
    assert_eq!(second.matches("<td class=\"when\"").count(), 5);
    assert!(!second.contains("?before="));
    assert_eq!(browser.get(&format!("{path}?before=x")).await.status, StatusCode::OK);
}
