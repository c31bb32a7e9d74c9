//! What stands in the database, on each store that outlives a process: what a hand or another release wrote there, and what a thief
//! finds.

#![allow(clippy::unwrap_used, reason = "tests")]

mod client_row;
mod deleted_tokens;
mod import;
mod quarantine;
mod stage;
mod unknown_fields;
