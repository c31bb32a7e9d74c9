//! `list`: companies and their status.

use batchsuite_auth::{CompanyQuery, CompanyStatus, Status, StatusFilter};
use indicatif::ProgressBar;

use super::{Opened, Outcome, shown};
use crate::{
    client::Use,
    failure::Failure,
    output::{Output, Table},
    settings::Settings,
};

/// How many companies are read at once.
const PAGE: usize = 500;

pub(super) async fn run(
    settings: &Settings,
    filter: Option<StatusFilter>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let opened = Opened::new(settings, Use::Read, ProgressBar::hidden()).await?;
    let mut table = Table::new(["COMPANY", "STATUS", "REFRESH EXPIRES", "WHY"]);
    let mut query = CompanyQuery::new().with_filter(filter).with_limit(PAGE);
    loop {
        let page = opened.auth.companies(query.clone()).await?;
        if output.is_json {
            page.items.iter().for_each(|company| output.json(company));
        } else {
            let rows: Vec<_> = page.items.iter().map(row).collect();
            table.print(&rows, output);
        }
        output.flush();
        let Some(next) = page.next.filter(|_| !output.is_closed()) else { break };
        query = query.with_after(next);
    }
    if table.is_empty() && !output.is_json {
        output.line("No company.");
    }
    opened.close().await;
    Ok(Outcome::Fine)
}

fn row(company: &CompanyStatus) -> [String; 4] {
    let (status, expires, why) = match &company.status {
        Status::Authenticated { refresh_expires_at, expiring_soon, .. } => {
            let status = if *expiring_soon { "expiring_soon" } else { "authenticated" };
            (status, refresh_expires_at.map(shown).unwrap_or_default(), "")
        }
        Status::ReauthRequired(cause) => ("reauth_required", String::new(), cause.kind.name()),
        _ if company.consent_pending_until.is_some() => ("unauthenticated", String::new(), "somebody is at UPS.com"),
        _ => ("unauthenticated", String::new(), ""),
    };
    let why = if company.tokens_unreadable { "tokens cannot be read" } else { why };
    [company.company.to_string(), status.to_owned(), expires, why.to_owned()]
}
