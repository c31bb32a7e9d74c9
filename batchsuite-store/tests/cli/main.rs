//! The program `batchsuite`, each command on both databases. Every test's output, with all log lines at TRACE, is
//! searched for the keys, the tokens and the database's password.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod check;
mod companies;
mod dependencies;
mod documented;
mod events;
mod findings;
mod import;
mod program;
mod stage;
mod terminal;
mod upkeep;
