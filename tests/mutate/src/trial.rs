//! Turns on each change and runs the tests that reach it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    apart::Copy,
    areas::Area,
    prepare::{Form, Genre, Mutant, Prepared},
    report::{Outcome, Report, Results},
    tests::{Ended, Known, Program, Tests},
};

/// Tests run together that take so long; then longer ones.
const BATCH: Duration = Duration::from_millis(500);
/// The time of each program's tests for a change that has its reason.
const BRIEFLY: Duration = Duration::from_secs(5);

/// Tries an area's changes that stand behind switches; returns the results so far, and the changes to be tried apart.
pub(crate) fn try_switched<'a>(
    area: &'a Area,
    prepared: &'a Prepared,
    tests: &mut Tests,
    report: &Report,
    only_survivors: bool,
) -> (Results, Vec<&'a Mutant>) {
    let mut results = Results::of(area, &prepared.out, prepared.of(area).map(|(mutant, _)| mutant));
    let (mut left, mut apart) = (Vec::new(), Vec::new());
    for (mutant, form) in prepared.of(area) {
        match (form, results.before(mutant).filter(|_| only_survivors)) {
            (_, Some(before)) if before != Outcome::Survived => results.add(mutant, before),
            (Form::Unviable, _) => results.add(mutant, Outcome::Unviable),
            (Form::Switched, _) => left.push(mutant),
            (Form::Apart, _) => apart.push(mutant),
        }
    }
    println!("{}: {} changes to try, {} of them apart", area.name, left.len() + apart.len(), apart.len());
    for name in area.tests {
        if left.is_empty() {
            break;
        }
        let (known, program) = (tests.known(name), tests.program(name));
        let (next, tried) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..tests.workers() {
                scope.spawn(|| {
                    while let Some(mutant) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let within = if report.explains(mutant) { BRIEFLY } else { Duration::MAX };
                        let outcome = try_one(mutant, &program, &known, within);
                        let mut tried = tried.lock().expect("no worker panics");
                        tried.push((*mutant, outcome));
                        if tried.len().is_multiple_of(100) {
                            println!("{}: {} of {} tried with {name}", area.name, tried.len(), left.len());
                        }
                    }
                });
            }
        });
        left.clear();
        for (mutant, outcome) in tried.into_inner().expect("no worker panics") {
            match outcome {
                Some(outcome) => results.add(mutant, outcome),
                None => left.push(mutant),
            }
        }
        println!("{}: {} left after {name}", area.name, left.len());
        results.save(&[&left[..], &apart].concat());
    }
    left.iter().for_each(|mutant| results.add(mutant, Outcome::Survived));
    results.save(&apart);
    (results, apart)
}

/// Tries the others, each compiled alone.
pub(crate) fn try_apart(area: &Area, apart: &[&Mutant], copy: &mut Copy, results: &mut Results) {
    for (index, mutant) in apart.iter().enumerate() {
        results.add(mutant, copy.try_out(area, mutant));
        results.save(&apart[index + 1..]);
    }
}

/// Runs the tests that take so long `within` all, the fastest first. `None`: none noticed.
fn try_one(mutant: &Mutant, program: &Program, known: &[Known], within: Duration) -> Option<Outcome> {
    let mut reaching: Vec<&Known> = known.iter().filter(|test| test.reaches.contains(&mutant.id)).collect();
    reaching.sort_by_key(|test| test.took);
    let mut sum = Duration::ZERO;
    reaching.retain(|test| {
        sum = sum.saturating_add(test.took);
        sum <= within
    });
    let (mut rest, mut batch) = (&reaching[..], BATCH);
    while !rest.is_empty() {
        let mut sum = Duration::ZERO;
        let count = rest.iter().take_while(|test| {
            let is_first = sum.is_zero();
            sum += test.took;
            is_first || sum <= batch
        });
        let (now, later) = rest.split_at(count.count());
        let limit = now.iter().map(|test| test.took).sum::<Duration>() * 5 + Duration::from_secs(10);
        match program.run(now, mutant.id, limit) {
            Ended::Failed if mutant.genre == Genre::Sql && program.is_refused(now, mutant.id) => {
                return Some(Outcome::Unviable);
            }
            Ended::Failed => return Some(Outcome::Noticed),
            Ended::TimedOut => return Some(Outcome::TimedOut),
            Ended::Passed => {}
        }
        rest = later;
        batch *= 4;
    }
    None
}
