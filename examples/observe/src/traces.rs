//! Traces for OpenTelemetry: the spans of this program and of the library, to an OTLP endpoint.
//!
//! One request is one trace: the page, `access_token`, `flight`, `ups_request` with UPS's status. A second caller of the
//! same flight is in a trace of its own, with a link to the flight. No span has a secret.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

/// Sends to `OTEL_EXPORTER_OTLP_ENDPOINT`, by http. `None`: it is not set.
///
/// # Errors
/// If the endpoint is no URL.
pub fn provider() -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_none() {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().build()?;
    let resource = Resource::builder().with_service_name("example-observe").build();
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
}

/// The layer that makes spans of `tracing` those of OpenTelemetry.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // The exporter's own requests must not be traced, or each export causes the next.
    let ours = Targets::new()
        .with_target("batchsuite_auth", LevelFilter::INFO)
        .with_target("example_observe", LevelFilter::INFO);
    tracing_opentelemetry::layer().with_tracer(provider.tracer("example-observe")).with_filter(ours)
}
