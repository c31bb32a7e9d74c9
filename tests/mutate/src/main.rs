//! Changes each line of the code that decides, one change at a time, and runs the tests that reach the line.
//!
//! cargo-mutants lists the changes. It would compile the code once for each, which takes most of its time. Here, all
//! changes are compiled together, each behind a switch that the environment turns on (mutant schemata: Untch, Offutt
//! and Harrold, ISSTA 1993), so that a change costs the time of its tests alone. The switches also tell which tests
//! reach a change: only these run, the fastest first.
//!
//! 1. [`prepare`]: a copy of the workspace, the changes listed, the code rewritten with switches ([`switches`]). A
//!    change that the compiler rejects is *unviable* (and would be without a switch). A change that cannot stand behind
//!    a switch, such as one in a `const fn`, is compiled *apart*.
//! 2. [`tests`]: each test runs alone once, and tells what it reaches.
//! 3. [`trial`]: each change is turned on, and the tests that reach it run until one fails.
//! 4. [`report`]: a change that no test noticed has survived, and must be in `tests/survivors` with its reason. What is
//!    there already is tried by the fastest tests alone: that no test notices it is known, and to see it again takes
//!    longer than all the rest.

#![allow(clippy::disallowed_methods, reason = "this program measures how long tests take")]

mod apart;
mod areas;
mod lexer;
mod mutations;
mod prepare;
mod report;
mod sql;
mod sql_files;
mod switches;
mod tests;
mod trial;

use std::{env, path::PathBuf, process::ExitCode};

use crate::{apart::Copy, areas::AREAS, prepare::Prepared, report::Report, tests::Tests};

const USAGE: &str = "usage: tests/mutants [AREA...]             each change of these areas (all of them)
       tests/mutants survivors [AREA...]   those alone that no test noticed the last time
       tests/mutants areas                 the areas' names";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("areas") => {
            AREAS.iter().for_each(|area| println!("{}", area.name));
            return ExitCode::SUCCESS;
        }
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let only_survivors = arguments.first().is_some_and(|first| first == "survivors");
    if only_survivors {
        arguments.remove(0);
    }
    if let Some(unknown) = arguments.iter().find(|name| !AREAS.iter().any(|area| area.name == **name)) {
        eprintln!("{unknown}: no such area\n{USAGE}");
        return ExitCode::from(2);
    }
    let chosen = AREAS.iter().filter(|area| arguments.is_empty() || arguments.iter().any(|name| name == area.name));
    let out = PathBuf::from("target/mutants");
    let prepared = Prepared::new(&out);
    let mut tests = Tests::build(&prepared);
    let (mut copy, mut report) = (Copy::new(&prepared), Report::new());
    let mut try_switched = |area| trial::try_switched(area, &prepared, &mut tests, &report, only_survivors);
    let switched: Vec<_> = chosen.map(|area| (area, try_switched(area))).collect();
    for (area, (mut results, apart)) in switched {
        trial::try_apart(area, &apart, &mut copy, &mut results);
        report.add(area, results);
    }
    if report.print(tests.failing()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
