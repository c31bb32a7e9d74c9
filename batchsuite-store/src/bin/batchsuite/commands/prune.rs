//! `prune`: deletes old events.

use std::time::Duration;

use serde_json::json;

use super::{Outcome, confirm::confirm, counted, long};
use crate::{client::Use, failure::Failure, options::Prune, output::Output, settings::Settings};

/// `why` explains what it finds with events of this age.
const EXPLAINS: Duration = Duration::from_secs(30 * 86_400);

pub(super) async fn run(settings: &Settings, prune: &Prune, output: &mut Output) -> Result<Outcome, Failure> {
    let Prune { older_than, undelivered, yes } = *prune;
    if older_than < EXPLAINS && !yes {
        confirm(
            "This deletes events of the last 30 days, with which `batchsuite why` explains what it finds. Shall it be done?",
            "this deletes events of the last 30 days, with which `batchsuite why` explains what it finds; if that is meant, \
             add --yes",
        )?;
    }
    let progress = "{spinner} deleting events, batch {pos}, {elapsed}";
    let events = long(settings, Use::Nothing, progress, async |opened| match undelivered {
        true => opened.auth.prune_undelivered_events(older_than).await,
        false => opened.auth.prune_events(older_than).await,
    })
    .await?;
    if output.is_json {
        output.json(&json!({ "events": events }));
    } else {
        output.line(format_args!("Deleted {}.", counted(events, "event", "events")));
    }
    Ok(Outcome::Fine)
}
