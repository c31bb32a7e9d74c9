//! `after-restore`: marks the opt-ins of a restored database.

use serde_json::json;

use super::{Outcome, confirm::confirm, counted, long};
use crate::{client::Use, failure::Failure, output::Output, settings::Settings};

pub(super) async fn run(settings: &Settings, yes: bool, output: &mut Output) -> Result<Outcome, Failure> {
    if !yes {
        confirm(
            "This is to be done before any process serves. Does none serve, and shall it be done?",
            "this is to be done before any process serves; if none does, add --yes",
        )?;
    }
    let progress = "{spinner} {pos} companies marked, {elapsed}";
    let marked = long(settings, Use::Write, progress, async |opened| opened.auth.after_restore().await).await?;
    if output.is_json {
        output.json(&json!({ "marked": marked }));
    } else {
        let companies = counted(marked, "company", "companies");
        output.line(format_args!("Marked {companies}. The service may be started now."));
    }
    Ok(Outcome::Fine)
}
