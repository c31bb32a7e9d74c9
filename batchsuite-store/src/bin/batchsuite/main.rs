//! `batchsuite`: looks after the opt-ins that a service keeps in Postgres or SQLite.
//!
//! It asks UPS nothing and shows no secret. Keys and the database's URL come from the environment or from files, never
//! from the command line, which other users of the machine can read.

mod client;
mod commands;
mod database;
mod failure;
mod interrupt;
mod options;
mod output;
mod progress;
mod settings;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use self::{commands::Outcome, failure::Failure, options::Options, output::Output};

fn main() -> ExitCode {
    let options = Options::parse();
    let is_json = options.json;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    let stderr = std::io::stderr;
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(stderr().is_terminal()).with_writer(stderr).init();
    match run(options) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(1),
        Err(failure) => {
            let shown = if is_json { failure.to_json().to_string() } else { failure.to_string() };
            // With stderr closed, the exit status remains.
            let _ = writeln!(std::io::stderr(), "{shown}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> Result<Outcome, Failure> {
    let failed = |error| Failure::new("the program cannot start").because(&error);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
    let mut output = Output::new(options.json);
    let outcome = runtime.block_on(commands::run(options, &mut output));
    // A read of the terminal cannot be cancelled, and must not hold up the end.
    runtime.shutdown_background();
    let outcome = outcome?;
    output.end()?;
    Ok(outcome)
}
