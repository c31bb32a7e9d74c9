//! Refusals: in plain words, with a next step.

use std::time::Duration;

use axum::response::{Html, IntoResponse, Response};
use batchsuite_auth::{
    error::chain,
    store::{StoreError, StoreErrorKind},
};
use http::{HeaderValue, StatusCode, header};
use maud::html;

use super::layout::{Section, page};
use crate::{access::Visitor, directory::DirectoryError};

/// Why a request is refused. [`access::visitor`](crate::access::visitor) renders the page.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    title: &'static str,
    words: String,
    way_on: (String, &'static str),
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, title: &'static str, words: impl Into<String>) -> Self {
        let way_on = ("/companies".to_owned(), "To the company manager");
        Self { status, title, words: words.into(), way_on, retry_after: None }
    }

    /// A page that does not exist, or that this person must not know of; both look the same.
    pub(crate) fn no_such_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", "There is no such page, or it is not yours to see.")
    }

    pub(crate) fn company_admins_only() -> Self {
        let words = "Only a company admin may do that. Nothing was changed.";
        Self::new(StatusCode::FORBIDDEN, "Not allowed", words)
    }

    pub(crate) fn with_way_on(mut self, href: impl Into<String>, label: &'static str) -> Self {
        self.way_on = (href.into(), label);
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    pub(crate) fn page(self, visitor: &Visitor) -> Response {
        let (href, label) = match visitor.person() {
            Some(_) => self.way_on,
            None => ("/login".to_owned(), "Sign in"),
        };
        let content = html! {
            h1 { (self.title) }
            div.notice.bad role="alert" { p { (self.words) } }
            p { a.button href=(href) { (label) } }
        };
        let mut response = (self.status, page(visitor, Section::None, self.title, content)).into_response();
        if let Some(retry_after) = self.retry_after {
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Refusals of the library's routes.
impl From<batchsuite_auth::adapters::axum::Refusal> for Refusal {
    fn from(refused: batchsuite_auth::adapters::axum::Refusal) -> Self {
        let way_on = refused.way_on.unwrap_or_else(|| "/companies".to_owned());
        Self::new(refused.status, refused.title, refused.words)
            .with_way_on(way_on, "Start again from the company")
            .with_retry_after(refused.retry_after)
    }
}

impl From<DirectoryError> for Refusal {
    fn from(error: DirectoryError) -> Self {
        tracing::error!(error = %chain(&error), "the application's data cannot be reached");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available now", "The data cannot be reached. Try again later.")
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %chain(&error), "the opt-ins cannot be reached");
        match error.kind() {
            StoreErrorKind::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not available now",
                "The authorizations cannot be reached. Try again in a while; none is lost.",
            ),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "An operator must look",
                "The stored authorizations cannot be used. An operator must look; none is lost.",
            ),
        }
    }
}

pub(crate) async fn no_such_page() -> Refusal {
    Refusal::no_such_page()
}

/// The router adds the allowed methods.
pub(crate) async fn method_not_allowed() -> Refusal {
    let words = "This address cannot be used that way. Nothing was changed.";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Not possible", words)
}

/// A page without navigation, for refusals before the visitor is identified, with a link to continue, if any.
pub(crate) fn plain(status: StatusCode, title: &'static str, words: &[&'static str], way_on: Option<&str>) -> Response {
    let content = html! {
        h1 { (title) }
        div.notice.bad role="alert" { @for words in words { p { (words) } } }
        @if let Some(address) = way_on { p { a.button href=(address) { "Open " (address) } } }
    };
    (status, Html(page(&Visitor::new(None, None), Section::None, title, content).into_string())).into_response()
}
