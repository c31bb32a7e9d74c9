//! Sets the browser's cookie before anyone can press Authenticate.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue, Method, header};

use crate::{authenticator::BatchSuiteAuth, secret::BrowserSecret};

/// A middleware for the pages that have an Authenticate button. It gives the browser its [cookie](crate::TripCookie)
/// with the first page, so that two tabs in which the button is pressed at once share one secret.
///
/// It adds the cookie only to HTML in a successful response to a GET, and never to a response that is meant for shared
/// caches (`Cache-Control: public` or `s-maxage`, `CDN-Cache-Control`, `Surrogate-Control`): a shared cache may keep
/// `Set-Cookie` with the page (RFC 9111 §7.3), and would give many browsers one secret. A response with the cookie and
/// without `Cache-Control` becomes `no-store`; one with another `Cache-Control` becomes `private` as well. Put this
/// middleware outside of those that set `Cache-Control`.
///
/// Pages without the cookie are left as they are: nothing in them is the library's, and a browser that gets such a page
/// from a cache and presses its button is given a secret by that response.
///
/// ```
/// use axum::{Router, middleware::from_fn_with_state, response::Html, routing::get};
/// use batchsuite_auth::{BatchSuiteAuth, adapters::axum::trip_cookie};
///
/// fn pages(auth: &BatchSuiteAuth) -> Router {
///     Router::new()
///         .route("/companies/{company}", get(async || Html("the page with the button")))
///         .layer(from_fn_with_state(auth.clone(), trip_cookie))
/// }
/// ```
pub async fn trip_cookie(State(auth): State<BatchSuiteAuth>, request: Request, next: Next) -> Response {
    let cookie = auth.trip_cookie();
    let may_press = request.method() == Method::GET && cookie.secrets(request.headers()).is_empty();
    let mut response = next.run(request).await;
    let headers = response.headers();
    if may_press && response.status().is_success() && is_html(headers) && !is_for_shared_caches(headers) {
        let headers = response.headers_mut();
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        } else if !is_for_one_person(headers) {
            headers.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        headers.append(header::SET_COOKIE, cookie.header(&BrowserSecret::random()));
    }
    response
}

fn is_html(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.to_ascii_lowercase().contains("text/html"))
}

fn is_for_shared_caches(headers: &HeaderMap) -> bool {
    let name = |directive: &[u8]| directive.split(|byte| *byte == b'=').next().map(<[u8]>::to_ascii_lowercase);
    ["cdn-cache-control", "surrogate-control"].iter().any(|name| headers.contains_key(*name))
        || directives(headers).filter_map(name).any(|name| name == b"public" || name == b"s-maxage")
}

/// A `private` with field names protects those fields alone (RFC 9111 §5.2.2.7), so it does not count.
fn is_for_one_person(headers: &HeaderMap) -> bool {
    directives(headers).any(|said| said.eq_ignore_ascii_case(b"private") || said.eq_ignore_ascii_case(b"no-store"))
}

/// The directives of `Cache-Control`, with their arguments.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}
