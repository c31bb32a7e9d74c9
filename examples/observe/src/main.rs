//! How does an operator see what the service does, and hear of troubles?
//!
//! ```sh
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run -p example-observe    # e.g. Jaeger; without it, no traces
//! ```
//! It shows the addresses of a company's page, of `/metrics`, and of the fake UPS's faults: set one there, and look.
//! `dashboard.json` is for Grafana, `alerts.yml` for Prometheus; the tests set each fault and see its alert.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{error::Error, io, time::Duration};

use batchsuite_auth::fake_ups::FakeUps;
use example_observe::{app, metrics::recorder, start, traces};
use tokio::{net::TcpListener, time::interval};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let recorder = recorder()?;
    let exporter = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
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
