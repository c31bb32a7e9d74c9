//! The test programs: which tests they have, what each reaches, and how long it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::prepare::Prepared;

/// A test that has not ended by then hangs.
const LONGEST: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Tests {
    programs: BTreeMap<String, Program>,
    records: PathBuf,
    workers: usize,
    /// Tests that fail without a change. Their results would mean nothing, so they are left out, and the run fails.
    failing: BTreeSet<String>,
}

/// A test program, and the directory where cargo would run it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    directory: PathBuf,
}

/// What is known of one test.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) took: Duration,
    pub(crate) reaches: BTreeSet<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Passed,
    Failed,
    TimedOut,
}

/// A database's words for a statement that makes no sense.
const REFUSALS: [&str; 9] = [
    "SqlState(E42",
    "syntax error",
    "no such column",
    "ambiguous column",
    "no query solution",
    "InvalidParameterCount",
    "misuse of aggregate",
    "E42",
    "wrong number of arguments",
];

impl Tests {
    /// Compiles the test programs.
    pub(crate) fn build(prepared: &Prepared) -> Self {
        let mut cargo = prepared.cargo("test");
        cargo.args(["--package", "batchsuite-tests", "--lib", "--bins", "--tests", "--no-run"]);
        let output = cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit()).output();
        let output = output.expect("cargo runs");
        assert!(output.status.success(), "the tests do not compile with the switches");
        let mut programs = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(Artifact { executable: Some(path), target, manifest_path, profile }) = serde_json::from_str(line)
            else {
                continue;
            };
            if profile.test {
                let directory = manifest_path.parent().expect("a directory").to_owned();
                programs.insert(target.name, Program { path, directory });
            }
        }
        let records = prepared.target.join("../records");
        fs::create_dir_all(&records).expect("a directory");
        // Many tests wait most of their time.
        let workers = 2 * thread::available_parallelism().map_or(1, usize::from);
        Self { programs, records, workers, failing: BTreeSet::new() }
    }

    pub(crate) fn program(&self, name: &str) -> Program {
        self.programs.get(name).unwrap_or_else(|| panic!("no test program is called {name}")).clone()
    }

    pub(crate) fn failing(&self) -> &BTreeSet<String> {
        &self.failing
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Runs each test of a program alone, unless that was done, and returns what each reaches.
    pub(crate) fn known(&mut self, name: &str) -> Vec<Known> {
        let program = self.program(name);
        let stamp = program.path.file_name().expect("a name").to_string_lossy().into_owned();
        let length = fs::metadata(&program.path).expect("the program").len();
        let modified = fs::metadata(&program.path).and_then(|data| data.modified()).expect("a time");
        let modified = modified.duration_since(std::time::UNIX_EPOCH).expect("a time after 1970").as_nanos();
        let record = self.records.join(format!("{stamp}-{length}-{modified}.json"));
        if let Ok(text) = fs::read_to_string(&record) {
            return serde_json::from_str(&text).expect("a record");
        }
        let names = program.names();
        println!("{name}: {} tests run alone, to learn what they reach", names.len());
        let (known, next) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        thread::scope(|scope| {
            for worker in 0..self.workers {
                let (program, names, known, next) = (&program, &names, &known, &next);
                let reached = self.records.join(format!("{stamp}-reached-{worker}"));
                scope.spawn(move || {
                    while let Some(test) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let found = program.learn(test, &reached);
                        known.lock().expect("no worker panics").push(found);
                    }
                });
            }
        });
        let known = known.into_inner().expect("no worker panics");
        let (mut passed, failed): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, ended)| *ended == Ended::Passed);
        // Another test may have been in the way.
        let reached = self.records.join(format!("{stamp}-reached-again"));
        let again: Vec<_> = failed.iter().map(|(test, _)| program.learn(&test.name, &reached)).collect();
        let (recovered, failed): (Vec<_>, Vec<_>) = again.into_iter().partition(|(_, ended)| *ended == Ended::Passed);
        passed.extend(recovered);
        let known: Vec<Known> = passed.into_iter().map(|(known, _)| known).collect();
        if failed.is_empty() {
            fs::write(&record, serde_json::to_string(&known).expect("JSON")).expect("a record");
        }
        for (test, _) in failed {
            println!("{name}: {} fails without a change, so it judges none", test.name);
            self.failing.insert(format!("{name}: {}", test.name));
        }
        known
    }
}

impl Program {
    fn names(&self) -> Vec<String> {
        let output = self.command().args(["--list", "--format", "terse"]).output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("names in UTF-8");
        text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.directory).env("CARGO_MANIFEST_DIR", &self.directory);
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    fn learn(&self, test: &str, reached: &Path) -> (Known, Ended) {
        _ = fs::remove_file(reached);
        let began = Instant::now();
        let mut command = self.command();
        command.args(["--exact", test]).env("MUTANTS_REACHED", reached);
        let ended = ended(command, LONGEST);
        let took = began.elapsed();
        let text = fs::read_to_string(reached).unwrap_or_default();
        let reaches = text.lines().filter_map(|id| id.parse().ok()).collect();
        (Known { name: test.to_owned(), took, reaches }, ended)
    }

    /// Runs these tests with one change turned on.
    pub(crate) fn run(&self, tests: &[&Known], change: u32, limit: Duration) -> Ended {
        ended(self.changed(tests, change), limit)
    }

    fn changed(&self, tests: &[&Known], change: u32) -> Command {
        let mut command = self.command();
        command.arg("--exact").args(tests.iter().map(|test| &test.name)).env("MUTANT", change.to_string());
        command
    }

    /// Whether the database rejects a changed statement, so that the change proves nothing. `tests` failed with it.
    pub(crate) fn is_refused(&self, tests: &[&Known], change: u32) -> bool {
        let output = self.changed(tests, change).output().expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        REFUSALS.iter().any(|words| text.contains(words))
    }
}

pub(crate) fn ended(mut command: Command, limit: Duration) -> Ended {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs");
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            kill_group(&child);
            return if status.success() { Ended::Passed } else { Ended::Failed };
        }
        if began.elapsed() > limit {
            kill_group(&child);
            child.wait().expect("a child");
            return Ended::TimedOut;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Ends what the tests started as well.
fn kill_group(child: &Child) {
    _ = Command::new("kill").args(["-9", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
}

#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
    target: Target,
    manifest_path: PathBuf,
    profile: Profile,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}
