//! Connect link: for the colleague who holds the UPS.com password, on another device and without an account here.

use axum::response::{IntoResponse, Response};
use batchsuite_auth::adapters::axum::Outcome;
use maud::{Markup, html};

use super::layout::{Section, csrf_field, page, time};
use crate::{access::Visitor, directory::Company};

/// The path for making a link, below the company's page, and the path for following one.
pub(crate) const MAKE_PATH: &str = "/companies/{company}/connect-link";
pub(crate) const LINK_PATH: &str = "/connect";

/// The button that makes a link.
pub(crate) fn button(visitor: &Visitor, company: &Company) -> Markup {
    html! {
        form method="post" action={ "/companies/" (company.id) "/connect-link" } {
            (csrf_field(visitor))
            button.secondary type="submit" aria-label={ "Connect link for " (company.name) } { "Connect link" }
        }
    }
}

/// The page for the outcome of a link.
pub(crate) fn answer(visitor: &Visitor, outcome: Outcome) -> Response {
    let (title, content) = match outcome {
        Outcome::LinkMade { address, company, company_name, expires_at, .. } => (
            "Connect link",
            html! {
                p.path { a href={ "/companies/" (company) } { (company_name) } }
                h1 { "Connect link" }
                div.notice.good role="status" {
                    p { "Give this address to the colleague who holds the UPS.com password:" }
                    p { code { (address) } }
                    p { "It connects " (company_name) " with UPS.com, on any device, once, until " (time(expires_at)) " UTC." }
                }
                p.hint {
                    "Whoever has it can use it, and the company is then authenticated in your name: send it to that person alone. "
                    "It is not shown again."
                }
            },
        ),
        Outcome::LinkOpened { company_name, .. } => (
            "Connect with UPS.com",
            html! {
                h1 { "Connect " (company_name) " with UPS.com" }
                p {
                    "A colleague asks you to connect " (company_name) " with UPS.com. You will sign in at UPS.com and agree there; "
                    "this application never sees your UPS.com password."
                }
                p { "If you have several UPS.com accounts, sign out of UPS.com first, and use the one that holds the shipper number." }
                p.hint { "Go on only if you know " (company_name) " and expected this link. It works once." }
                form method="post" { button type="submit" { "Continue to UPS.com" } }
            },
        ),
        Outcome::AuthenticatedByLink { done, company_name, .. } => (
            "Authenticated",
            html! {
                h1 { (company_name) " is authenticated" }
                div.notice.good role="status" {
                    p { "UPS.com confirmed the authorization." }
                    @if let Some(at) = done.refresh_expires_at { p { "Refresh expires: " (time(at)) } }
                    p { "You can close this window." }
                }
            },
        ),
        outcome => return outcome.into_response(),
    };
    page(visitor, Section::None, title, content).into_response()
}
