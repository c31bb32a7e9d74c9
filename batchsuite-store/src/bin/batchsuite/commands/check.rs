//! `check`: whether the database, its schema, the rights, the keys and the stored tokens are in order.

use batchsuite_auth::{BatchSuiteAuth, CompanyId, CompanyQuery, CompanyStatus, StoreError};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use super::{Outcome, counted};
use crate::{
    client::{self, Use},
    database::Database,
    failure::Failure,
    output::Output,
    progress,
    settings::Settings,
};

/// How many companies are read at once.
const PAGE: usize = 500;
/// How many companies' tokens are opened at once.
const AT_ONCE: usize = 8;

/// Something that an operator must put in order.
#[derive(Debug, Serialize)]
struct Trouble {
    /// `database`, `environment`, `client`, `restore` or `tokens`.
    what: &'static str,
    message: String,
    /// What to do, unless the message says it.
    remedy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    company: Option<CompanyId>,
}

pub(super) async fn run(settings: &Settings, output: &mut Output) -> Result<Outcome, Failure> {
    let database = match Database::open(settings).await {
        Ok(database) => database,
        Err(failure) if failure.is_of_database => {
            let message = failure.cause.unwrap_or(failure.line);
            return Ok(report(&[Trouble { what: "database", message, remedy: None, company: None }], None, output));
        }
        Err(failure) => return Err(failure),
    };
    let mut troubles = client(settings, &database).await?;
    if let Some(other) = client::only_of_another(&*database.store(), settings.environment).await? {
        let message = client::of_another_environment(other, settings.environment);
        troubles.push(Trouble { what: "environment", message, remedy: None, company: None });
    }
    let auth = client::authenticator(settings, database.store(), Use::Nothing).await?;
    let total = database.overview(settings.environment).await?.total();
    let bar = progress::bar("{spinner} opening tokens: {pos} of {len} companies", Some(total));
    let companies = tokens(&auth, &bar, &mut troubles).await;
    bar.finish_and_clear();
    auth.shutdown().await;
    database.close().await;
    Ok(report(&troubles, Some(companies?), output))
}

/// Whether the client id that is set here is the service's, and whether a restore was left half done.
async fn client(settings: &Settings, database: &Database) -> Result<Vec<Trouble>, Failure> {
    let trouble = |what, message: &str, remedy| Trouble {
        what,
        message: message.to_owned(),
        remedy: Some(remedy),
        company: None,
    };
    let state = match BatchSuiteAuth::client_state(&*database.store(), settings.environment).await {
        Err(error) if !error.is_transient() => {
            let remedy = "start the service: it writes the row again";
            return Ok(vec![trouble("client", "the row that holds the client id cannot be read", remedy)]);
        }
        state => state?,
    };
    let mut troubles = Vec::new();
    if let (Some(set), Some(announced)) = (&settings.client_id, &state.client_id)
        && set != announced
    {
        let message = "UPS_CLIENT_ID is not the client id that the service announced last";
        let remedy =
            "unset it here, or correct it in the service: the other client's companies must authenticate again";
        troubles.push(trouble("client", message, remedy));
    }
    if state.unfinished_restore.is_some() {
        let message = "after a restore, the opt-ins are marked only in part";
        troubles.push(trouble(
            "restore",
            message,
            "run `batchsuite after-restore` to its end, before any process serves",
        ));
    }
    Ok(troubles)
}

/// Opens the tokens of every company; returns how many companies there are.
async fn tokens(auth: &BatchSuiteAuth, bar: &ProgressBar, troubles: &mut Vec<Trouble>) -> Result<u64, StoreError> {
    let (mut query, mut companies) = (CompanyQuery::new().with_limit(PAGE), 0);
    loop {
        let page = auth.companies(query.clone()).await?;
        companies += page.items.len() as u64;
        // The list opens no token; a single read does.
        let read = stream::iter(page.items).map(|company| async move { auth.status(&company.company).await });
        let read = read.buffered(AT_ONCE).inspect_ok(|_| bar.inc(1)).try_collect::<Vec<_>>().await?;
        troubles.extend(read.into_iter().filter(|company| company.tokens_unreadable).map(unreadable));
        let Some(next) = page.next else { return Ok(companies) };
        query = query.with_after(next);
    }
}

fn unreadable(company: CompanyStatus) -> Trouble {
    let message = format!("the row or the tokens of {} cannot be read", company.company);
    let remedy = "put the missing key or the data back, or let an administrator authenticate the company again";
    Trouble { what: "tokens", message, remedy: Some(remedy), company: Some(company.company) }
}

/// Prints what was found. `companies`: how many companies' tokens were opened; `None`: none was tried.
fn report(troubles: &[Trouble], companies: Option<u64>, output: &mut Output) -> Outcome {
    if output.is_json {
        output.json(&json!({ "troubles": troubles, "companies": companies }));
    } else {
        for Trouble { what, message, remedy, .. } in troubles {
            output.line(format_args!("{what}: {message}"));
            if let Some(remedy) = remedy {
                output.line(format_args!("  To do: {remedy}."));
            }
        }
        match companies {
            None => output.line("Nothing else was checked."),
            Some(number) if troubles.is_empty() => output.line(format_args!(
                "All is in order: the database, its schema, the rights, the keys, and the tokens of {}.",
                counted(number, "company", "companies")
            )),
            Some(number) => output.line(format_args!("Checked {}.", counted(number, "company", "companies"))),
        }
    }
    if troubles.is_empty() { Outcome::Fine } else { Outcome::Found }
}
