//! Every interleaving: a breadth-first search through small worlds in which the library's own rules decide.
//!
//! A world is one company's row in a store, a UPS, and one to three processes. A state is everything that any of them
//! knows. From each state the search makes every possible move, including faults, and so reaches every state that some
//! history leads to. The promises of [`truth`] must hold in each of them. The first state that breaks a promise is
//! printed as a story. Because the search proceeds by number of moves, no story is shorter.
//!
//! # What is real and what is modelled
//! Real: `Grant::on` with all its steps, `Grant::chore` and `Step::wake`, `Flight::next`, and the `Breaker`, through
//! `batchsuite_auth::test_util::machine`. Modelled: the engine around them ([`flight`], [`others`], [`stops`],
//! [`breaker`]), await by await, in the engine's order; the store ([`saves`]), whose only relevant verb is one
//! compare-and-swap; UPS and the network ([`ups`]); stops, kills and outages ([`moves`]). The model contains no rules
//! of its own: where the library asks the machine, the model asks it, too ([`rules`]).
//!
//! # Time
//! Time advances in steps of two and a half minutes. A lease lasts two steps and an echo four (the machine's ten
//! minutes); one step is longer than the five seconds after which a decision is too old. Work is done before time
//! passes. A slow process is a stopped process or one whose store is unavailable, and both are faults. So a scenario
//! says how many faults occur together, and of which kinds ([`scenario`]).
//!
//! # Symmetry
//! States that differ only in names are one: processes are sorted, and attempts, tokens, row numbers and versions get
//! the smallest names that preserve their comparisons ([`fold`]). Times are relative to now. So the worlds are finite
//! despite endless rotations, and each scenario is searched completely, not to a certain depth.
//!
//! # Liveness
//! Moves that are neither faults nor made by people are *calm*. From each state in which UPS accepts a token that we
//! still have, every calm path must reach *authenticated*: the search keeps the graph of calm moves and traverses it
//! backwards from the settled states.
//!
//! # A search that can fail
//! `explore rules` leaves out one rule of the protocol after the other ([`omit`]) and shows which promise breaks, in
//! which scenario, and after how many states.
//!
//! # What no client can tell
//! Some causes are wrong, and no rule could correct them. Each has a [`truth::Label`] with one exact history. A
//! scenario names the labels that must occur in it, and the search prints the shortest story of each. A wrong cause
//! with any other history breaks a promise.
//!
//! One of them is of our own making. A process is stopped past its lease with the new pair in hand. Another process
//! asks with the spent token, is refused, and gives the row up. If UPS ends a whole family when a spent token is
//! reused, the pair in hand is dead, too. It is stored nevertheless, because it may well work, and its refusal is
//! reported as `OptInInvalidated`. That breaks no promise: the refused token was ours and unused, and a take-over or a
//! given-up row alone leaves no mark. With a mark at each take-over, plain password changes would be reported as lost
//! rotations. The same happens if the store is unavailable past the lease, returns for one read of the other process,
//! and is unavailable again until the holder's grace has ended.
//!
//! # What is not searched
//! - more than one company in full detail: two others are only requests through the same breaker, one move each. Of the
//!   causes that open a breaker, only waves, refusals of the client and silence, not unknown answers, 429 and 403;
//! - warnings and expiry; refresh tokens that cannot be sent back; unreadable rows; wrong clocks; the cache and the
//!   feed;
//! - more than three faults together; more than one process that is told to stop; a shutdown whose time limit ends,
//!   which amounts to a kill;
//! - an undetectable fail-over: here each process has the lost rotation cached. A fail-over that loses only a claim, or
//!   that only a dead process remembers, is invisible; for that case operators have `after_restore`. After a fail-over
//!   a token may be sent twice within a lease, because the store has lost the claim;
//! - a second outage of the store during the grace that a holder gets after the first: it may cause a false
//!   `RotationLost`, which ends when the holder stores its pair, and which cannot be told from a right one.
//!
//! # Why not a crate
//! stateright 0.31 was evaluated. Its breadth-first search has no symmetry reduction (its depth-first search has, but
//! its traces are not the shortest). It keeps no edges, and it does not detect violations of *eventually* properties on
//! cycles or where paths join; our worlds rotate in cycles, and liveness is one of the promises. The remaining part is
//! the loop in [`mod@search`].
#![allow(clippy::print_stdout, reason = "a program that reports")]

mod breaker;
mod flight;
mod fold;
mod moves;
mod omit;
mod others;
mod row;
mod rules;
mod saves;
mod scenario;
mod search;
mod stops;
mod story;
mod table;
mod truth;
mod ups;
mod world;

use std::{collections::BTreeMap, io, process::ExitCode, time::Duration};

use batchsuite_auth::clock::{Clock, SystemClock, Timestamp};

use crate::{
    omit::Rule,
    rules::Rules,
    scenario::{FULL, QUICK, Scenario},
    search::{Report, search},
    truth::Label,
};

