//! One refresh is one trace, from the caller to UPS; a second caller's trace has a link to it.
//!
//! A program of its own: a span that another thread begins first, without a subscriber, may be lost here.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use axum::{Router, body::Body};
use batchsuite_auth::fake_ups::{Endpoint, FakeUps, Fault, Times};
use batchsuite_tests::{HOUR, acme, eventually, sqlite::TestFile};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use example_observe::{app, metrics::recorder, start, traces::layer};

/// Requests the page of acme.
async fn visit(app: &Router) -> u16 {
    let request = axum::http::Request::get("/companies/acme").body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// The spans with this name, in the order in which they began.
fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    let mut named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    named.sort_by_key(|span| span.start_time);
    named
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}

#[track_caller]
fn is_child(child: &SpanData, parent: &SpanData) {
    assert_eq!(child.span_context.trace_id(), parent.span_context.trace_id(), "{} and {}", child.name, parent.name);
    assert_eq!(child.parent_span_id, parent.span_context.span_id(), "{} in {}", child.name, parent.name);
}

#[tokio::test]
async fn one_refresh_is_one_trace_from_the_caller_to_ups_and_a_second_caller_has_a_link_to_it() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer(&provider)));
    let finished = async |count: usize| {
        eventually("the spans have ended", async || exporter.get_finished_spans().unwrap().len() >= count).await;
        exporter.get_finished_spans().unwrap()
    };
    let (file, ups) = (TestFile::new(), FakeUps::start().await);
    let service = start(&ups, &file.path(), recorder().unwrap().handle()).await.unwrap();
    let app = app(service.clone());

    // The opt-in.
    let spans = finished(3).await;
    let (callback, exchange) = (named(&spans, "callback")[0], named(&spans, "ups_request")[0]);
    is_child(exchange, callback);
    assert_eq!(["endpoint", "status", "outcome"].map(|key| attribute(exchange, key)), ["token", "200", "pair"]);
    let before = service.auth.access_token(&acme()).await.unwrap();

    // Two callers at once.
    exporter.reset();
    ups.clock().advance(2 * HOUR);
    assert_eq!(tokio::join!(visit(&app), visit(&app)), (200, 200));
    let spans = finished(6).await;
    let [pages, callers, flights, requests] =
        ["page", "access_token", "flight", "ups_request"].map(|name| named(&spans, name));
    assert_eq!([pages.len(), callers.len(), flights.len(), requests.len()], [2, 2, 1, 1], "{spans:?}");
    is_child(callers[0], pages[0]);
    is_child(flights[0], callers[0]);
    is_child(requests[0], flights[0]);
    assert_eq!(["endpoint", "status", "outcome"].map(|key| attribute(requests[0], key)), ["refresh", "200", "pair"]);
    assert_eq!((attribute(flights[0], "company"), &requests[0].span_kind), ("acme".to_owned(), &SpanKind::Client));
    is_child(callers[1], pages[1]);
    assert_ne!(callers[1].span_context.trace_id(), flights[0].span_context.trace_id());
    let links: Vec<_> = callers[1].links.iter().map(|link| link.span_context.clone()).collect();
    assert_eq!(links, [flights[0].span_context.clone()]);

    let shown = format!("{spans:?}");
    let after = service.auth.access_token(&acme()).await.unwrap();
    for secret in [before.expose_secret(), after.expose_secret(), FakeUps::CLIENT_SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }

    // A request that fails.
    exporter.reset();
    ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::Once);
    ups.clock().advance(2 * HOUR);
    assert_eq!(visit(&app).await, 503);
    let spans = finished(4).await;
    let request = named(&spans, "ups_request")[0];
    assert_eq!(["status", "outcome"].map(|key| attribute(request, key)), ["503", "unanswered"]);
    service.auth.shutdown().await;
}
