//! A host with responses of its own, and the readiness probe.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    response::{IntoResponse as _, Response},
    routing::get,
};
use batchsuite_auth::{
    ActorId, CompanyId,
    adapters::axum::{Host, Outcome, Permission, Routes, Visitor, readyz},
    fake_ups::FakeUps,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{acme, ada};
use http::{Request, StatusCode, header, request::Parts};
use tower::ServiceExt as _;

/// Keeps the outcomes.
#[derive(Clone, Default)]
struct Keeps(Arc<Mutex<Vec<Outcome>>>);

impl Host for Keeps {
    async fn visitor(&self, _: &mut Parts) -> Visitor {
        Visitor::Actor(ada())
    }

    async fn may_authenticate(&self, _: &ActorId, _: &CompanyId) -> Permission {
        Permission::Granted
    }

    async fn answer(&self, _: &Parts, outcome: Outcome) -> Response {
        self.0.lock().unwrap().push(outcome);
        "the host's own page".into_response()
    }
}

#[tokio::test]
async fn a_refusal_names_its_company_to_the_host() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let host = Keeps::default();
    let routes = Routes::new(auth.clone(), host.clone()).csrf_checked_by_host();
    assert!(format!("{routes:?}").starts_with("Routes { start: \"/companies/{company}/authenticate\""), "{routes:?}");
    let app: Router = routes.router();
    auth.shutdown().await;

    let press = Request::post("/companies/acme/authenticate").body(Body::empty()).unwrap();
    app.oneshot(press).await.unwrap();

    let outcome = host.0.lock().unwrap().pop().unwrap();
    let shown = format!("{outcome:?}");
    assert!(shown.starts_with("Refused(Refusal") && shown.contains("acme"), "{shown}");
    let Outcome::Refused(refusal) = outcome else { panic!("{shown}") };
    assert_eq!(refusal.company, Some(acme()));
}

#[tokio::test]
async fn a_process_that_stops_is_no_longer_ready_and_says_why() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let app: Router = Router::new().route("/readyz", get(readyz).with_state(auth.clone()));
    let probe = async || {
        let answer = app.clone().oneshot(Request::get("/readyz").body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        assert_eq!(parts.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
        (parts.status, serde_json::from_slice::<serde_json::Value>(&to_bytes(body, 4096).await.unwrap()).unwrap())
    };

    assert_eq!(probe().await, (StatusCode::OK, serde_json::json!({ "ready": true, "findings": [] })));
    auth.shutdown().await;
    let stopping = serde_json::json!({ "ready": false, "findings": ["stopping"] });
    assert_eq!(probe().await, (StatusCode::SERVICE_UNAVAILABLE, stopping));
}
