//! `why`: why a company works or does not.

use batchsuite_auth::{BatchSuiteAuth, CompanyId, CompanyStatus, Diagnosis, Responsible, Status, Timestamp};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Opened, Outcome, shown};
use crate::{client::Use, failure::Failure, output::Output, settings::Settings};

/// So that nobody reads more into the database's word than it says.
const ONLY_A_PROCESS_KNOWS: &str = "This is as the database has it. Whether UPS refuses or limits the service, whether an API rejects the token, and how \
     a process does, its own diagnosis and readiness probe say.";

/// The diagnosis as JSON.
#[derive(Serialize)]
struct Why<'a> {
    works: bool,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
    ups_out_of_reach_since: Option<Timestamp>,
}

pub(super) async fn run(settings: &Settings, company: &CompanyId, output: &mut Output) -> Result<Outcome, Failure> {
    let opened = Opened::new(settings, Use::Read, ProgressBar::hidden()).await?;
    let diagnosis = opened.auth.diagnose(company).await;
    // A row that cannot be read is `check`'s to tell.
    let client =
        BatchSuiteAuth::client_state(&*opened.database.store(), settings.environment).await.unwrap_or_default();
    let ups_out_of_reach_since = client.out_of_reach_since;
    opened.close().await;
    let Some(status) = &diagnosis.status else {
        let finding = diagnosis.findings.first().map(ToString::to_string);
        return Err(Failure { cause: finding, ..Failure::new("the company cannot be read; try again") });
    };
    if output.is_json {
        output.json(&Why { works: diagnosis.works(), diagnosis: &diagnosis, ups_out_of_reach_since });
    } else {
        print(&diagnosis, status, ups_out_of_reach_since, output);
    }
    // A company may still be served although it must authenticate again.
    let is_fine = diagnosis.works() && !matches!(status.status, Status::ReauthRequired(_));
    Ok(if is_fine { Outcome::Fine } else { Outcome::Found })
}

fn print(
    diagnosis: &Diagnosis,
    company: &CompanyStatus,
    ups_out_of_reach_since: Option<Timestamp>,
    output: &mut Output,
) {
    let status = match &company.status {
        _ if company.tokens_unreadable => "its stored tokens cannot be read".to_owned(),
        Status::ReauthRequired(_) => "it must authenticate again".to_owned(),
        Status::Authenticated { refresh_expires_at: Some(at), .. } => {
            format!("authenticated; refresh expires {}", shown(*at))
        }
        Status::Authenticated { .. } => "authenticated".to_owned(),
        _ if company.revision.epoch == 0 => "never authenticated; is this how the service spells its id?".to_owned(),
        _ => "not authenticated".to_owned(),
    };
    output.line(format_args!("{}: {status}", company.company));
    match (&company.actor, company.authenticated_at) {
        (Some(actor), Some(at)) => {
            output.line(format_args!("Authenticated by {actor} at {} (UTC, as all times here).", shown(at)));
        }
        _ => output.line("All times are UTC."),
    }
    if let Some(since) = ups_out_of_reach_since {
        output.line(format_args!(
            "UPS is out of reach, since {}. Until it answers, no token is refreshed.",
            shown(since)
        ));
    } else if diagnosis.findings.is_empty() {
        output.line("It works.");
    }
    if diagnosis.works() {
        output.line(ONLY_A_PROCESS_KNOWS);
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
