//! The forms of this UPS's answers.

use http::{HeaderValue, Response, header};

/// An endpoint's answer, which must not be cached.
pub(super) fn json_response(status: u16, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = typed(status, "application/json", body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer with a body of this type.
pub(super) fn typed(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    let mut response = Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A redirect; `location` is percent-encoded to be a valid header value.
pub(super) fn redirect(status: u16, location: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::FOUND);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer of a front end that does not reach the server behind it. The wording is a guess.
pub(super) fn front_end(status: u16) -> Response<Vec<u8>> {
    let reason =
        http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let page = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<h1>{status} {reason}</h1>\r\n</body>\r\n</html>\r\n"
    );
    typed(status, "text/html", page)
}
