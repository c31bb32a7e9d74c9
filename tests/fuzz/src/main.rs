//! Runs the targets on mutated inputs, without coverage feedback and without nightly. Runs are repeatable.
//!
//! ```text
//! batchsuite-fuzz                               every target, two at a time, a minute each
//! batchsuite-fuzz TARGET… [--seconds N] [--seed S] [--from I] [--runs R]
//! ```
//! The n-th input of a seed is always the same for the same corpus: `TARGET --seed S --from I --runs 1` repeats one
//! input. Failing inputs are written to `findings/`. One line is appended to the file that `PROVE_TABLE` names.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    panic,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use batchsuite_fuzz::{Corpus, Mutator, TARGETS, Target};
use tokio::time::Instant;

/// The number of concurrent targets.
const AT_ONCE: usize = 2;
/// An input that takes longer than this is a finding.
const LONGEST: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    match Options::read(env::args().skip(1)) {
        Ok(options) => try_all(&options),
        Err(mistake) => {
            say(&format!(
                "{mistake}\nusage: batchsuite-fuzz [TARGET…] [--seconds N] [--seed S] [--from I] [--runs R]\ntargets:{}",
                names()
            ));
            ExitCode::from(2)
        }
    }
}

/// The command line.
struct Options {
    targets: Vec<Target>,
    seconds: u64,
    seed: u64,
    from: u64,
    runs: u64,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { targets: Vec::new(), seconds: 60, seed: 1, from: 0, runs: u64::MAX };
        while let Some(word) = words.next() {
            let place = match word.as_str() {
                "--seconds" => &mut options.seconds,
                "--seed" => &mut options.seed,
                "--from" => &mut options.from,
                "--runs" => &mut options.runs,
                name => {
                    let target = TARGETS.into_iter().find(|target| target.name == name);
                    options.targets.push(target.ok_or_else(|| format!("there is no target {name}"))?);
                    continue;
                }
            };
            *place =
                words.next().and_then(|number| number.parse().ok()).ok_or_else(|| format!("{word} takes a number"))?;
        }
        if options.targets.is_empty() {
            options.targets = TARGETS.to_vec();
        }
        Ok(options)
    }
}

fn names() -> String {
    TARGETS.iter().fold(String::new(), |names, target| names + " " + target.name)
}

/// The result of one target.
struct Outcome {
    target: &'static str,
    runs: u64,
    seconds: f64,
    findings: u64,
}

/// A worker's current input, for [`watch`].
#[derive(Default)]
struct Progress {
    /// The number of the input.
    number: AtomicU64,
    /// The start of the input in milliseconds of the run, plus one. 0: no input is running.
    begun: AtomicU64,
}

fn try_all(options: &Options) -> ExitCode {
    let started = Instant::now();
    // `keep` reports the panics of findings. libFuzzer's hook would print each of them.
    panic::set_hook(Box::new(|_| {}));
    let queue = Mutex::new(options.targets.iter());
    let outcomes = Mutex::new(Vec::new());
    let progress: [Progress; AT_ONCE] = Default::default();
    thread::scope(|scope| {
        let workers = progress.each_ref().map(|progress| {
            let (queue, outcomes) = (&queue, &outcomes);
            scope.spawn(move || {
                while let Some(target) = { queue.lock().unwrap_or_else(PoisonError::into_inner).next() } {
                    let outcome = try_one(target, options, progress, started);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            })
        });
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            watch(&progress, started, options.seed);
        }
    });
    told(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner), options.seed, started.elapsed().as_secs_f64())
}

fn try_one(target: &Target, options: &Options, progress: &Progress, started: Instant) -> Outcome {
    let begun = Instant::now();
    let corpus = match Corpus::of(target) {
        Ok(corpus) => corpus,
        Err(error) => {
            say(&format!("{}: {error}", target.name));
            return Outcome { target: target.name, runs: 0, seconds: 0.0, findings: 1 };
        }
    };
    let mutator = Mutator::new(target, &corpus, options.seed);
    let (mut runs, mut findings) = (0, 0);
    while begun.elapsed() < Duration::from_secs(options.seconds) && runs < options.runs {
        let number = options.from + runs;
        let input = mutator.input(number);
        progress.number.store(number, Ordering::Relaxed);
        progress.begun.store(milliseconds(started) + 1, Ordering::Relaxed);
        let result = panic::catch_unwind(|| (target.run)(&input));
        progress.begun.store(0, Ordering::Relaxed);
        runs += 1;
        if let Err(panic) = result {
            findings += 1;
            keep(target, options.seed, number, &input, &*panic);
            // Further findings would probably repeat the same fault.
            if findings == 3 {
                break;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!(
        "{:36} {runs:>10} executions {seconds:>6.1} s {:>9.0}/s  {findings} findings",
        target.name,
        runs as f64 / seconds
    ));
    Outcome { target: target.name, runs, seconds, findings }
}

fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Ends the program if an input takes too long: a thread cannot be stopped.
#[expect(clippy::exit, reason = "the worker hangs")]
fn watch(progress: &[Progress], started: Instant, seed: u64) {
    for progress in progress {
        let begun = progress.begun.load(Ordering::Relaxed);
        if begun > 0 && milliseconds(started).saturating_sub(begun) > LONGEST.as_millis() as u64 {
            let number = progress.number.load(Ordering::Relaxed);
            say(&format!("input {number} of seed {seed} takes longer than {} s", LONGEST.as_secs()));
            tell("an input hangs", milliseconds(started) as f64 / 1000.0, false);
            std::process::exit(1);
        }
    }
}

/// Writes an input to `findings/`, and prints the command that repeats it.
fn keep(target: &Target, seed: u64, number: u64, input: &[u8], panic: &(dyn std::any::Any + Send)) {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let name = target.name;
    let mut told = format!("FAILED {name} --seed {seed} --from {number} --runs 1\n  {}", words.unwrap_or("a panic"));
    let findings = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("findings");
    let file = findings.join(format!("{name}-{seed}-{number}"));
    match fs::create_dir_all(&findings).and_then(|()| fs::write(&file, input)) {
        Ok(()) => drop(write!(told, "\n  {}", file.display())),
        Err(error) => drop(write!(told, "\n  cannot be written: {error}")),
    }
    say(&told);
}

fn told(outcomes: Vec<Outcome>, seed: u64, seconds: f64) -> ExitCode {
    let runs: u64 = outcomes.iter().map(|outcome| outcome.runs).sum();
    let findings: u64 = outcomes.iter().map(|outcome| outcome.findings).sum();
    let least = outcomes.iter().min_by_key(|outcome| outcome.runs);
    let least =
        least.map(|outcome| format!(", {} {} in {:.0} s at the least", outcome.target, outcome.runs, outcome.seconds));
    let what = format!(
        "{} targets, {runs} executions{}, seed {seed}, {findings} findings",
        outcomes.len(),
        least.unwrap_or_default()
    );
    say(&format!("{what}, {seconds:.1} s"));
    tell(&what, seconds, findings == 0);
    if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One line for the table of `tests/prove`.
fn tell(what: &str, seconds: f64, is_well: bool) {
    let Some(table) = env::var_os("PROVE_TABLE") else { return };
    let line = format!("fuzzing\t{what}\t{seconds:.0}\t{}\n", if is_well { "ok" } else { "FAILED" });
    let written = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(table)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written {
        say(&format!("the table cannot be written: {error}"));
    }
}

#[expect(clippy::print_stdout, reason = "this is a program")]
fn say(text: &str) {
    println!("{text}");
}
