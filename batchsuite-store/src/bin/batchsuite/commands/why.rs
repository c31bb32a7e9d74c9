//! `why`: why a company works or does not.

use batchsuite_auth::{CompanyId, CompanyStatus, Diagnosis, Responsible, Status};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Opened, Outcome, shown};
use crate::{client::Use, failure::Failure, output::Output, settings::Settings};

/// The diagnosis as JSON.
#[derive(Serialize)]
struct Why<'a> {
    works: bool,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
}

pub(super) async fn run(settings: &Settings, company: &CompanyId, output: &mut Output) -> Result<Outcome, Failure> {
    let opened = Opened::new(settings, Use::Read, ProgressBar::hidden()).await?;
    let diagnosis = opened.auth.diagnose(company).await;
    opened.close().await;
    let Some(status) = &diagnosis.status else {
        let finding = diagnosis.findings.first().map(ToString::to_string);
        return Err(Failure { cause: finding, ..Failure::new("the company cannot be read; try again") });
    };
    if output.is_json {
        output.json(&Why { works: diagnosis.works(), diagnosis: &diagnosis });
    } else {
        print(&diagnosis, status, output);
    }
    // A company may still be served although it must authenticate again.
    let is_fine = diagnosis.works() && !matches!(status.status, Status::ReauthRequired(_));
    Ok(if is_fine { Outcome::Fine } else { Outcome::Found })
}

fn print(diagnosis: &Diagnosis, company: &CompanyStatus, output: &mut Output) {
    let status = match &company.status {
        Status::ReauthRequired(_) => "it must authenticate again".to_owned(),
        Status::Authenticated { refresh_expires_at: Some(at), .. } => {
            format!("authenticated; refresh expires {}", shown(*at))
        }
        Status::Authenticated { .. } => "authenticated".to_owned(),
        _ if company.revision.epoch == 0 => "never authenticated; is this how the service spells its id?".to_owned(),
        _ => "not authenticated".to_owned(),
    };
    output.line(format_args!("{}: {status}", company.company));
    if let (Some(actor), Some(at)) = (&company.actor, company.authenticated_at) {
        output.line(format_args!("Authenticated by {actor} at {} (UTC, as all times here).", shown(at)));
    }
    if diagnosis.findings.is_empty() {
        output.line("It works.");
    }
    for finding in &diagnosis.findings {
        output.line(format_args!("- {finding}"));
        if let Some(who) = who(finding.responsible) {
            output.line(format_args!("  Who has to act: {who}."));
        }
    }
}

fn who(responsible: Responsible) -> Option<&'static str> {
    Some(match responsible {
        Responsible::CompanyAdministrator => "an administrator of the company",
        Responsible::Operator => "an operator",
        Responsible::Developer => "a developer of the service",
        Responsible::Ups => "UPS",
        _ => return None,
    })
}
