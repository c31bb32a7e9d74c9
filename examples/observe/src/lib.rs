//! A service that can be observed: its metrics, its traces, and a page for a company.

pub mod metrics;
pub mod traces;

use std::{error::Error, path::Path};

use axum::{
    Router,
    extract::{self, State},
    routing::get,
};
use batchsuite_auth::{ActorId, BatchSuiteAuth, CompanyId, DeliveryHandle, Event, TokenError, fake_ups::FakeUps};
use batchsuite_store::{
    Keyring, SqliteStore,
    keyring::{KeySet, StaticKeySource},
};
use metrics_exporter_prometheus::PrometheusHandle;

/// For this example alone.
const KEYS: &str = "example:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What the service needs to answer.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Service {
    pub auth: BatchSuiteAuth,
    pub store: SqliteStore,
    pub delivery: DeliveryHandle,
    pub exporter: PrometheusHandle,
}

/// Starts it over the fake UPS, with one company that is authenticated.
///
/// # Errors
/// If the database cannot be opened, or the company cannot be authenticated.
pub async fn start(ups: &FakeUps, database: &Path, exporter: PrometheusHandle) -> Result<Service, Box<dyn Error>> {
    let keyring = Keyring::load(StaticKeySource::new(KeySet::parse(KEYS)?)).await?;
    let store = SqliteStore::open_with_clock(database, keyring, ups.clock()).await?;
    let auth = ups.authenticator().store(store.clone()).build()?;
    let delivery = auth.deliver("log", |event: Event| async move {
        tracing::info!(kind = %event.kind, "told");
        Ok(())
    })?;
    let (company, administrator) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    let trip = auth.authenticate(&company, &administrator).await?;
    let query = ups.consent(&trip.url, FakeUps::USER).await;
    auth.callback(&administrator, &query, &trip.browser_secret).await?;
    Ok(Service { auth, store, delivery, exporter })
}

/// Its pages.
pub fn app(service: Service) -> Router {
    Router::new().route("/companies/{company}", get(page)).route("/metrics", get(metrics::scrape)).with_state(service)
}

/// Where a trace begins.
#[tracing::instrument(skip(service))]
async fn page(
    State(service): State<Service>,
    extract::Path(company): extract::Path<CompanyId>,
) -> Result<&'static str, TokenError> {
    service.auth.access_token(&company).await?;
    Ok("it has a token\n")
}
