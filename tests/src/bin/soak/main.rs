//! The soak test: the promises checked from outside. Real processes of a service share a real database and refresh at a
//! fake UPS, while a seeded plan kills and stops them, cuts and silences their connections, and takes the database
//! away. A ledger records what UPS really did. In the end every opt-in must be as the ledger says.
//!
//! `tests/soak` runs it, in namespaces of its own.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

mod ledger;
mod plan;
mod service;
mod stage;
mod wire;

use std::{
    env,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use batchsuite_auth::{
    Environment,
    store::{EventOrder, EventQuery, Store as _},
};
use batchsuite_tests::Backend;
use ledger::Book;
use plan::Fault;
use rand::{SeedableRng as _, rngs::StdRng};
use stage::{COMPANIES, Stage};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep},
};

/// The latest detection of an ended opt-in: a lease, a pause, a second lease.
const SETTLED_WITHIN: Duration = Duration::from_secs(240);
/// The average pause between two faults.
const PAUSE: Duration = Duration::from_secs(6);

#[tokio::main(worker_threads = 4)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [store, minutes, seed, scratch] = &*arguments else {
        panic!("soak STORE MINUTES SEED SCRATCH: run tests/soak")
    };
    let backend = match &**store {
        "postgres" => Backend::Postgres,
        "sqlite" => Backend::Sqlite,
        other => panic!("no such store: {other}"),
    };
    let (minutes, seed) = (minutes.parse().expect("minutes"), seed.parse().expect("a seed"));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter("soak=info").init();
    let (mut interrupt, mut terminate) =
        [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).expect("signals")).into();
    tokio::select! {
        is_right = soak(backend, minutes, seed, Path::new(scratch)) => ExitCode::from(u8::from(!is_right)),
        _ = interrupt.recv() => ExitCode::from(130),
        _ = terminate.recv() => ExitCode::from(143),
    }
}

