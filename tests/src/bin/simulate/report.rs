//! Runs many seeds on every core and reports the results.

use std::{
    collections::BTreeMap,
    env,
    fs::OpenOptions,
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::{
    broken::Break,
    faults::{Fault, Tally},
    run::{Outcome, run},
    world::lock,
};

/// A run over many seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) from: u64,
    pub(crate) rotations: u64,
    /// Start with the seeds that once failed.
    pub(crate) replays: bool,
    /// Continue after a failed seed.
    pub(crate) goes_on: bool,
}

/// The seeds that once failed, and why.
const REGRESSIONS: &str = include_str!("../../../regression-seeds");

/// The combined results of many seeds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    rotations: u64,
    opt_ins: u64,
    imports: u64,
    outages: u64,
    delivered: u64,
    recovered: u64,
    told_as_withdrawn: u64,
    superseded_by_clock: u64,
    ended: BTreeMap<&'static str, u64>,
    tally: Tally,
    lasted: Duration,
    /// The first failed seed.
    failed: Option<Outcome>,
    violations: u64,
}

/// How many times longer a run may become until each fault has occurred.
const MOST_TIMES: u64 = 4;

/// Shows one seed.
pub(crate) fn show(seed: u64) -> bool {
    let outcome = run(seed, true, None);
    println!(
        "seed {seed}: {} rotations, {} opt-ins, {} lines, hash {:016x}",
        outcome.rotations, outcome.opt_ins, outcome.trace.0, outcome.trace.1
    );
    if let Some((violation, _)) = &outcome.violation {
        println!("VIOLATION {violation}");
    }
    outcome.violation.is_none()
}

