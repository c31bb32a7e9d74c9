//! Shared by all pages: header, navigation, and the texts for times and states.

use batchsuite_auth::{
    clock::Timestamp,
    status::{CompanyStatus, Status},
};
use maud::{DOCTYPE, Markup, html};

use crate::{
    access::Visitor,
    directory::{Person, Role},
    guard::CSRF_FIELD,
};

/// A page's section in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    None,
    Sigview,
    BatchTrack,
    CustomBilling,
    BatchRate,
    MyCompany,
}

const TOOLS: [(Section, &str, &str); 4] = [
    (Section::Sigview, "/sigview", "SIGVIEW"),
    (Section::BatchTrack, "/batch-track", "BATCH TRACK"),
    (Section::CustomBilling, "/custom-billing", "CUSTOM BILLING"),
    (Section::BatchRate, "/batch-rate", "BATCH RATE"),
];

/// A complete page.
pub(crate) fn page(visitor: &Visitor, section: Section, title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Batch Suite" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="/icon.svg" type="image/svg+xml";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    div.bar {
                        a.brand href="/" { "Batch Suite" }
                        @if let Some(person) = visitor.person() { (navigation(visitor, person, section)) }
                    }
                }
                main #content tabindex="-1" { (content) }
                footer { p { "For help, contact your Account Executive." } }
            }
        }
    }
}

fn navigation(visitor: &Visitor, person: &Person, section: Section) -> Markup {
    let current = |of: Section| (of == section).then_some("page");
    html! {
        nav.tools aria-label="Tools" {
            ul { @for (of, href, label) in TOOLS { li { a href=(href) aria-current=[current(of)] { (label) } } } }
        }
        nav.admin aria-label="Administration" {
            details.menu {
                summary { "Admin" }
                ul {
                    li { a href="/companies" aria-current=[current(Section::MyCompany)] { "My Company" } }
                    @if person.role == Role::CompanyAdmin { li { a href="/companies/new" { "Add a company" } } }
                }
            }
        }
        form.sign-out method="post" action="/logout" {
            (csrf_field(visitor))
            span.who { (person.sign_in_name) }
            button.quiet type="submit" { "Sign out" }
        }
    }
}

/// The hidden CSRF field of every form.
pub(crate) fn csrf_field(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(CSRF_FIELD) value=(visitor.csrf_token()); }
}

/// A time in the guide's format, in UTC.
pub(crate) fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A date and a time that may wrap only between the two.
pub(crate) fn moment(text: &str) -> Markup {
    html! { @for (index, part) in text.split(' ').enumerate() { @if index > 0 { " " } span.date { (part) } } }
}

/// `Refresh expires: yyyy-mm-dd hh:mm:ss`.
pub(crate) fn refresh_expires(at: Option<Timestamp>) -> Markup {
    html! {
        @match at {
            Some(at) => { span.expires { "Refresh expires: " (time(at)) } span.zone { " UTC" } },
            None => span.expires { "Refresh expires: UPS gave no date" },
        }
    }
}

/// A company's status as a badge.
pub(crate) fn badge(company: &CompanyStatus) -> Markup {
    html! {
        @match &company.status {
            Status::Authenticated { .. } if company.tokens_unreadable => span.badge.bad { "Damaged" },
            Status::Authenticated { expiring_soon: true, .. } => span.badge.warn { "Expiring soon" },
            Status::Authenticated { refreshable: false, .. } => span.badge.warn { "Authenticated, not renewable" },
            Status::Authenticated { .. } => span.badge.good { "Authenticated" },
            Status::ReauthRequired(_) => span.badge.bad { "Authenticate again" },
            _ => span.badge { "Not authenticated" },
        }
    }
}

/// A company's status in words.
pub(crate) fn standing(company: &CompanyStatus, now: Timestamp) -> Markup {
    html! {
        @if company.tokens_unreadable {
            p.hint.bad {
                "The stored tokens of this company cannot be read. An operator must look first: if the encryption key or the data "
                "is put back, nothing else is needed. If it is lost for good, authenticate again."
            }
        }
        @match &company.status {
            Status::Authenticated { refresh_expires_at, expiring_soon, refreshable } => {
                p { (refresh_expires(*refresh_expires_at)) }
                @if *expiring_soon {
                    p.hint.warn {
                        "The authorization ends soon"
                        @if let Some(at) = refresh_expires_at { ", on " (time(*at)) " UTC" }
                        ". Unless it is renewed before, authenticate again by then, so that nothing is interrupted."
                    }
                }
                @if !*refreshable {
                    p.hint.warn { "UPS gave no permission that can be renewed: this ends within hours." }
                }
            },
            Status::ReauthRequired(cause) => {
                p.hint.bad { (cause) }
                @if let Some(at) = cause.at { p.hint { "Since " (time(at)) " UTC." } }
                @let said = cause.evidence.as_ref().and_then(|evidence| evidence.message.as_ref());
                @if said.is_some() || cause.asked_again_at.is_some() {
                    p.hint {
                        @if let Some(said) = said { "UPS.com says “" (said) "”. " }
                        @if let Some(at) = cause.asked_again_at {
                            "We ask again at " (time(at)) " UTC: UPS has been seen to refuse by mistake."
                        }
                    }
                }
            },
            _ => p.hint {
                "This company is not authenticated at UPS.com. A company administrator has to authenticate it."
            },
        }
        @if let Some(until) = company.connect_link_until.filter(|until| *until > now) {
            p.hint { "A connect link was made: it can be followed until " (time(until)) " UTC." }
        }
        @if let Some(until) = company.consent_pending_until.filter(|until| *until > now) {
            p.hint { "Waiting for UPS.com: somebody went there and can come back until " (time(until)) " UTC." }
        }
    }
}
