//! The content of the database, on each store that outlives a process: values written by hand or by another release,
//! and the data that a thief finds.

#![allow(clippy::unwrap_used, reason = "tests")]

mod client_row;
mod deleted_tokens;
mod import;
mod quarantine;
mod stage;
mod unknown_fields;
