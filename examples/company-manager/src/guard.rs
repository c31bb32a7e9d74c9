//! Checks on every request (host, request line, CSRF token of a form), and the headers of every response.

use std::{borrow::Cow, error::Error, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use batchsuite_auth::browser::is_speculative;
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{self, InvalidHeaderValue},
};
use http_body_util::LengthLimitError;
use tokio::time::{Instant, timeout};
use url::form_urlencoded;

use crate::{
    access::Visitor,
    app::{App, CALLBACK_PATH, Site},
    screens::{
        connect_link::LINK_PATH,
        refusal::{Refusal, plain},
    },
};

/// The name of the hidden field in every form.
pub(crate) const CSRF_FIELD: &str = "csrf_token";
/// The maximum length of path and query, in bytes: a callback with UPS's longest code, fully percent-encoded.
const MOST_TARGET: usize = 16 * 1024;
const MOST_FORM: usize = 16 * 1024;
/// The maximum time for a form to arrive.
const MOST_FORM_TIME: Duration = Duration::from_secs(15);

/// Logs one line per request, without query, headers or body, so without secrets.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("-".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let milliseconds = started.elapsed().as_millis();
    tracing::info!(%method, route, status = response.status().as_u16(), milliseconds, "request");
    response
}

/// The allowed targets of forms: this application, and every redirect on the way to UPS's sign-in page. A browser
/// checks each redirect that answers a form, not only the first; `'self'` alone would block the redirect to UPS.com.
pub(crate) fn content_security_policy(site: &Site) -> Result<HeaderValue, InvalidHeaderValue> {
    let hops = [site.ups_base_url.origin().ascii_serialization()].into_iter().chain(site.ups_hops.iter().cloned());
    let hops = hops.collect::<Vec<_>>().join(" ");
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {hops}; frame-ancestors 'none'; \
         base-uri 'none'"
    ))
}

/// Adds the security headers to every response.
pub(crate) async fn headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, app.content_security_policy.clone());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
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
    // The page of a connect link has its own.
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    response
}

/// Rejects a path and query longer than any of the application's or UPS's.
pub(crate) async fn request_line(request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if length > MOST_TARGET {
        let words = "This address is too long. Start again from the first page.";
        return plain(StatusCode::URI_TOO_LONG, "Address too long", &[words], None);
    }
    next.run(request).await
}

/// Redirects a GET for another host name, or one that reached a proxy over plain http, to the public URL; rejects other
/// methods. A browser that returns unchanged from there is not redirected again: the proxy is misconfigured, and the
/// page says how to fix it.
pub(crate) async fn host(State(app): State<App>, request: Request, next: Next) -> Response {
    let public_url = &app.site.public_url;
    let public_host = &public_url[url::Position::BeforeHost..url::Position::AfterPort];
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()));
    let is_here = host.is_some_and(|host| is_same_host(host, public_host, public_url));
    let is_downgraded = app.site.is_https()
        && request.headers().get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes() == b"http");
    if is_here && !is_downgraded {
        return next.run(request).await;
    }
    let what_to_set = if is_here { SCHEME_OF_PROXY } else { HOST_OF_PROXY };
    let origin = public_url.origin().ascii_serialization();
    let elsewhere = "This application is found under another address. Open that one and start again.";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::MISDIRECTED_REQUEST, "Wrong address", &[elsewhere, what_to_set], Some(&origin));
    }
    if app.redirects.is_circle(&request, app.clock.now()) {
        tracing::error!(public_url = %public_url, "a redirect to the public URL led back here: {what_to_set}");
        let words = "Going on from here leads back here without end, so you are not sent on.";
        let title = "The proxy’s settings are wrong";
        return plain(StatusCode::INTERNAL_SERVER_ERROR, title, &[words, what_to_set], Some(&origin));
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let Ok(location) = HeaderValue::try_from(format!("{origin}{target}")) else {
        return Redirect::to("/").into_response();
    };
    let mut response = plain(StatusCode::FOUND, "Another address", &[elsewhere, what_to_set], Some(&origin));
    response.headers_mut().insert(header::LOCATION, location);
    response
}

const SCHEME_OF_PROXY: &str = "For the operator: PUBLIC_URL is https, but the proxy in front of this application says that \
     browsers come over http. If they come over https, let it send “X-Forwarded-Proto: https” (nginx: proxy_set_header \
     X-Forwarded-Proto $scheme).";
const HOST_OF_PROXY: &str = "For the operator: if a proxy stands in front of this application, let it pass the browser’s Host \
     header on (nginx: proxy_set_header Host $http_host), and let PUBLIC_URL be the address that people open.";

/// Rejects speculative requests: a prefetch must not complete a consent, nor consume a message that the person has not
/// seen. The browser repeats the request when the person navigates to the page.
pub(crate) async fn speculation(request: Request, next: Next) -> Response {
    if is_speculative(request.headers()) {
        let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return response;
    }
    next.run(request).await
}

fn is_same_host(host: &str, public_host: &str, public_url: &url::Url) -> bool {
    // A browser omits the scheme's default port; other clients may include it.
    let named =
        public_url.port_or_known_default().map(|port| format!("{}:{port}", public_url.host_str().unwrap_or("")));
    host.eq_ignore_ascii_case(public_host) || named.is_some_and(|named| host.eq_ignore_ascii_case(&named))
}

/// Rejects a form without its session's CSRF token. Every request that may change something passes through here, so no
/// screen can forget the check. (`Origin` would not do: pages without a referrer post `Origin: null`.)
pub(crate) async fn csrf(request: Request, next: Next) -> Response {
    // A POST to the callback gets 405 from any sender. A browser that follows a connect link has no session; the
    // library checks the origin of that form.
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let is_link = request.uri().path().strip_prefix(LINK_PATH).is_some_and(|rest| rest.starts_with('/'));
    if is_safe || is_link || request.uri().path() == CALLBACK_PATH {
        return next.run(request).await;
    }
    let visitor = request.extensions().get::<Visitor>().cloned();
    let (parts, body) = request.into_parts();
    let form = match timeout(MOST_FORM_TIME, to_bytes(body, MOST_FORM)).await {
        Ok(Ok(form)) => form,
        Ok(Err(error)) => return no_form(&error).into_response(),
        Err(_) => {
            let words = "The form took too long to arrive. Nothing was changed. Try again.";
            return Refusal::new(StatusCode::REQUEST_TIMEOUT, "Too slow", words).into_response();
        }
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

/// Distinguishes a body that is too long from one that is cut off or has invalid chunks.
fn no_form(error: &axum::Error) -> Refusal {
    if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
        let words = "That is more than a form of this application holds. Go back and shorten it.";
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Too much", words);
    }
    let words = "The form arrived broken. Nothing was changed. Open the page again.";
    Refusal::new(StatusCode::BAD_REQUEST, "Form not understood", words)
}
