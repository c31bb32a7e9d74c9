//! Every seed: the whole library in its own world, with virtual time and every fault that the seed draws.
//!
//! ```text
//! simulate quick              20,000 rotations, after the seeds that once failed
//! simulate full               1,000,000 rotations
//! simulate seed N             one seed, with its whole trace
//! simulate broken             breaks the library by hand in each way that is known, and must find each
//!     --from N                the first seed
//!     --rotations N           how many rotations, instead
//!     --go-on                 after a seed that failed, too (last)
//! ```
//!
//! # A world
//! Two to four processes, each a complete authenticator with its cache, feed and keeper, run in one thread on one
//! runtime with a paused clock. They share a store in memory, behind connections with planned faults, and the fake UPS,
//! behind a network with planned faults. One seed draws the world's dimensions, each delay and fault, people's actions,
//! and the library's own randomness. So a seed reproduces a run to the byte, and `simulate seed N` shows what happened.
//!
//! A ledger outside the library records the actual deeds of UPS and people. During the run it checks each request, each
//! save and each token handed out. Then faults stop, hours pass, and every opt-in must be as the ledger says.
//!
//! # Why not turmoil or madsim
//! *turmoil* simulates hosts and the network between them: TCP streams, partitions, latency. The library never opens a
//! socket: its boundaries are two traits, the store and the HTTP client, and the relevant faults lie behind them (a
//! save that lands after its caller gave up, an answer lost after the token was spent). turmoil keeps time per host,
//! but cannot set a wall clock, stop a process past its lease, or suspend a machine.
//!
//! *madsim* replaces tokio entirely, with a compiler flag and patched dependencies, so the simulated code would not be
//! built as it ships.
//!
//! tokio's paused clock with a gate around each task suffices: kill, stop and suspend are states of the gate and the
//! clocks, in a few hundred lines.
//!
//! # What it cannot find
//! Faults of a database, a socket or TLS; two threads sharing memory (each world has one thread); a stopped process
//! whose monotonic clock stops while the other processes' clocks continue (a suspended machine suspends all of them).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod broken;
mod clocks;
mod deliveries;
mod dice;
mod faults;
mod http;
mod imports;
mod ledger;
mod links;
mod people;
mod plan;
mod process;
mod report;
mod run;
mod store;
mod trace;
mod world;

use std::{env, process::ExitCode};

use crate::report::{Goal, broken, full, show};

/// The default first seed.
const FIRST: u64 = 1;
const QUICK: u64 = 20_000;
const FULL: u64 = 1_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(goal) = goal(&words) else {
        eprintln!("usage: simulate quick | full [--from SEED] [--rotations N] | seed SEED | broken [WORD]");
        return ExitCode::from(2);
    };
    let is_fine = match (words.first().copied(), words.get(1).copied()) {
        (Some("quick" | "full"), _) => full(goal),
        (Some("seed"), Some(seed)) => seed.parse().is_ok_and(show),
        (Some("broken"), word) => broken(word),
        _ => return ExitCode::from(2),
    };
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The goal of a run; `None`: an invalid argument.
fn goal(words: &[&str]) -> Option<Goal> {
    let rotations = match words.first()? {
        &"quick" => QUICK,
        &"full" => FULL,
        &"seed" | &"broken" => return Some(Goal { from: FIRST, rotations: QUICK, replays: false, goes_on: false }),
        _ => return None,
    };
    let mut goal = Goal { from: FIRST, rotations, replays: words[0] == "quick", goes_on: false };
    for pair in words[1..].chunks(2) {
        match pair {
            ["--from", from] => goal.from = from.parse().ok()?,
            ["--rotations", rotations] => goal.rotations = rotations.parse().ok()?,
            ["--go-on"] => goal.goes_on = true,
            _ => return None,
        }
    }
    Some(goal)
}

#[cfg(test)]
mod tests {
    use super::run::run;

    #[test]
    fn the_same_seed_is_the_same_world_to_the_byte() {
        let [once, twice] = [22, 22].map(|seed| run(seed, false, None));
        assert!(once.violation.is_none(), "{:?}", once.violation);
        assert!(once.rotations > 100, "{}", once.rotations);
        assert_eq!(once.trace, twice.trace);
        assert_ne!(once.trace, run(13, false, None).trace, "another seed is another world");
    }
}
