//! `after-restore`: marks the opt-ins of a restored database.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::json;

use super::{Outcome, counted, long};
use crate::{client::Use, failure::Failure, output::Output, settings::Settings};

pub(super) async fn run(settings: &Settings, yes: bool, output: &mut Output) -> Result<Outcome, Failure> {
    if !yes && !is_confirmed()? {
        return Err(Failure::new("nothing was done"));
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

/// Asks on the terminal.
fn is_confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let line = "this is to be done before any process serves; if none does, add --yes";
        return Err(Failure::new(line));
    }
    let asked = || {
        let mut answer = String::new();
        let mut stderr = io::stderr();
        write!(
            stderr,
            "This is to be done before any process serves. Does none serve, and shall it be done? [yes/no] "
        )?;
        stderr.flush()?;
        io::stdin().read_line(&mut answer)?;
        Ok(answer.trim() == "yes")
    };
    asked().map_err(|error: io::Error| Failure::new("the terminal cannot be asked; add --yes").because(&error))
}
