//! Counts instead of times, so that every machine gives the same result. `benches/README.md` explains the figures.
//!
//! - `counted allocations`: allocator calls for a cached token and its header value.
//! - `counted memory [COMPANIES]`: bytes per cached company.
//! - `counted hits|misses|refreshes NUMBER`: runs exactly this many, for `benches/check-instructions` to count.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::{alloc::System, hint::black_box, process::ExitCode, time::Duration};

use batchsuite_auth::{BatchSuiteAuth, CompanyId};
use batchsuite_benches::{companies, measure::Shuffled, report};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One thread, so that no concurrent work is counted with a hit, and the count is always the same.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next();
    let number = arguments.next().map(|number| number.parse::<usize>());
    match (what.as_deref(), number) {
        (Some("allocations"), None) => allocations().await,
        (Some("memory"), None) => memory(1_000_000).await,
        (Some("memory"), Some(Ok(number @ 1..))) => memory(number).await,
        (Some("hits"), Some(Ok(number))) => hits(number).await,
        (Some("misses"), Some(Ok(number @ 0..=MOST))) => misses(number).await,
        (Some("refreshes"), Some(Ok(number @ 0..=MOST))) => refreshes(number).await,
        _ => {
            eprintln!("counted allocations | memory [COMPANIES] | hits NUMBER | misses NUMBER | refreshes NUMBER");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The number of counted hits.
const HITS: usize = 10_000;

async fn allocations() {
    let names = companies::names(1000);
    let auth = companies::cached(&names).await;
    take_tokens(&auth, &names, HITS).await;
    let region = Region::new(ALLOCATOR);
    drop(black_box(Box::new(0)));
    assert_eq!(calls(region.change()), 1, "the allocator counts");

    let region = Region::new(ALLOCATOR);
    take_tokens(&auth, &names, HITS).await;
    report::ratio("token/allocations", calls(region.change()) as f64 / HITS as f64, 1.0);
}

/// Deallocations count, too: a hit may free memory that other code left behind.
fn calls(stats: Stats) -> usize {
    (stats.allocations + stats.reallocations).max(stats.deallocations)
}

async fn memory(number: usize) {
    // The stored grants are allocated before the count begins.
    let names = companies::names(number);
    let auth = companies::listening(companies::connected(&names).await).await;
    let region = Region::new(ALLOCATOR);
    let mut tokens = 0;
    for company in &names {
        tokens += auth.access_token(company).await.expect("a token").header().len();
    }
    // Lets the flights free their memory.
    tokio::task::yield_now().await;
    let grown = region.change();
    let live = grown.bytes_allocated as f64 - grown.bytes_deallocated as f64;
    report::ratio("memory/company", (live - tokens as f64) / number as f64, 512.0);
}

/// The number of prepared companies, whatever number is requested, so that the difference between two runs contains
/// only the misses or refreshes.
const MOST: usize = 2000;

/// One company, because the number of probes in a map of many depends on its seed.
async fn hits(number: usize) {
    let names = companies::names(1);
    let auth = companies::cached(&names).await;
    take_tokens(&auth, &names, number).await;
}

async fn misses(number: usize) {
    each_once(Duration::ZERO, number, 1).await;
}

async fn refreshes(number: usize) {
    each_once(companies::ENDED, number, 2).await;
}

/// Fetches the first token of each of `number` companies that opted in `age` ago. Each token must have this version.
async fn each_once(age: Duration, number: usize, version: u64) {
    let names = companies::names(MOST);
    let auth = companies::listening(companies::connected_ago(&names, age).await).await;
    for company in &names[..number] {
        let token = auth.access_token(company).await.expect("a token");
        assert_eq!(token.revision().version, version);
    }
}

/// Takes cached tokens of random companies and their header values.
async fn take_tokens(auth: &BatchSuiteAuth, names: &[CompanyId], number: usize) {
    let mut order = Shuffled::below(names.len());
    for _ in 0..number {
        let token = auth.access_token(&names[order.index()]).await.expect("a token");
        black_box(token.header().clone());
    }
}
