//! How does an operator see what the service does, and hear of troubles?
//!
//! ```sh
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run -p example-observe    # e.g. Jaeger; without it, no traces
//! ```
//! It shows the addresses of a company's page, of `/metrics`, and of the fake UPS's faults: set one there, and look.
//! `dashboard.json` is for Grafana, `alerts.yml` for Prometheus; the tests set each fault and see its alert.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, io, path::Path, time::Duration};

use axum::{Router, extract, extract::State, routing::get};
use batchsuite_auth::{ActorId, BatchSuiteAuth, CompanyId, DeliveryHandle, Event, TokenError, fake_ups::FakeUps};
use batchsuite_store::{
    Keyring, SqliteStore,
    keyring::{KeySet, StaticKeySource},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, time::interval};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

mod metrics;
#[cfg(test)]
mod tests;
mod traces;

/// For this example alone.
const KEYS: &str = "example:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[derive(Clone)]
struct Service {
    auth: BatchSuiteAuth,
    store: SqliteStore,
    delivery: DeliveryHandle,
    exporter: PrometheusHandle,
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

fn app(service: Service) -> Router {
    Router::new().route("/companies/{company}", get(page)).route("/metrics", get(metrics::scrape)).with_state(service)
}

/// The service over the fake UPS, with one company that is authenticated.
async fn start(ups: &FakeUps, database: &Path, exporter: PrometheusHandle) -> Result<Service, Box<dyn Error>> {
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let recorder = metrics::recorder()?;
    let exporter = recorder.handle();
    ::metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
    let provider = traces::provider()?;
    let logs = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(provider.as_ref().map(traces::layer)).with(logs).init();
    let ups = FakeUps::builder().access_lifetime(Duration::from_secs(60)).start().await;
    let database = std::env::temp_dir().join(format!("example-observe-{}.db", std::process::id()));
    let service = start(&ups, &database, exporter).await?;
    let clock = ups.clock();
    tokio::spawn(async move {
        // The fake's clock stands still otherwise.
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            clock.advance(Duration::from_secs(1));
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("{url}/companies/acme\n{url}/metrics\n{}__fake/", ups.base_url());
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app(service.clone())).with_graceful_shutdown(stop).await?;
    service.auth.shutdown().await;
    service.store.close().await;
    std::fs::remove_file(database)?;
    provider.map_or(Ok(()), |provider| provider.shutdown())?;
    Ok(())
}
