//! An outage of UPS: how soon every company is served again, what UPS sees of it, and what is told.
//!
//! ```text
//! outage measured             real processes, a real database; UPS refuses connections, and later hangs
//!     --companies N           how many companies (1,500)
//!     --processes N           how many processes (4)
//!     --minutes M             how long UPS is away (5)
//!     --store postgres|sqlite the database (postgres)
//!     --kind refused|hangs    only one of them
//! outage simulated            the whole library in virtual time, with up to a million companies
//!     --companies N           how many companies (1,000,000)
//!     --in-use N              how many of them have callers (a tenth)
//!     --hours H               how long UPS is away (4)
//!     --processes N           how many processes (4)
//!     --rate N                how many refreshes each sends a second at most (100)
//!     --kind refused|hangs    UPS refuses connections, or takes them and never answers (refused)
//! ```
//!
//! The exit status is 1 if a demand is missed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod journal;
mod measured;
mod simulated;
mod table;
mod traffic;

use std::{env, process::ExitCode};

use crate::simulated::Plan;

/// How UPS is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its port is closed.
    Refused,
    /// It takes connections and never answers.
    Hangs,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let is_fine = match words.split_first() {
        Some((&"simulated", options)) => Plan::of(options).map(|plan| simulated::run(&plan)),
        Some((&"measured", options)) => measured::Plan::of(options).map(|plan| measured::run(&plan)),
        _ => None,
    };
    match is_fine {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => {
            eprintln!(
                "usage: outage measured [--companies N] [--processes N] [--minutes M] [--store postgres|sqlite] [--kind refused|hangs]\n       \
                 outage simulated [--companies N] [--in-use N] [--hours H] [--processes N] [--rate N] \
                 [--kind refused|hangs]"
            );
            ExitCode::from(2)
        }
    }
}
