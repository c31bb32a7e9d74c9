//! The readiness probe.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};

use crate::authenticator::BatchSuiteAuth;

/// A handler for a readiness probe: 200 if this process can serve, otherwise 503. The body names the
/// [findings](crate::Health::findings) about the process and tells nothing else, so the path may be public.
///
/// UPS's own troubles do not make a process unready: cached tokens work, and no other process would do better.
///
/// ```
/// use axum::{Router, routing::get};
/// use batchsuite_auth::{BatchSuiteAuth, adapters::axum::readyz};
///
/// fn probes(auth: BatchSuiteAuth) -> Router {
///     Router::new().route("/readyz", get(readyz).with_state(auth)).route("/healthz", get(async || "ok"))
/// }
/// ```
pub async fn readyz(State(auth): State<BatchSuiteAuth>) -> Response {
    let health = auth.health();
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "ready": health.is_ready(), "findings": health.findings() });
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/json")];
    (status, headers, body.to_string()).into_response()
}