/// Runs seeds until there were enough rotations.
pub(crate) fn full(goal: Goal) -> bool {
    let began = now();
    let replayed: Vec<u64> = if goal.replays { regressions().collect() } else { Vec::new() };
    let sum = Mutex::new(Sum::default());
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let number = next.fetch_add(1, Relaxed);
                    let replay = usize::try_from(number).ok().and_then(|number| replayed.get(number));
                    let seed = replay.copied().unwrap_or_else(|| goal.from + number - replayed.len() as u64);
                    let outcome = run(seed, false, None);
                    let mut sum = lock(&sum);
                    if let Some((violation, _)) = outcome.violation.as_ref().filter(|_| goal.goes_on) {
                        println!("seed {seed}: VIOLATION {violation}");
                    }
                    sum.add(outcome);
                    let is_replayed = sum.seeds >= replayed.len() as u64;
                    let is_enough = sum.rotations >= goal.rotations && sum.has_every_fault();
                    let is_far_more = sum.rotations >= goal.rotations * MOST_TIMES;
                    if (sum.failed.is_some() && !goal.goes_on) || (is_replayed && (is_enough || is_far_more)) {
                        is_over.store(true, Relaxed);
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.tell(goal, now() - began)
}

/// Breaks the library on purpose, in one way or in each: each must be found.
pub(crate) fn broken(word: Option<&str>) -> bool {
    let breaks: Vec<Break> = match word {
        None => Break::ALL.to_vec(),
        Some(word) => Break::of(word).into_iter().collect(),
    };
    let mut is_fine = !breaks.is_empty();
    for broken in breaks {
        let (mut rotations, mut found) = (0, None);
        for seed in 1..=MOST_SEEDS {
            let outcome = run(seed, false, Some(broken));
            rotations += outcome.rotations;
            found = outcome.violation.map(|(violation, _)| (seed, violation));
            if found.is_some() {
                break;
            }
        }
        match found {
            Some((seed, violation)) => {
                println!("{:<20} seed {seed}, {rotations} rotations: {violation}", broken.word());
            }
            None => {
                println!("{:<20} FAILED: not found in {MOST_SEEDS} seeds, {rotations} rotations", broken.word());
                is_fine = false;
            }
        }
    }
    is_fine
}

/// The number of seeds within which a break must be found.
const MOST_SEEDS: u64 = 300;

fn regressions() -> impl Iterator<Item = u64> {
    let lines = REGRESSIONS.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.map(|line| {
        let seed = line.split_whitespace().next().and_then(|seed| seed.parse().ok());
        seed.unwrap_or_else(|| panic!("tests/regression-seeds: no seed in {line:?}"))
    })
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.rotations += outcome.rotations;
        self.opt_ins += outcome.opt_ins;
        self.imports += outcome.imports;
        self.outages += outcome.outages;
        self.delivered += outcome.delivered;
        self.recovered += outcome.recovered;
        self.told_as_withdrawn += outcome.told_as_withdrawn;
        self.superseded_by_clock += outcome.superseded_by_clock;
        self.lasted += outcome.lasted;
        self.tally.add(&outcome.tally);
        for (cause, times) in &outcome.ended {
            *self.ended.entry(cause).or_default() += times;
        }
        self.violations += u64::from(outcome.violation.is_some());
        if outcome.violation.is_some() && self.failed.is_none() {
            self.failed = Some(outcome);
        }
    }

    fn has_every_fault(&self) -> bool {
        Fault::ALL.iter().all(|fault| self.tally.of(*fault) > 0)
    }

    fn tell(&self, goal: Goal, took: Duration) -> bool {
        if let Some((outcome, (violation, lines))) =
            self.failed.as_ref().and_then(|outcome| Some((outcome, outcome.violation.as_ref()?)))
        {
            println!("{}", lines.join("\n"));
            println!("\nVIOLATION {violation}\nrepeat it with: tests/prove seed {}\n", outcome.seed);
        }
        println!("faults:");
        for fault in Fault::ALL {
            println!("{:>10}  {}", self.tally.of(*fault), fault.words());
        }
        let missing: Vec<_> = Fault::ALL.iter().filter(|fault| self.tally.of(**fault) == 0).collect();
        let is_idle = self.outages == 0 || self.delivered == 0;
        if is_idle && self.failed.is_none() {
            println!("FAILED: no outage was told or no event delivered, so nothing is proven of them");
        }
        if !missing.is_empty() && self.failed.is_none() {
            println!("FAILED: these never happened, so nothing is proven of them: {missing:?}");
        }
        let faults: u64 = Fault::ALL.iter().map(|fault| self.tally.of(*fault)).sum();
        let ended: Vec<_> = self.ended.iter().map(|(cause, times)| format!("{times} {cause}")).collect();
        let seconds = took.as_secs_f64();
        let figures = format!(
            "{} seeds from {}, {} rotations ({:.0} a minute), {} opt-ins, {} imports, {} outages, {} events delivered, {} faults, ended: {}; recovered: {}; {} told as withdrawn whose family our own second send ended; {} second opt-ins that a wrong store clock set behind the first; {} hours of virtual time; {} violations",
            self.seeds,
            goal.from,
            self.rotations,
            self.rotations as f64 * 60.0 / seconds,
            self.opt_ins,
            self.imports,
            self.outages,
            self.delivered,
            faults,
            ended.join(", "),
            self.recovered,
            self.told_as_withdrawn,
            self.superseded_by_clock,
            self.lasted.as_secs() / 3600,
            self.violations,
        );
        println!("{figures}; {seconds:.0} s");
        let is_fine = self.failed.is_none() && missing.is_empty() && !is_idle;
        note(&figures, seconds, is_fine);
        is_fine
    }
}

/// Appends a line to the table that `PROVE_TABLE` names.
fn note(figures: &str, seconds: f64, is_fine: bool) {
    let Some(table) = env::var_os("PROVE_TABLE") else { return };
    let verdict = if is_fine { "ok" } else { "FAILED" };
    let line = format!("every seed\t{figures}\t{seconds:.0}\t{verdict}\n");
    let written = OpenOptions::new().create(true).append(true).open(&table);
    if let Err(error) = written.and_then(|mut table| table.write_all(line.as_bytes())) {
        eprintln!("{}: {error}", table.display());
    }
}

/// The wall clock of the run, for reporting only.
#[expect(clippy::disallowed_methods, reason = "how long the run takes")]
fn now() -> Duration {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(std::time::Instant::now).elapsed()
}
