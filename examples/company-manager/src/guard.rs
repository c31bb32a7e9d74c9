//! What every request passes: the right host, a sane request line, the CSRF token of a form; and the headers of every answer.

use std::borrow::Cow;

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{self, InvalidHeaderValue},
};
use tokio::time::Instant;
use url::form_urlencoded;

use crate::{
    access::Visitor,
    app::{App, CALLBACK_PATH, Site},
    screens::refusal::{Refusal, plain},
};

/// The name of the hidden field that every form has.
pub(crate) const CSRF_FIELD: &str = "csrf_token";
/// The longest path and query, in bytes: a callback with UPS's longest code, every byte of it percent-encoded.
const MOST_TARGET: usize = 16 * 1024;
const MOST_FORM: usize = 16 * 1024;

/// One line a request: no query, no header, no body, so no secret.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("-".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let milliseconds = started.elapsed().as_millis();
    tracing::info!(%method, route, status = response.status().as_u16(), milliseconds, "request");
    response
}

/// Where a form may lead: this application, and every hop on the way to UPS's sign-in page. A browser checks each redirect
/// that answers a form, not just the first; with `'self'` alone, nobody would arrive at UPS.com.
pub(crate) fn content_security_policy(site: &Site) -> Result<HeaderValue, InvalidHeaderValue> {
    let hops = [site.ups_base_url.origin().ascii_serialization()].into_iter().chain(site.ups_hops.iter().cloned());
    let hops = hops.collect::<Vec<_>>().join(" ");
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {hops}; frame-ancestors 'none'; \
         base-uri 'none'"
    ))
}

/// Adds the security headers to every answer.
pub(crate) async fn headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, app.content_security_policy.clone());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if app.site.is_https() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses a path and query longer than any of ours or UPS's.
pub(crate) async fn request_line(request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if length > MOST_TARGET {
        let words = "This address is too long. Start again from the first page.";
        return plain(StatusCode::URI_TOO_LONG, "Address too long", words);
    }
    next.run(request).await
}

/// Sends a GET under another host name, or one that a proxy took over plain http, to the public URL; refuses anything else there.
pub(crate) async fn host(State(app): State<App>, request: Request, next: Next) -> Response {
    let public_url = &app.site.public_url;
    let public_host = &public_url[url::Position::BeforeHost..url::Position::AfterPort];
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()));
    let is_downgraded = app.site.is_https()
        && request.headers().get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"http");
    if host.is_some_and(|host| is_same_host(host, public_host, public_url)) && !is_downgraded {
        return next.run(request).await;
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let location = format!("{}{target}", public_url.origin().ascii_serialization());
        return found(&location);
    }
    let words = "This application is found under another address. Open that one and start again.";
    plain(StatusCode::MISDIRECTED_REQUEST, "Wrong address", words)
}

fn is_same_host(host: &str, public_host: &str, public_url: &url::Url) -> bool {
    // A browser leaves the scheme's own port out; other clients may name it.
    let named =
        public_url.port_or_known_default().map(|port| format!("{}:{port}", public_url.host_str().unwrap_or("")));
    host.eq_ignore_ascii_case(public_host) || named.is_some_and(|named| host.eq_ignore_ascii_case(&named))
}

fn found(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else { return Redirect::to("/").into_response() };
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

/// Refuses a form without its session's CSRF token. Every request that may change something passes here, so no screen can
/// forget it. (`Origin` would not do: pages without a referrer post `Origin: null`.)
pub(crate) async fn csrf(request: Request, next: Next) -> Response {
    // What is posted to the callback is told that it takes no POST, whoever posts it.
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || request.uri().path() == CALLBACK_PATH {
        return next.run(request).await;
    }
    let visitor = request.extensions().get::<Visitor>().cloned();
    let (parts, body) = request.into_parts();
    let Ok(form) = to_bytes(body, MOST_FORM).await else {
        let words = "That is more than a form of this application holds. Go back and shorten it.";
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Too much", words).into_response();
    };
    let token = form_urlencoded::parse(&form)
        .find(|(name, _)| name == CSRF_FIELD)
        .map_or(Cow::Borrowed(""), |(_, value)| value);
    if !visitor.is_some_and(|visitor| visitor.accepts(&token)) {
        let words = "This form is out of date: you signed in or out since it was opened, or your browser refuses cookies. \
                     Nothing was changed. Open the page again and repeat what you did.";
        return Refusal::new(StatusCode::FORBIDDEN, "Form out of date", words).into_response();
    }
    next.run(Request::from_parts(parts, Body::from(form))).await
}
