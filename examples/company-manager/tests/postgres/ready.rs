//! The readiness probe while the database is away.

use batchsuite_tests::eventually;
use http::StatusCode;

use crate::instance::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_says_503_while_the_database_is_stopped_and_200_again_after() {
    let site = Site::new().await;
    let (instance, browser) = (site.start().await, site.browser());
    let probe = || browser.get(&instance, "/readyz");
    assert_eq!(probe().await.status, StatusCode::OK);

    site.stage.server.stop();
    eventually("it is not ready", async || probe().await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    let told = probe().await.body;
    assert!(told.contains("\"store_fails\"") && told.contains("\"ready\":false"), "{told}");
    assert_eq!(browser.get(&instance, "/healthz").await.status, StatusCode::OK, "it lives");

    site.stage.server.start_again();
    eventually("it is ready", async || probe().await.status == StatusCode::OK).await;
    instance.end().await;
}
