//! `overview`: companies by status, and how far behind the keepers are.

use std::{collections::BTreeMap, time::Duration};

use batchsuite_auth::BatchSuiteAuth;
use serde_json::json;
use tokio::time::sleep;

use super::{Outcome, counted, shown};
use crate::{
    database::Database,
    failure::Failure,
    interrupt::{interrupted, until_interrupted},
    output::{Output, Table},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, watch: Option<Duration>, output: &mut Output) -> Result<Outcome, Failure> {
    let database = Database::open(settings).await?;
    let mut overview = database.overview(settings.environment).await?;
    let mut caught_up_in = None;
    if let Some(watch) = watch.filter(|_| overview.companies_due > 0) {
        until_interrupted(sleep(watch)).await?.ok_or_else(interrupted)?;
        let before = std::mem::replace(&mut overview, database.overview(settings.environment).await?);
        caught_up_in = overview.caught_up_in(&before);
    }
    // A row that cannot be read is `check`'s to tell.
    let client = BatchSuiteAuth::client_state(&*database.store(), settings.environment).await.unwrap_or_default();
    database.close().await;
    let waiting = overview.longest_wait().as_secs();
    if output.is_json {
        let companies: BTreeMap<_, _> = overview.companies.iter().map(|(status, n)| (status.name(), n)).collect();
        output.json(&json!({
            "environment": settings.environment.name(),
            "companies": companies,
            "total": overview.total(),
            "companies_due": overview.companies_due,
            "caught_up_in_seconds": caught_up_in.map(|left| left.as_secs()),
            "oldest_wake": overview.oldest_wake,
            "oldest_wake_seconds": waiting,
            "ups_out_of_reach_since": client.out_of_reach_since,
            "consents_pending": overview.consents_pending,
            "as_of": overview.as_of,
        }));
        return Ok(Outcome::Fine);
    }
    let mut rows: Vec<_> =
        overview.companies.iter().map(|(status, number)| [status.name().to_owned(), number.to_string()]).collect();
    rows.push(["all".to_owned(), overview.total().to_string()]);
    Table::new(["STATUS", "COMPANIES"]).print(&rows, output);
    output.line(match overview.oldest_wake {
        None => "No company waits for a keeper.".to_owned(),
        Some(since) => format!(
            "{} for a keeper, the longest for {}, since {}.",
            counted(overview.companies_due, "company waits", "companies wait"),
            counted(waiting, "second", "seconds"),
            shown(since)
        ),
    });
    match caught_up_in {
        Some(left) => output.line(format_args!("None will in {}.", counted(left.as_secs(), "second", "seconds"))),
        None if watch.is_some() && overview.companies_due > 0 => output.line("Their number does not fall."),
        None => {}
    }
    if let Some(since) = client.out_of_reach_since {
        output.line(format_args!("UPS is out of reach, since {}.", shown(since)));
    }
    output.line(match overview.consents_pending {
        0 => "Nobody is at UPS.com.".to_owned(),
        number => format!("{} at UPS.com.", counted(number, "person is", "people are")),
    });
    Ok(Outcome::Fine)
}
