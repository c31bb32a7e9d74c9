//! The landing page.

use axum::extract::State;
use maud::{Markup, html};

use super::{
    layout::{Section, page},
    refusal::Refusal,
};
use crate::{access::SignedIn, app::App, directory::Role};

pub(crate) async fn show(State(app): State<App>, signed_in: SignedIn) -> Result<Markup, Refusal> {
    let content = html! {
        h1 { "Batch Suite" }
        p.lead {
            @match signed_in.person.role {
                Role::CompanyAdmin => {
                    "Each company authenticates once at UPS.com. From then on its tools work on its behalf, until the \
                     authorization is removed or the UPS.com password changes."
                },
                Role::AdminUser => "Work with the companies that are authenticated at UPS.com.",
            }
        }
        p { a.button href="/companies" { "Open My Company" } }
        div.tiles {
            (tile("/sigview", "SIGVIEW", "Proofs of delivery, and how long they are kept."))
            (tile("/batch-track", "BATCH TRACK", "Where a shipment is, asked with a company's authorization."))
            (tile("/custom-billing", "CUSTOM BILLING", "Billing by each company's own rules."))
            (tile("/batch-rate", "BATCH RATE", "Rates for many shipments at once."))
        }
        @if let Some(page) = &app.site.demo_ups {
            div.notice {
                p {
                    "This is a demo with a fake UPS inside. Sign in there as " strong { "demo@example.com" }
                    "; change that user’s password on " a href=(page) { "the fake’s own page" } "."
                }
            }
        }
    };
    Ok(page(&signed_in.visitor, Section::None, "Welcome", content))
}

fn tile(href: &str, title: &str, words: &str) -> Markup {
    html! { a.tile href=(href) { h2 { (title) } p { (words) } } }
}
