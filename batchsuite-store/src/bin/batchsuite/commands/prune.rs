//! `prune`: deletes old events.

use std::time::Duration;

use serde_json::json;

use super::{Opened, Outcome, counted};
use crate::{
    client::Use,
    failure::Failure,
    interrupt::{interrupted, until_interrupted},
    output::Output,
    progress,
    settings::Settings,
};

pub(super) async fn run(settings: &Settings, older_than: Duration, output: &mut Output) -> Result<Outcome, Failure> {
    let bar = progress::bar("{spinner} deleting events, batch {pos}, {elapsed}", None);
    let opened = Opened::new(settings, Use::Nothing, bar.clone()).await?;
    let done = until_interrupted(opened.auth.prune_events(older_than)).await;
    bar.finish_and_clear();
    opened.close().await;
    let events = done?.ok_or_else(interrupted)??;
    if output.is_json {
        output.json(&json!({ "events": events }));
    } else {
        output.line(format_args!("Deleted {}.", counted(events, "event", "events")));
    }
    Ok(Outcome::Fine)
}
