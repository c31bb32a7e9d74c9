//! `overview`: companies by status, and how far behind the keepers are.

use std::collections::BTreeMap;

use batchsuite_auth::BatchSuiteAuth;
use serde_json::json;

use super::{Outcome, counted, shown};
use crate::{
    database::Database,
    failure::Failure,
    output::{Output, Table},
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, output: &mut Output) -> Result<Outcome, Failure> {
    let database = Database::open(settings).await?;
    let overview = database.overview(settings.environment).await?;
    // A row that cannot be read is `check`'s to tell.
    let client = BatchSuiteAuth::client_state(&*database.store(), settings.environment).await.unwrap_or_default();
    database.close().await;
    let waiting = overview.oldest_wake.map_or(0, |since| (overview.as_of - since).num_seconds().max(0));
    if output.is_json {
        let companies: BTreeMap<_, _> = overview.companies.iter().map(|(status, n)| (status.name(), n)).collect();
        output.json(&json!({
            "environment": settings.environment.name(),
            "companies": companies,
            "total": overview.total(),
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
            "The company that waits longest for a keeper has waited {}, since {}.",
            counted(waiting.unsigned_abs(), "second", "seconds"),
            shown(since)
        ),
    });
    if let Some(since) = client.out_of_reach_since {
        output.line(format_args!("UPS is out of reach, since {}.", shown(since)));
    }
    output.line(match overview.consents_pending {
        0 => "Nobody is at UPS.com.".to_owned(),
        number => format!("{} at UPS.com.", counted(number, "person is", "people are")),
    });
    Ok(Outcome::Fine)
}
