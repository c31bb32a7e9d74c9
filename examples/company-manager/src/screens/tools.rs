//! SIGVIEW, CUSTOM BILLING and BATCH RATE: each company's setting, with a note that the tool itself is UPS's.

use axum::extract::State;
use maud::{Markup, html};

use super::{
    companies::{MOST_ON_A_PAGE, visible},
    layout::{Section, page},
    refusal::Refusal,
};
use crate::{
    access::SignedIn,
    app::App,
    directory::{Company, Settings},
};

pub(crate) async fn sigview(State(app): State<App>, signed_in: SignedIn) -> Result<Markup, Refusal> {
    let tool = Tool {
        section: Section::Sigview,
        title: "SIGVIEW",
        words: "SigView keeps the signatures and proofs of delivery (POD) of a company’s shipments.",
        setting: "POD Retention",
        value: |settings| match settings.pod_retention_years {
            1 => "1 year".to_owned(),
            years => format!("{years} years"),
        },
    };
    tool.show(&app, &signed_in).await
}

pub(crate) async fn custom_billing(State(app): State<App>, signed_in: SignedIn) -> Result<Markup, Refusal> {
    let tool = Tool {
        section: Section::CustomBilling,
        title: "CUSTOM BILLING",
        words: "Custom Billing prepares a company’s UPS invoices by its own rules.",
        setting: "Custom Billing",
        value: |settings| on_or_off(settings.custom_billing),
    };
    tool.show(&app, &signed_in).await
}

pub(crate) async fn batch_rate(State(app): State<App>, signed_in: SignedIn) -> Result<Markup, Refusal> {
    let tool = Tool {
        section: Section::BatchRate,
        title: "BATCH RATE",
        words: "Batch Rate asks for the rates of many shipments at once.",
        setting: "Batch Rate",
        value: |settings| on_or_off(settings.batch_rate),
    };
    tool.show(&app, &signed_in).await
}

struct Tool {
    section: Section,
    title: &'static str,
    words: &'static str,
    setting: &'static str,
    value: fn(&Settings) -> String,
}

impl Tool {
    async fn show(self, app: &App, signed_in: &SignedIn) -> Result<Markup, Refusal> {
        let companies = visible(app, signed_in, None, None, MOST_ON_A_PAGE).await?;
        let content = html! {
            h1 { (self.title) }
            p.lead { (self.words) }
            div.notice {
                p {
                    "The tool itself is part of UPS Batch Suite and is not in this application; here you see what each \
                     company has set for it. For access, contact your Account Executive."
                }
            }
            @if companies.items.is_empty() {
                p { "There is no company to show." }
            } @else {
                table {
                    caption { (self.setting) " by company" }
                    thead { tr { th scope="col" { "Company" } th scope="col" { (self.setting) } } }
                    tbody {
                        @for (Company { id, name, settings, .. }, _) in &companies.items {
                            tr {
                                th scope="row" { a href={ "/companies/" (id) } { (name) } }
                                td { ((self.value)(settings)) }
                            }
                        }
                    }
                }
                @if companies.next.is_some() { p.hint { "More companies are in the company manager." } }
            }
        };
        Ok(page(&signed_in.visitor, self.section, self.title, content))
    }
}

fn on_or_off(is_on: bool) -> String {
    if is_on { "On" } else { "Off" }.to_owned()
}
