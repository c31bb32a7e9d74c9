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
            // The first paragraph is the message; the rest is a tip and the usage.
            let whole = error.to_string();
            let said = whole.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
            let line = said.trim_start_matches("error: ");
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
    let tls = options.tls().map_err(|error| error.to_string())?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let client = &options.client_id;
    println!("fake UPS on {scheme}://{address} for client {client:?}; switches on {scheme}://{address}/__fake/");
    let ups = Arc::new(ups);
    match tls {
        None => fake_ups::serve(listener, ups, shutdown).await,
        Some(tls) => fake_ups::serve_tls(listener, tls, ups, shutdown).await,
    }
    .map_err(|error| error.to_string())
}

/// Completes at SIGTERM or SIGINT.
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