/// Runs the soak; returns whether everything was right.
async fn soak(backend: Backend, minutes: f64, seed: u64, scratch: &Path) -> bool {
    let begun = Instant::now();
    let stage = Arc::new(Stage::set(backend, scratch).await);
    for slot in 0..stage.slots.len() {
        stage.start(slot).await;
    }
    let (people_end, callers_end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut people = JoinSet::new();
    for company in 0..COMPANIES {
        people.spawn(service::company(Arc::clone(&stage), seed + company as u64, company, Arc::clone(&people_end)));
    }
    let mut others = JoinSet::new();
    others.spawn(service::callers(Arc::clone(&stage), seed, Arc::clone(&callers_end)));
    others.spawn(service::watch(Arc::clone(&stage), Arc::clone(&callers_end)));

    plan::run(&stage, seed, begun + Duration::from_secs_f64(60.0 * minutes), PAUSE).await;
    people_end.store(true, SeqCst);
    let was_under_fire = begun.elapsed();
    people.join_all().await;
    settle(&stage, seed).await;
    callers_end.store(true, SeqCst);
    others.join_all().await;

    check_log(&stage).await;
    let counted = stage.refreshes("ok").await;
    let searched = search(&stage).await;
    let mut book = stage.ledger.book();
    if counted != book.rotations {
        let read = book.rotations;
        book.wrong(format!("UPS counted {counted} rotations, and {read} were read on the wires"));
    }
    let is_right = book.wrong.is_empty();
    print!("{}", table(&mut book, backend, was_under_fire, seed, &searched));
    prove(&book, backend, begun.elapsed());
    is_right
}

/// No more faults: everything must become as the ledger says.
async fn settle(stage: &Arc<Stage>, seed: u64) {
    tracing::info!("no more faults");
    let before: Vec<u64> = (0..COMPANIES).map(|company| stage.ledger.book().rotations_of(company)).collect();
    let until = Instant::now() + SETTLED_WITHIN;
    let mut companies = JoinSet::new();
    for (company, before) in before.into_iter().enumerate() {
        let (stage, mut random) = (Arc::clone(stage), StdRng::seed_from_u64(seed ^ company as u64));
        companies.spawn(async move {
            while let Err(instead) = service::stands_right(&stage, &mut random, company, before).await {
                if Instant::now() > until {
                    return stage.ledger.book().wrong(instead);
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
    companies.join_all().await;
}

/// Checks the whole event log.
async fn check_log(stage: &Stage) {
    let mut after = None;
    loop {
        let order = EventOrder::OldestFirst;
        let query = EventQuery { environment: Environment::Cie, company: None, order, after, limit: 10_000 };
        let page = stage.store.events(query).await.expect("the store answers");
        stage.ledger.book().check_events(&page.items);
        if page.items.is_empty() || page.next == after {
            return;
        }
        after = page.next;
    }
}

/// Searches the workers' logs for every secret; returns a summary of the search.
async fn search(stage: &Arc<Stage>) -> String {
    // The writers must end first.
    (0..stage.slots.len()).for_each(|slot| stage.kill(slot));
    let stage = Arc::clone(stage);
    let search = move || {
        let mut book = stage.ledger.book();
        let secrets = std::mem::take(&mut book.secrets);
        let (mut bytes, mut files, mut full) = (0, 0, 0);
        for log in fs::read_dir(&stage.logs).expect("the logs") {
            let log = fs::read(log.expect("a log").path()).expect("the log's text");
            let log = String::from_utf8_lossy(&log);
            full += ["No space left on device", " 53100", "disk is full"]
                .map(|words| log.matches(words).count())
                .iter()
                .sum::<usize>();
            let seen = secrets.seen_in(&log);
            seen.into_iter().for_each(|seen| book.wrong(format!("in a log: {seen}")));
            (bytes, files) = (bytes + log.len(), files + 1);
        }
        if full == 0 {
            book.wrong("no worker met the full disk");
        }
        format!("{} in {files} logs of {} MB at TRACE", secrets.kinds().join(", "), bytes >> 20)
    };
    tokio::task::spawn_blocking(search).await.expect("the search ends")
}

fn table(book: &mut Book, backend: Backend, under_fire: Duration, seed: u64, searched: &str) -> String {
    let mut table = String::new();
    let mut line = |what: &str, figure: &dyn std::fmt::Display| {
        let _ = writeln!(table, "  {what:<78}{figure:>10}");
    };
    line("minutes under fire", &format!("{:.1}", under_fire.as_secs_f64() / 60.0));
    line("seed", &seed);
    line("rotations", &book.rotations);
    for fault in Fault::ALL.iter().copied() {
        match fault.not_done(backend) {
            Some(why) => line(&format!("{}: {why}", fault.name()), &"–"),
            None => line(fault.name(), &book.faults.get(fault.name()).unwrap_or(&0)),
        }
    }
    line("processes started", &book.processes.len());
    for event in ["refresh_unanswered", "refresh_failed", "invalidated", "recovered"] {
        line(&format!("events: {event}"), book.events.get(event).unwrap_or(&0));
    }
    for (how, count) in &book.endings {
        line(&format!("opt-ins ended: {how}"), count);
    }
    for (truth, how) in [("Alive", "authenticated"), ("Ended", "told to opt in again"), ("Removed", "removed")] {
        let stand = book.companies.iter().filter(|company| format!("{:?}", company.truth).starts_with(truth)).count();
        line(&format!("companies in the end: {how}"), &stand);
    }
    book.waits.sort_unstable();
    line("callers who asked for a living opt-in's token", &book.waits.len());
    for (what, part) in [("half of them", 0.5), ("99 %", 0.99), ("the worst", 1.0)] {
        let at = (book.waits.len().saturating_sub(1) as f64 * part) as usize;
        let wait = book.waits.get(at).copied().unwrap_or_default();
        line(&format!("had it within ({what})"), &format!("{:.3} s", wait.as_secs_f64()));
    }
    line("secrets seen in logs", &book.wrong.iter().filter(|what| what.starts_with("in a log")).count());
    line("wrong", &book.wrong.len());
    for what in &book.wrong {
        let _ = writeln!(table, "  WRONG: {what}");
    }
    format!("\n{backend:?}\n{table}  (searched for: {searched})\n")
}

/// Adds a line to the table of `tests/prove`.
fn prove(book: &Book, backend: Backend, took: Duration) {
    let Some(file) = env::var_os("PROVE_TABLE") else { return };
    let faults: u64 = book.faults.values().sum();
    let outcome = if book.wrong.is_empty() { "ok" } else { "FAILED" };
    let tried =
        format!("{backend:?}: {} rotations, {faults} faults, {} processes", book.rotations, book.processes.len());
    let line = format!("soak\t{tried}\t{}\t{outcome}\n", took.as_secs());
    let mut file = OpenOptions::new().create(true).append(true).open(file).expect("the table");
    file.write_all(line.as_bytes()).expect("the table");
}
