//! The web part of an opt-in for services on `axum` 0.8: routes, cookie, pages, and errors as responses.
//!
//! A [`Host`] tells who is signed in and who may authenticate which company. [`router`] does the rest: Authenticate,
//! the return from UPS.com with its cookie, and a plain page for each [`Outcome`], which the host can replace.
//! [`Routes`] lists the paths, can change them, and adds [connect links](Routes::connect_links).
//!
//! - Wrap every page with an Authenticate button in the [`trip_cookie`] middleware. The button is a form: `<form
//!   method="post" action="/companies/{company}/authenticate">`.
//! - The host's session cookie must be `SameSite=Lax`: the return from UPS.com is a cross-site navigation, which does
//!   not include `Strict` cookies.
//! - A Content-Security-Policy with `form-action` must allow the redirects to UPS.com:
//!   [`form_action`](crate::BatchSuiteAuth::form_action).
//! - A log of requests must not contain the query of the callback, which has the code and the state, nor the path of a
//!   connect link. Log axum's `MatchedPath` instead of the URI.
//! - [`readyz`] answers a readiness probe.
//! - [`CallbackError`], [`AuthenticateError`], [`LinkError`] and [`TokenError`] implement `IntoResponse`, so the host's
//!   handlers can return them with `?`.
//!
//! ```
//! use axum::{Router, middleware::from_fn_with_state, response::Html, routing::get};
//! use batchsuite_auth::{
//!     ActorId, BatchSuiteAuth, CompanyId,
//!     adapters::axum::{Host, Permission, Visitor, router, trip_cookie},
//! };
//! use http::request::Parts;
//!
//! struct Example;
//!
//! impl Host for Example {
//!     async fn visitor(&self, request: &mut Parts) -> Visitor {
//!         // The person of the request's session, in a real host.
//!         let name = request.headers.get("x-signed-in-as").and_then(|name| name.to_str().ok());
//!         name.and_then(|name| ActorId::new(name).ok()).into()
//!     }
//!
//!     async fn may_authenticate(&self, actor: &ActorId, company: &CompanyId) -> Permission {
//!         (actor.as_str() == "ada" && company.as_str() == "acme").into()
//!     }
//! }
//!
//! fn app(auth: BatchSuiteAuth) -> Router {
//!     const PAGE: &str = r#"<form method="post" action="/companies/acme/authenticate"><button>Authenticate</button></form>"#;
//!     Router::new()
//!         .route("/", get(async || Html(PAGE)))
//!         .layer(from_fn_with_state(auth.clone(), trip_cookie))
//!         .merge(router(auth, Example))
//! }
//! ```
//!
//! [`CallbackError`]: crate::error::CallbackError
//! [`AuthenticateError`]: crate::error::AuthenticateError
//! [`LinkError`]: crate::error::LinkError
//! [`TokenError`]: crate::error::TokenError

mod cookie;
mod errors;
mod host;
mod pages;
mod probe;
mod refusal;
mod routes;

pub use self::{
    cookie::trip_cookie,
    host::{Host, Outcome, Permission, Visitor},
    probe::readyz,
    refusal::Refusal,
    routes::{Routes, router},
};
