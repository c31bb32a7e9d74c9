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
/// It adds the cookie only to HTML in a successful response to a GET, and never to a response that a shared cache may
/// keep (`Cache-Control: public` or `s-maxage`). A response without `Cache-Control` becomes `no-store`.
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
    if may_press && response.status().is_success() && is_private_page(response.headers()) {
        let headers = response.headers_mut();
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.append(header::SET_COOKIE, cookie.header(&BrowserSecret::random()));
    }
    response
}

fn is_private_page(headers: &HeaderMap) -> bool {
    let says = |name, word: &str| {
        let mut values = headers.get_all(name).iter();
        values.any(|value: &HeaderValue| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains(word)))
    };
    says(header::CONTENT_TYPE, "text/html")
        && !says(header::CACHE_CONTROL, "public")
        && !says(header::CACHE_CONTROL, "s-maxage")
}
