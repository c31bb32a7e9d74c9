//! Metrics for Prometheus: `/metrics` sets the gauges and renders everything.

use axum::extract::State;
use batchsuite_auth::{BatchSuiteAuth, DeliveryHandle, Environment, error::chain};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::Service;

/// Seconds. UPS is given 20; a refresh that takes two is slow.
const BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];

/// The recorder, with buckets for how long UPS takes. Install it before the service starts.
///
/// # Errors
/// Never: there are buckets.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let refreshes = Matcher::Full("batchsuite_refresh_seconds".to_owned());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(refreshes, &BUCKETS)?.build_recorder())
}

/// Answers a scrape.
pub async fn scrape(State(service): State<Service>) -> String {
    // Not every process has to do this: it asks the database. The alerts take the worst.
    match service.store.overview(Environment::Cie).await {
        Ok(overview) => overview.record_metrics(Environment::Cie),
        Err(error) => tracing::warn!(error = %chain(&error), "the overview cannot be read"),
    }
    rendered(&service.auth, &[service.delivery], &service.exporter)
}

/// The metrics of a process, in Prometheus's text format.
pub fn rendered(auth: &BatchSuiteAuth, deliveries: &[DeliveryHandle], exporter: &PrometheusHandle) -> String {
    auth.health().record_metrics(Environment::Cie);
    deliveries.iter().for_each(DeliveryHandle::record_metrics);
    exporter.run_upkeep();
    exporter.render()
}
