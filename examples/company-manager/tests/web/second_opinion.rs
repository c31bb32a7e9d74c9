//! What the pages say while UPS is asked again about a refused refresh token, and afterwards.

use std::time::Duration;

use batchsuite_auth::{
    Policy,
    fake_ups::{Endpoint, Fault, Outcome, Times},
};
use batchsuite_tests::eventually;
use http::StatusCode;

use crate::world::{Browser, TRACKING_NUMBER, World};

const ASK_AGAIN: &str = "We ask again at";
const QUARTER_OF_AN_HOUR: Duration = Duration::from_secs(15 * 60);

/// A company whose access token has ended, and whose refresh token UPS refuses when somebody tracks a number: that browser, and
/// the company's page.
async fn refused(world: &World, times: Times) -> (Browser, String) {
    let company = world.companies().await.remove(0);
    world.authenticate(&world.company_admin().await, &company).await;
    world.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, times);
    world.clock().advance(Duration::from_secs(5 * 3600));
    let (browser, path) = (world.company_admin().await, format!("/companies/{company}"));
    let noticed = browser.post(&format!("{path}/track"), &[("number", TRACKING_NUMBER)]).await;
    assert_eq!(noticed.status, StatusCode::CONFLICT, "{}", noticed.body);
    (browser, path)
}

/// The words of a page without its marks, with single blanks between them.
pub(crate) fn words(page: &str) -> String {
    let text = page.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect::<String>();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn while_ups_is_to_be_asked_again_the_pages_say_what_ups_said_and_when_that_is() {
    let world = World::new().await;
    let (browser, path) = refused(&world, Times::Once).await;

    let now = world.now();
    let at = (now + QUARTER_OF_AN_HOUR).format("%Y-%m-%d %H:%M:%S").to_string();
    let since = now.format("%Y-%m-%d %H:%M:%S").to_string();
    for page in ["/companies", &path] {
        let page = browser.get(page).await.body;
        assert!(page.contains(">Authenticate again</span>"), "{page}");
        let page = words(&page);
        for expected in [
            "The UPS.com password was changed, access was withdrawn at UPS.com, or UPS ended it, e.g. after a change of billing.".to_owned(),
            format!("Since {since} UTC."),
            format!(
                "UPS.com says “Invalid Refresh Token”. We ask again at {at} UTC: UPS has been seen to refuse by mistake."
            ),
        ] {
            assert!(page.contains(&expected), "{expected}: {page}");
        }
        assert!(!page.contains("Refresh expires: "), "{page}");
    }
}

#[tokio::test]
async fn when_ups_takes_the_token_after_all_the_pages_are_healthy_and_the_history_says_so() {
    let world = World::new().await;
    let (browser, path) = refused(&world, Times::Once).await;
    world.clock().advance(QUARTER_OF_AN_HOUR);

    let keeper = world.keeper();
    eventually("the page is healthy", async || browser.get(&path).await.body.contains("Refresh expires: ")).await;

    let expires = format!("Refresh expires: {}", world.refresh_expires(&world.companies().await.remove(0)).await);
    for page in ["/companies", &path] {
        let page = browser.get(page).await.body;
        assert!(page.contains(">Authenticated</span>"), "{page}");
        assert!(words(&page).contains(&expires), "{page}");
        for ended in [ASK_AGAIN, "UPS.com says", "The UPS.com password was changed", ">Authenticate again</span>"] {
            assert!(!page.contains(ended), "{ended}: {page}");
        }
    }
    let tracked = browser.post(&format!("{path}/track"), &[("number", TRACKING_NUMBER)]).await;
    assert_eq!(tracked.status, StatusCode::OK, "{}", tracked.body);
    let history = words(&browser.get(&format!("{path}/history")).await.body);
    let at = |what: &str| history.find(what).unwrap_or_else(|| panic!("{what}: {history}"));
    let (recovered, ended) = (
        at("UPS accepts the authorization after all; the company is authenticated again."),
        at(
            "The UPS.com password was changed, access was withdrawn at UPS.com, or UPS ended it, e.g. after a change of billing.",
        ),
    );
    assert!(recovered < ended && ended < at("Authenticated the company."), "the newest first: {history}");
    keeper.shutdown().await;
}

#[tokio::test]
async fn after_the_last_refusal_no_page_promises_another_ask() {
    let world = World::new().await;
    let (mut browser, path) = refused(&world, Times::UntilCleared).await;
    let keeper = world.keeper();

    let refusals = || world.ups.requests().total(Endpoint::Refresh);
    for (asks, pause) in (2..).zip(Policy::default().second_opinions) {
        assert!(browser.get(&path).await.body.contains(ASK_AGAIN), "before ask {asks}");
        world.clock().advance(pause);
        eventually("UPS is asked again", async || refusals() == asks).await;
        browser = world.company_admin().await;
    }

    eventually("no page promises it", async || !browser.get(&path).await.body.contains(ASK_AGAIN)).await;
    let page = words(&browser.get(&path).await.body);
    assert!(page.contains("The UPS.com password was changed, access was withdrawn at UPS.com, or UPS ended it, e.g. after a change of billing."), "{page}");
    assert_eq!(world.ups.requests().count(Endpoint::Refresh, Outcome::Ok), 0);
    keeper.shutdown().await;
}
