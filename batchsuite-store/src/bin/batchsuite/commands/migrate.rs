//! `migrate`: creates the schema, or brings it up to date.

use serde_json::json;

use super::Outcome;
use crate::{database::Database, failure::Failure, output::Output, settings::Settings};

pub(super) async fn run(settings: &Settings, output: &mut Output) -> Result<Outcome, Failure> {
    let database = Database::migrate(settings).await?;
    if output.is_json {
        output.json(&json!({ "database": database.name(), "up_to_date": true }));
    } else {
        output.line("The schema is up to date.");
    }
    database.close().await;
    Ok(Outcome::Fine)
}
