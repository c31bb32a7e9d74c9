//! What became of the lines of an import.

use batchsuite_auth::CompanyId;
use serde_json::json;

use crate::{commands::counted, output::Output};

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is imported, or would be.
    Stored,
    /// It was imported before.
    AlreadyStored,
    /// The company is authenticated by an opt-in that is not older.
    Kept,
    /// The company's authorization was removed here.
    Removed,
    /// It cannot be imported.
    Refused(String),
}

impl Fate {
    fn name(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::AlreadyStored => "already_stored",
            Self::Kept => "kept",
            Self::Removed => "removed",
            Self::Refused(_) => "refused",
        }
    }

    /// Why nothing was imported, if a person has to know.
    fn why(&self) -> Option<&str> {
        match self {
            Self::Stored | Self::AlreadyStored => None,
            Self::Kept => Some("the company has an opt-in here that is not older; that stays"),
            Self::Removed => Some("the company's authorization was removed here; that stays"),
            Self::Refused(why) => Some(why),
        }
    }
}

/// How many lines had which fate.
#[derive(Debug, Default)]
pub(super) struct Summary {
    stored: u64,
    already_stored: u64,
    kept: u64,
    removed: u64,
    refused: u64,
    last_line: u64,
}

impl Summary {
    /// Counts a line, and prints what a person or a program has to know of it.
    pub(super) fn count(&mut self, number: u64, company: Option<&CompanyId>, fate: &Fate, output: &mut Output) {
        self.last_line = number;
        *match fate {
            Fate::Stored => &mut self.stored,
            Fate::AlreadyStored => &mut self.already_stored,
            Fate::Kept => &mut self.kept,
            Fate::Removed => &mut self.removed,
            Fate::Refused(_) => &mut self.refused,
        } += 1;
        if output.is_json {
            output.json(&json!({ "line": number, "company": company, "outcome": fate.name(), "why": fate.why() }));
        } else if let Some(why) = fate.why() {
            let company = company.map(|company| format!(" ({company})")).unwrap_or_default();
            output.line(format_args!("line {number}{company}: {}: {why}", fate.name()));
        }
        output.flush();
    }

    pub(super) fn has_refused(&self) -> bool {
        self.refused > 0
    }

    /// Prints the numbers.
    pub(super) fn report(&self, is_dry_run: bool, output: &mut Output) {
        let Self { stored, already_stored, kept, removed, refused, last_line } = *self;
        if output.is_json {
            output.json(&json!({
                "dry_run": is_dry_run, "stored": stored, "already_stored": already_stored, "kept": kept,
                "removed": removed, "refused": refused, "last_line": last_line,
            }));
            return;
        }
        let stored = counted(stored, "company", "companies");
        output.line(match is_dry_run {
            true => format!("Would import {stored}."),
            false => format!("Imported {stored}."),
        });
        for (number, words) in [
            (already_stored, "imported before"),
            (kept, "left alone: authenticated here"),
            (removed, "left alone: removed here"),
            (refused, "refused"),
        ] {
            if number > 0 {
                output.line(format_args!("{}: {words}.", counted(number, "line", "lines")));
            }
        }
        if is_dry_run {
            output.line("Nothing was stored. Stop the other system, then run this with --yes.");
        }
    }
}
