use std::time::Duration;

use batchsuite_auth::fake_ups::FakeUps;
use batchsuite_store::MemoryStore;
use batchsuite_tests::{acme, ada};

#[tokio::test]
async fn a_company_is_authenticated_refreshed_and_invalidated() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let (company, actor) = (acme(), ada());

    let trip = auth.authenticate(&company, &actor).await.unwrap();
    let query = ups.consent(&trip.url, "demo@example.com").await;
    let done = auth.callback(&actor, &query, &trip.browser_secret).await.unwrap();
    assert_eq!(done.company, company);
    let first = auth.access_token(&company).await.unwrap();

    ups.clock().advance(Duration::from_secs(2 * 3600));
    let second = auth.access_token(&company).await.unwrap();
    assert_eq!((first.revision().version, second.revision().version), (1, 2));

    ups.change_password("demo@example.com");
    ups.clock().advance(Duration::from_secs(5 * 3600));
    let error = auth.access_token(&company).await.unwrap_err();
    assert!(error.needs_reauthorization(), "{error:?}");
    auth.shutdown().await;
}
