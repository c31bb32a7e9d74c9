//! The stylesheet and the icon, as separate files because of the content security policy.

use axum::response::{IntoResponse, Response};
use http::header;

pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("style.css"))
}

pub(crate) async fn icon() -> Response {
    file("image/svg+xml", include_str!("icon.svg"))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "public, max-age=300")], text).into_response()
}
