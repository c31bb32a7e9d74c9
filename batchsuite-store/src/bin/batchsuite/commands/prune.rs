//! `prune`: deletes old events.

use std::time::Duration;

use serde_json::json;

use super::{Outcome, counted, long};
use crate::{client::Use, failure::Failure, output::Output, settings::Settings};

pub(super) async fn run(
    settings: &Settings,
    older_than: Duration,
    undelivered: bool,
    output: &mut Output,
) -> Result<Outcome, Failure> {
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
