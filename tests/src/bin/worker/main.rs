//! One process of a service, for tests that need several processes and end some of them: an authenticator over a
//! database and a UPS on this machine. It reads orders from standard input and answers on standard output, one line of
//! JSON each.
//!
//! It exits when its standard input closes, so that it never outlives the test that started it.

#![allow(clippy::print_stdout, reason = "a program talks to its parent")]

mod callers;
mod note_book;
mod orders;
mod points;

use std::{
    error::Error,
    fs::File,
    sync::{Arc, Mutex},
    time::Duration,
};

use batchsuite_auth::{BatchSuiteAuth, Client, Environment, Policy, http::ReqwestClient, machine::Backoff};
use batchsuite_tests::{FlakyStore, Gate, ShiftedClock, open_store};
use orders::Desk;
use points::Points;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tracing_subscriber::fmt::format::FmtSpan;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || {
        arguments.next().ok_or(
            "worker DATABASE SCHEMA UPS CLIENT_ID CLIENT_SECRET SECONDS_AHEAD keeper|- SPEED|default DEADLINE|- [LOG]",
        )
    };
    let (database, schema) = (argument()?, argument()?);
    let (ups, client_id, client_secret) = (argument()?, argument()?, argument()?);
    let clock = ShiftedClock::default();
    clock.advance(Duration::from_secs(argument()?.parse()?));
    let has_keeper = argument()? == "keeper";
    let (policy, speed) = match &*argument()? {
        "default" => (Policy::default(), 1),
        speed => (policy(speed.parse()?), speed.parse()?),
    };
    let deadline = argument()?.parse().ok().map(Duration::from_millis);
    if let Ok(log) = argument() {
        log_everything_to(File::create(log)?);
    }

    let store = Arc::new(FlakyStore::over(open_store(&database, &schema, clock.clone()).await?));
    // The defaults, scaled.
    let http = ReqwestClient::builder()
        .allow_loopback_http()
        .connect_timeout(Duration::from_secs(5) / speed)
        .deadline(deadline.unwrap_or(Duration::from_secs(20) / speed))
        .build()?;
    let http = Arc::new(Gate::before(http));
    let points = Points::on(&store, &http);
    let builder = BatchSuiteAuth::builder(Environment::Cie, Client::new(client_id, client_secret))
        .base_url(ups.parse()?)
        .redirect_uri("http://localhost:3000/callback".parse()?)
        .store(store)
        .http(http)
        .clock(clock.clone())
        .policy(policy);
    let auth = if has_keeper { builder } else { builder.without_keeper() }.build()?;
    let desk = Arc::new(Desk { auth, clock, points, callers: Arc::default() });

    println!("{}", json!({"at": "ready"}));
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let order: Value = serde_json::from_str(&line)?;
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let mut answer = desk.follow(&order).await;
            answer["id"] = order["id"].clone();
            println!("{answer}");
        });
    }
    Ok(())
}

/// Logs every span and event of every crate.
fn log_everything_to(file: File) {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .init();
}

/// The lease and everything that must end within it are the defaults, or `speed` times shorter, because most tests move
/// the clocks. Waits that only these tests would notice are short.
fn policy(speed: u32) -> Policy {
    let mut policy = Policy::default();
    policy.lease /= speed;
    policy.request_deadline /= speed;
    policy.max_wait = Duration::from_secs(20);
    policy.claim_to_send = Duration::from_secs(2).min(Duration::from_secs(5) / speed);
    policy.commit_retry = Duration::from_millis(50);
    policy.feed_interval = Duration::from_millis(500);
    policy.keeper_interval = Duration::from_millis(200);
    policy.refresh_rate = 50;
    policy.probe_pause = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1) };
    policy
}
