//! with_postgres COMMAND [ARGUMENT...]: runs a command with a throw-away Postgres server at `DATABASE_URL`, so that test
//! programs which run one after another need not start one each.

#![allow(clippy::print_stderr, reason = "a program talks to its terminal")]

use std::{
    env,
    process::{Command, ExitCode},
};

use batchsuite_tests::postgres::{Log, Server};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((command, arguments)) = arguments.split_first() else {
        eprintln!("usage: with_postgres COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let server = Server::start(Log::Normal);
    let status = Command::new(command).args(arguments).env("DATABASE_URL", server.url()).status();
    match status {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("{command}: {error}");
            ExitCode::FAILURE
        }
    }
}
