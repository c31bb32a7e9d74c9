//! Behind PgBouncer, with its default settings.

use batchsuite_auth::fake_ups::Endpoint;
use batchsuite_tests::postgres::{PgBouncer, PoolMode};
use company_manager::demo::{COMPANY_ADMIN, UPS_USER};
use http::StatusCode;
use url::Url;

use crate::instance::{Site, companies_on};

const TRACKING_NUMBER: &str = "1Z999AA10123456784";

#[tokio::test]
async fn everything_works_behind_pgbouncer_in_session_and_in_transaction_mode() {
    for (mode, parameter) in [(PoolMode::Session, ""), (PoolMode::Transaction, " pgbouncer=true")] {
        let site = Site::new().await;
        let pooler = PgBouncer::with_defaults(&site.stage.server, mode);
        let url = format!("{}{parameter}", pooler.url());
        let instance = site.start_with(&[("DATABASE_URL", &url)]).await;
        let browser = site.signed_in(&instance, COMPANY_ADMIN).await;
        let company = companies_on(&browser.get(&instance, "/companies").await.body).remove(0);
        let added = browser.post(&instance, "/companies/new", &[("name", "Zenith")]).await;
        let settings = [("pod_retention_years", "7"), ("minimum_quality_score", "55"), ("batch_track", "yes")];
        browser.post(&instance, &format!("{company}/settings"), &settings).await;
        browser.post(&instance, &format!("{company}/access-key"), &[("access_key", "CANARYKEY0123456")]).await;

        let departure = browser.post(&instance, &format!("{company}/authenticate"), &[]).await;
        let trip = Url::parse(&departure.location).unwrap();
        let callback = format!("/oauth/ups/callback?{}", site.ups.consent(&trip, UPS_USER).await);
        assert_eq!(browser.get(&instance, &callback).await.status, StatusCode::SEE_OTHER, "{mode:?}");
        browser.post(&instance, &format!("{company}/track"), &[("number", TRACKING_NUMBER)]).await;

        let page = browser.get(&instance, &company).await.body;
        assert!(page.contains("Refresh expires") && page.contains(">CONFIGURED<") && page.contains("value=\"55\""));
        assert!(browser.get(&instance, &added.location).await.body.contains("Zenith"), "{mode:?}");
        assert_eq!(site.ups.requests().total(Endpoint::Track), 1, "{mode:?}");
        let again = site.start_with(&[("DATABASE_URL", &url)]).await;
        assert_eq!(companies_on(&browser.get(&again, "/companies").await.body).len(), 4, "{mode:?}");
    }
}
