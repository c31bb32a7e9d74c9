//! Why a company works or does not: the findings on its page, and *Check connection*.

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use batchsuite_auth::{Diagnosis, Finding, FindingKind, Responsible, Severity};
use maud::{Markup, html};

use super::{
    layout::{csrf_field, time},
    refusal::Refusal,
};
use crate::{
    access::{Id, SignedIn, Visitor},
    app::App,
    directory::Company,
    sessions::Message,
};

/// Gets an access token as a caller would; the company's page shows the outcome.
pub(crate) async fn check(State(app): State<App>, signed_in: SignedIn, Id(id): Id) -> Result<Response, Refusal> {
    let (company, _) = signed_in.administered_company(&app, &id).await?;
    let check = app.auth.check(&company.id).await;
    let token_expires_at = check.outcome.ok().map(|token| token.expires_at);
    signed_in.leave(&app, company.id.clone(), Message::ConnectionChecked { token_expires_at }).await?;
    Ok(Redirect::to(&format!("/companies/{}", company.id)).into_response())
}

/// The button.
pub(crate) fn button(visitor: &Visitor, company: &Company) -> Markup {
    html! {
        form method="post" action={ "/companies/" (company.id) "/check" } {
            (csrf_field(visitor))
            button.secondary type="submit" { "CHECK CONNECTION" }
        }
    }
}

/// The findings that the status above them does not tell.
pub(crate) fn findings(diagnosis: &Diagnosis) -> Markup {
    let untold: Vec<&Finding> = diagnosis.findings.iter().filter(|finding| !is_told(finding.kind)).collect();
    html! {
        @if !untold.is_empty() {
            ul.findings {
                @for finding in untold {
                    li.hint.bad[finding.severity == Severity::NoToken].warn[finding.severity == Severity::AtRisk] {
                        (finding.message)
                        @if let Some(since) = finding.since { " Since " (time(since)) " UTC." }
                        @if let Some(said) = said(finding) { " UPS says “" (said) "”." }
                        @if let Some(next) = finding.next { " Next: " (next) @if next.at.is_some() { " UTC" } "." }
                        " " (who(finding.responsible))
                    }
                }
            }
        }
    }
}

/// Whether the company's status tells all of it: since when, who must act, what UPS said, and what happens next.
fn is_told(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::NotAuthenticated
            | FindingKind::ReauthRequired(_)
            | FindingKind::ConsentPending
            | FindingKind::ConnectLinkPending
    )
}

/// UPS's message. A store's is for operators, who find it in the log.
fn said(finding: &Finding) -> Option<&str> {
    let evidence = finding.evidence.as_ref().filter(|evidence| evidence.status.is_some())?;
    evidence.message.as_deref()
}

fn who(responsible: Responsible) -> &'static str {
    match responsible {
        Responsible::CompanyAdministrator => "A company administrator has to act.",
        Responsible::Operator => "Whoever operates this service has to act.",
        Responsible::Ups => "Nobody here has to act: it is up to UPS.",
        _ => "Nobody has to act.",
    }
}
