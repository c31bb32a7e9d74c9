//! Every clause of every SQL statement, changed one at a time: a test must notice.
//!
//! A store's SQL is changed in a copy of the workspace, the store's tests run there, and the change is undone. So the
//! workspace itself never needs restoring. [`mutations`] lists the changes: conditions that always or never hold,
//! comparisons changed at their bound, orders and locks removed, limits raised by one, written values dropped, and so
//! on.
//!
//! A change that no test notices has *survived*. It is either a gap in the tests, or it changes nothing that a caller
//! can see; then the list of survivors gives the reason. If the database rejects the changed statement, the change
//! proves nothing and counts as *refused*.
#![allow(clippy::print_stdout, reason = "a program that reports")]

mod lexer;
mod mutations;
mod source;
mod survivors;
mod workshop;

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use crate::{
    source::{Change, changes},
    survivors::Survivors,
    workshop::{Outcome, Workshop},
};

const USAGE: &str = "usage: mutate_sql (list | run) (postgres | sqlite) [--part I/N] [TEXT THAT A CHANGE CONTAINS]";
const LIST: &str = "tests/survivors";

/// A store's SQL and its tests, fastest first.
struct Subject {
    name: &'static str,
    files: &'static [&'static str],
    tests: &'static [&'static [&'static str]],
}

const SUBJECTS: [Subject; 2] = [
    Subject {
        name: "postgres",
        files: &[
            "batchsuite-store/src/postgres/sql",
            "batchsuite-store/src/postgres/migrations",
            "batchsuite-store/src/postgres/check.rs",
            "batchsuite-store/src/postgres/migrate.rs",
        ],
        tests: &[
            &["-p", "batchsuite-store", "--features", "postgres", "--test", "contract", "--", "postgres"],
            &["-p", "batchsuite-tests", "--test", "postgres", "--test", "stored"],
        ],
    },
    Subject {
        name: "sqlite",
        files: &["batchsuite-store/src/sqlite", "batchsuite-store/src/sqlite.rs"],
        tests: &[
            &["-p", "batchsuite-store", "--features", "sqlite", "--lib", "--test", "contract", "--", "sqlite"],
            &["-p", "batchsuite-tests", "--test", "sqlite", "--test", "stored"],
        ],
    },
];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let part = part_of(&mut arguments);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (verb, subject, text) = match arguments[..] {
        [verb, subject] => (verb, subject, ""),
        [verb, subject, text] => (verb, subject, text),
        _ => ("", "", ""),
    };
    let subject = SUBJECTS.iter().find(|known| known.name == subject);
    let (Some(subject), Some((part, parts))) = (subject, part) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let all = changes(Path::new("."), subject.files);
    let chosen: Vec<&Change> = all.iter().filter(|change| change.to_string().contains(text)).collect();
    let chosen: Vec<&Change> =
        chosen.into_iter().enumerate().filter(|(i, _)| i % parts == part).map(|(_, c)| c).collect();
    match verb {
        "list" => {
            for change in &chosen {
                println!("{change}");
            }
            println!("{} changes", chosen.len());
            ExitCode::SUCCESS
        }
        "run" => {
            let is_whole = chosen.len() == all.len();
            if run(subject, &chosen, is_whole) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => {
            println!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// `--part I/N`: every Nth change, from the Ith on.
fn part_of(arguments: &mut Vec<String>) -> Option<(usize, usize)> {
    let Some(at) = arguments.iter().position(|argument| argument == "--part") else { return Some((0, 1)) };
    let part = arguments.drain(at..(at + 2).min(arguments.len())).nth(1)?;
    let (part, parts) = part.split_once('/')?;
    let (part, parts): (usize, usize) = (part.parse().ok()?, parts.parse().ok()?);
    (part < parts).then_some((part, parts))
}

/// Makes each change and runs the tests; returns whether all unlisted changes were noticed.
fn run(subject: &Subject, changes: &[&Change], is_whole: bool) -> bool {
    let workshop = Workshop::new(subject.name);
    workshop.tests_pass(subject.tests);
    let survivors = Survivors::read(Path::new(LIST));
    let (mut counts, mut is_good) = (BTreeMap::<&str, usize>::new(), true);
    for (index, change) in changes.iter().enumerate() {
        let outcome = workshop.try_out(change, subject.tests);
        let explained = survivors.reason(&change.to_string());
        let told = match (&outcome, explained) {
            (Outcome::Survived, Some(_)) => "explained",
            (Outcome::Survived, None) => "SURVIVED",
            (Outcome::Noticed, None) => "noticed",
            (Outcome::TimedOut, None) => "timed out",
            (Outcome::Refused, None) => "refused",
            (_, Some(_)) => "LISTED, BUT NOTICED",
        };
        is_good &= told != "SURVIVED" && told != "LISTED, BUT NOTICED";
        *counts.entry(told).or_default() += 1;
        println!("{}/{} {told}: {change}", index + 1, changes.len());
    }
    let unknown = survivors.not_of(changes.iter().map(|change| change.to_string()), subject.files);
    for line in unknown.iter().filter(|_| is_whole) {
        is_good = false;
        println!("LISTED, BUT NO SUCH CHANGE: {line}");
    }
    let counts: Vec<String> = counts.iter().map(|(told, count)| format!("{count} {told}")).collect();
    println!("{}: {} changes: {}", subject.name, changes.len(), counts.join(", "));
    is_good
}