const USAGE: &str = "usage: explore [quick | full | rules | only SCENARIO | without RULE [SCENARIO]]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let named = |name: &str| -> Vec<&Scenario> { all().filter(|scenario| scenario.name == name).collect() };
    let outcome = match arguments[..] {
        ["quick"] => run(&QUICK.iter().collect::<Vec<_>>(), None),
        ["full"] | [] => run(&all().collect::<Vec<_>>(), None),
        ["rules"] => miss_each_rule(),
        ["only", name] if !named(name).is_empty() => run(&named(name), None),
        ["without", rule] if Rule::of_name(rule).is_some() => {
            run(&QUICK.iter().collect::<Vec<_>>(), Rule::of_name(rule))
        }
        ["without", rule, name] if Rule::of_name(rule).is_some() => run(&named(name), Rule::of_name(rule)),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the table cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> impl Iterator<Item = &'static Scenario> {
    QUICK.iter().chain(FULL)
}

/// Searches each scenario; returns whether everything is as expected.
fn run(scenarios: &[&Scenario], omitted: Option<Rule>) -> io::Result<bool> {
    println!(
        "{:<38} {:>9} {:>6} {:>11} {:>12} {:>6} {:>8}",
        "scenario", "processes", "faults", "states", "transitions", "depth", "seconds"
    );
    let (mut total, mut is_good, mut known) = (Report::default(), true, BTreeMap::new());
    let begun = SystemClock.now();
    for scenario in scenarios {
        let rules = Rules::new(scenario.second_opinions, omitted);
        let began = SystemClock.now();
        let report = search(scenario, &rules);
        line(scenario, &report, since(began));
        total.states += report.states;
        total.transitions += report.transitions;
        total.depth = total.depth.max(report.depth);
        is_good &= show(scenario, &rules, &report);
        for (label, trace) in report.known {
            known.entry(label).or_insert_with(|| (scenario.name, story::tell(scenario, &rules, &trace)));
        }
    }
    let words = format!(
        "{} scenarios, {} states, {} transitions, worst depth {}",
        scenarios.len(),
        table::grouped(total.states as u64),
        table::grouped(total.transitions),
        total.depth
    );
    let seconds = since(begun).as_secs_f64();
    println!("{words}, {seconds:.1} s");
    table::add("interleavings", &words, seconds, is_good)?;
    for (label, (name, story)) in known {
        println!("\nNo client can tell: {} ({name})\n  {}", label.words(), story.join("\n  "));
    }
    Ok(is_good)
}

fn since(began: Timestamp) -> Duration {
    (SystemClock.now() - began).to_std().unwrap_or_default()
}

fn line(scenario: &Scenario, report: &Report, took: Duration) {
    let Scenario { name, processes, faults, .. } = scenario;
    let Report { states, transitions, depth, .. } = report;
    let seconds = took.as_secs_f64();
    println!("{name:<38} {processes:>9} {faults:>6} {states:>11} {transitions:>12} {depth:>6} {seconds:>8.1}");
}

/// Prints violations; returns whether there are none.
fn show(scenario: &Scenario, rules: &Rules, report: &Report) -> bool {
    if let Some((promise, trace)) = &report.broken {
        println!("\nBROKEN: {}\n  {}\n", promise.words(), story::tell(scenario, rules, trace).join("\n  "));
        return false;
    }
    let mut is_good = true;
    for label in Label::ALL {
        match (report.known.get(&label), scenario.expects.contains(&label)) {
            (Some(_), true) | (None, false) => {}
            (Some(trace), false) => {
                is_good = false;
                println!("\nNOT EXPECTED: {}\n  {}\n", label.words(), story::tell(scenario, rules, trace).join("\n  "));
            }
            (None, true) => {
                is_good = false;
                println!("\nMISSING, so the search is blind to it: {}\n", label.words());
            }
        }
    }
    is_good
}

/// Leaves out each rule in turn; returns whether each is missed.
fn miss_each_rule() -> io::Result<bool> {
    let (mut searched, mut detected) = (0, 0);
    let begun = SystemClock.now();
    println!("clause | without it | promise that breaks | scenario | states | moves");
    for (rule, clause, words) in Rule::ALL {
        let found = all().find_map(|scenario| {
            let report = search(scenario, &Rules::new(scenario.second_opinions, Some(rule)));
            let states = report.states;
            searched += states;
            report.broken.map(|(promise, trace)| (scenario.name, states, trace.hashes.len(), promise))
        });
        match found {
            Some((name, states, moves, promise)) => {
                detected += 1;
                println!("{clause} | {words} ({rule:?}) | {} | {name} | {states} | {moves}", promise.words());
            }
            None => println!("{clause} | {words} ({rule:?}) | NOT MISSED"),
        }
    }
    let (all, searched) = (Rule::ALL.len(), table::grouped(searched as u64));
    let words = format!("{all} rules left out one by one, {detected} detected, {searched} states");
    table::add("interleavings, rules", &words, since(begun).as_secs_f64(), detected == all)?;
    Ok(detected == all)
}
