//! The plain default pages: no styles, no scripts, no external resources.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderValue, StatusCode, header};

use super::{host::Outcome, refusal::Refusal};
use crate::clock::Timestamp;

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        match self {
            Self::Authenticated { done, company_name } => match done.return_to {
                Some(path) => to(&path),
                None => authenticated(&company_name, done.refresh_expires_at, ""),
            },
            Self::AuthenticatedByLink { done, company_name } => {
                let close = "<p>You can close this window.</p>";
                authenticated(&company_name, done.refresh_expires_at, close)
            }
            Self::CameAgain { return_to: Some(path), .. } => to(&path),
            Self::CameAgain { .. } => {
                let words =
                    "<p>You came back from UPS.com with this before. The application shows what came of it.</p>";
                page(StatusCode::OK, "Back from UPS.com", words)
            }
            Self::SignedOut => {
                let words = "<p>Sign in first. Then go back to this address, or start again with Authenticate.</p><p>If a \
                     colleague sent you a link, go on in the browser in which you opened it, and let it keep cookies.</p>";
                page(StatusCode::UNAUTHORIZED, "Not signed in", words)
            }
            Self::Refused(refusal) => refusal.into_response(),
            Self::LinkMade { address, company_name, expires_at, .. } => {
                let (name, address, at) = (Escaped(&company_name), Escaped(address.as_str()), time(expires_at));
                let words = format!(
                    "<p>Give this address to the colleague who holds the UPS.com password. It connects {name} with UPS.com, on any \
                     device, once, until {at}.</p><p><code>{address}</code></p><p>Whoever has it can use it: send it to that \
                     person alone.</p>"
                );
                page(StatusCode::OK, "Connect link", &words)
            }
            Self::LinkOpened { company_name, form_action, .. } => {
                let name = Escaped(&company_name);
                let words = format!(
                    "<p>A colleague asks you to connect {name} with UPS.com. You will sign in at UPS.com and agree there; this \
                     application never sees your UPS.com password.</p><p>Go on only if you know {name} and expected this link. It \
                     works once.</p><form method=\"post\"><button type=\"submit\">Continue to UPS.com</button></form>"
                );
                with_forms(page(StatusCode::OK, "Connect with UPS.com", &words), &form_action)
            }
        }
    }
}

/// Redirects to the host's page. `return_to` was validated when the trip began, and again when it was read.
fn to(path: &str) -> Response {
    no_store(Redirect::to(path).into_response())
}

fn authenticated(name: &str, refresh_expires_at: Option<Timestamp>, more: &str) -> Response {
    let expires = refresh_expires_at.map(|at| format!("<p>Refresh expires: {}</p>", time(at))).unwrap_or_default();
    let words = format!("<p>{} is authenticated.</p>{expires}{more}", Escaped(name));
    page(StatusCode::OK, "Authenticated", &words)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = refused(&self);
        set_retry_after(&mut response, self.retry_after);
        response
    }
}

pub(super) fn set_retry_after(response: &mut Response, retry_after: Option<Duration>) {
    if let Some(wait) = retry_after {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

fn refused(refusal: &Refusal) -> Response {
    let way_on =
        refusal.way_on.as_deref().map(|path| format!("<p><a href=\"{}\">Back to the company</a></p>", Escaped(path)));
    let words = format!("<p>{}</p>{}", Escaped(&refusal.words), way_on.unwrap_or_default());
    page(refusal.status, refusal.title, &words)
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = Escaped(title);
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>\n"
    );
    let mut response = no_store((status, Html(html)).into_response());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    with_forms(response, "'none'")
}

fn with_forms(mut response: Response, form_action: &str) -> Response {
    let policy = format!("default-src 'none'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'");
    let policy = HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

pub(super) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn time(at: Timestamp) -> impl Display {
    at.format("%Y-%m-%d %H:%M:%S UTC")
}

/// Text escaped for HTML, including quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}
