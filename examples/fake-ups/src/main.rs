//! `fake-ups`: a UPS for tests and demos, for clients in any language.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program talks to its terminal")]

mod options;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use options::Options;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            // The first line says it; the rest is a tip and the usage.
            let whole = error.to_string();
            let line = whole.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            return fail(&format!("{line} (--help lists the options)"));
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("fake-ups: {message}");
    ExitCode::FAILURE
}

#[tokio::main]
async fn run(options: Options) -> Result<(), String> {
    let ups = options.ups().map_err(|error| error.to_string())?;
    // Before the first client, so that no signal is missed.
    let shutdown = shutdown().map_err(|error| format!("no signals: {error}"))?;
    let cannot_listen = |error| format!("cannot listen on {}: {error}", options.listen);
    let listener = TcpListener::bind(&options.listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    println!("fake UPS on http://{address} for client {:?}; switches on http://{address}/__fake/", options.client_id);
    fake_ups::serve(listener, Arc::new(ups), shutdown).await.map_err(|error| error.to_string())
}

/// Ready at SIGTERM or SIGINT.
fn shutdown() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
