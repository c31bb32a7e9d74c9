//! A database whose connections fall silent: TCP acknowledges every byte, and no answer comes.

use std::time::Duration;

use batchsuite_tests::proxy::Proxy;
use company_manager::demo::COMPANY_ADMIN;
use http::StatusCode;
use tokio::time::timeout;

use crate::instance::Site;

/// For what would take for ever.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn pages_are_answered_again_soon_after_all_connections_fell_silent() {
    let site = Site::new().await;
    let proxy = Proxy::before(&site.stage.server).await;
    let instance = site.start_with(&[("DATABASE_URL", &proxy.url())]).await;
    let browser = site.signed_in(&instance, COMPANY_ADMIN).await;

    proxy.silence_connections();
    let page = || async { timeout(LONG, browser.get(&instance, "/companies")).await.expect("a page").status };
    let silent = page().await;
    let next = page().await;

    assert_eq!(silent, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(next, StatusCode::OK);
}
