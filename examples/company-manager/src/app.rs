//! The application: its parts and its routes.

use std::{fmt, sync::Arc};

use argon2::password_hash;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use batchsuite_auth::{
    BatchSuiteAuth,
    adapters::axum::{Routes, readyz, trip_cookie},
    clock::Clock,
    http::HttpClient,
};
use http::HeaderValue;
use url::Url;

use crate::{
    access,
    client::{Client, Proxies},
    config::is_loopback,
    directory::Directory,
    guard,
    passwords::Verifier,
    redirects::Redirects,
    screens::{
        authenticate::Trips, batch_track, companies, company, connect_link, connection, history, landing, refusal,
        remove_auth, sign_in, style, tools,
    },
    sessions::{Cookies, Sessions},
    throttle::Throttle,
};

/// The callback's path below the public URL. The URL registered at UPS ends with it.
pub(crate) const CALLBACK_PATH: &str = "/oauth/ups/callback";
/// The maximum size of a form, in bytes.
const MOST_BODY: usize = 16 * 1024;

/// The parts of the application.
#[derive(Debug)]
pub struct Parts {
    /// Keeps the opt-ins.
    pub auth: BatchSuiteAuth,
    /// Keeps people and companies.
    pub directory: Arc<dyn Directory>,
    /// Keeps the sessions.
    pub sessions: Arc<dyn Sessions>,
    /// Calls UPS's tracking API.
    pub http: Arc<dyn HttpClient>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The application's own URLs and those of UPS.
    pub site: Site,
}

/// The URLs of the application and of its UPS.
#[derive(Clone, Debug)]
pub struct Site {
    /// The application's URL in browsers: scheme and host, no path.
    pub public_url: Url,
    /// The base URL of UPS's endpoints.
    pub ups_base_url: Url,
    /// Further origins that a browser passes on its way to UPS's sign-in page.
    pub ups_hops: Vec<String>,
    /// In the demo, the page on which the UPS.com user's password is changed.
    pub demo_ups: Option<Url>,
}

impl Site {
    /// The callback URL to register at UPS.
    pub fn redirect_uri(&self) -> Url {
        let mut url = self.public_url.clone();
        url.set_path(CALLBACK_PATH);
        url
    }

    pub(crate) fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

/// The state shared by all requests.
pub(crate) struct State {
    pub(crate) auth: BatchSuiteAuth,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) ups: batch_track::UpsClient,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) site: Site,
    pub(crate) content_security_policy: HeaderValue,
    pub(crate) cookies: Cookies,
    pub(crate) proxies: Proxies,
    pub(crate) redirects: Redirects,
    pub(crate) verifier: Verifier,
    pub(crate) throttle: Throttle,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("site", &self.site).finish_non_exhaustive()
    }
}

pub(crate) type App = Arc<State>;

/// Builds the application without a proxy in front. Serve it with connect info, so that failed sign-ins are counted by
/// address; [`serve`](crate::serve()) does.
///
/// # Errors
/// If `site` has a host that is not a valid header value, or argon2 rejects its parameters.
pub fn app(parts: Parts) -> Result<Router, AppError> {
    app_behind(Proxies::NONE, parts)
}

/// Builds the application behind `proxies`, whose `X-Forwarded-For` is trusted.
///
/// # Errors
/// Those of [`app`].
pub fn app_behind(proxies: Proxies, parts: Parts) -> Result<Router, AppError> {
    let Parts { auth, directory, sessions, http, clock, site } = parts;
    let state = Arc::new(State {
        content_security_policy: guard::content_security_policy(&site).map_err(|_| AppError::Site)?,
        cookies: Cookies { secure: site.is_https() },
        proxies,
        redirects: Redirects::default(),
        verifier: Verifier::new().map_err(AppError::Argon2)?,
        throttle: Throttle::default(),
        ups: batch_track::ups_client(auth.clone(), http),
        auth,
        directory,
        sessions,
        clock,
        site,
    });
    if !state.site.is_https() && !is_loopback(&state.site.public_url) {
        return Err(AppError::Site);
    }

    let trips = Routes::new(state.auth.clone(), Trips(state.clone()));
    let trips = trips.connect_links(connect_link::MAKE_PATH, connect_link::LINK_PATH);
    // In the order of the request's way in: every refusal gets the security headers and a log line.
    let screens = Router::new()
        .route("/", get(landing::show))
        .route("/login", get(sign_in::show).post(sign_in::sign_in))
        .route("/logout", post(sign_in::sign_out))
        .route("/companies", get(companies::list))
        .route("/companies/new", get(companies::new).post(companies::add))
        .route("/companies/{id}", get(company::show))
        .route("/companies/{id}/settings", post(company::save_settings))
        .route("/companies/{id}/access-key", post(company::save_access_key))
        .route("/companies/{id}/remove-auth", post(remove_auth::remove_auth))
        .route("/companies/{id}/check", post(connection::check))
        .route("/companies/{id}/history", get(history::show))
        .route("/companies/{id}/track", post(batch_track::track))
        .route("/batch-track", get(batch_track::show))
        .route("/sigview", get(tools::sigview))
        .route("/custom-billing", get(tools::custom_billing))
        .route("/batch-rate", get(tools::batch_rate))
        .merge(trips.csrf_checked_by_host().router())
        .fallback(refusal::no_such_page)
        .method_not_allowed_fallback(refusal::method_not_allowed)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(state.auth.clone(), trip_cookie))
        .layer(from_fn(guard::csrf))
        .layer(from_fn_with_state(state.clone(), access::visitor))
        .layer(from_fn_with_state(state.clone(), guard::host))
        .layer(from_fn(guard::speculation));
    let router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(readyz).with_state(state.auth.clone()))
        .route("/style.css", get(style::style))
        .route("/icon.svg", get(style::icon))
        .merge(screens)
        .layer(from_fn(guard::request_line))
        .layer(from_fn_with_state(state.clone(), guard::headers))
        .layer(from_fn(guard::log))
        .with_state(state);
    Ok(router)
}

/// The application cannot be built.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The public URL is neither https nor loopback, or a host is not a valid header value.
    #[error("the public URL must be https, or http on loopback")]
    Site,
    /// argon2 rejects its parameters.
    #[error("argon2 refuses its parameters: {0}")]
    Argon2(password_hash::Error),
}

async fn health() -> &'static str {
    "ok\n"
}

impl State {
    /// The client of a request, if the server knows it.
    pub(crate) fn client(&self, request: &Request) -> Option<Client> {
        self.proxies.client(request.extensions(), request.headers())
    }
}
