//! A copy of the workspace in which changes are tried.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::source::Change;

/// Longer than the tests take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// Database errors for an invalid statement.
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

pub(crate) enum Outcome {
    /// A test failed.
    Noticed,
    /// The tests did not finish.
    TimedOut,
    /// The database rejected the statement.
    Refused,
    Survived,
}

pub(crate) struct Workshop {
    tree: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// A fresh copy of every file that is or may be under version control. Build artefacts are reused.
    pub(crate) fn new(name: &str) -> Self {
        let home = std::env::current_dir().expect("a folder").join("target/mutate-sql").join(name);
        let (tree, target) = (home.join("tree"), home.join("target"));
        let listed = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output();
        let listed = String::from_utf8(listed.expect("git").stdout).expect("names in UTF-8");
        for file in listed.lines().filter(|file| Path::new(file).is_file()) {
            // An unchanged file keeps its modification time, so that it is not recompiled.
            let (text, to) = (fs::read(file).expect("a file"), tree.join(file));
            if fs::read(&to).ok().as_ref() != Some(&text) {
                fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                fs::write(&to, text).expect("a copy");
                fs::set_permissions(&to, fs::metadata(file).expect("a file").permissions()).expect("permissions");
            }
        }
        Self { tree, target }
    }

    /// The tests must pass without a change; otherwise a failure means nothing.
    pub(crate) fn tests_pass(&self, tests: &[&[&str]]) {
        for arguments in tests {
            let (outcome, output) = self.test(arguments);
            assert!(matches!(outcome, Outcome::Survived), "without any change: {output}");
        }
    }

    /// Makes the change, runs the tests until one notices, and undoes the change.
    pub(crate) fn try_out(&self, change: &Change, tests: &[&[&str]]) -> Outcome {
        let file = self.tree.join(&change.file);
        let was = fs::read_to_string(&file).expect("a text file");
        let mut changed = was.clone();
        changed.replace_range(change.mutation.place.clone(), &change.mutation.instead);
        fs::write(&file, changed).expect("a changed file");
        let outcomes = tests.iter().map(|arguments| self.test(arguments).0);
        let outcome = outcomes.into_iter().find(|outcome| !matches!(outcome, Outcome::Survived));
        fs::write(&file, was).expect("the original file");
        outcome.unwrap_or(Outcome::Survived)
    }

    fn test(&self, arguments: &[&str]) -> (Outcome, String) {
        let output = self.tree.with_extension("output");
        let to = || Stdio::from(fs::OpenOptions::new().append(true).open(&output).expect("a file for the output"));
        fs::write(&output, "").expect("a file for the output");
        let mut tests = Command::new("cargo");
        tests
            .args(["test", "--quiet"])
            .args(arguments)
            .current_dir(&self.tree)
            .stdout(to())
            .stderr(to())
            .process_group(0);
        tests.env("CARGO_TARGET_DIR", &self.target).env("CARGO_INCREMENTAL", "1").env("CARGO_PROFILE_DEV_DEBUG", "0");
        let mut tests = tests.spawn().expect("cargo");
        let mut waited = Duration::ZERO;
        let ended = loop {
            if let Some(ended) = tests.try_wait().expect("a child") {
                break Some(ended);
            }
            if waited > PATIENCE {
                let group = Pid::from_child(&tests);
                kill_process_group(group, Signal::KILL).expect("a signal");
                tests.wait().expect("a child");
                break None;
            }
            std::thread::sleep(Duration::from_millis(50));
            waited += Duration::from_millis(50);
        };
        let output = String::from_utf8_lossy(&fs::read(&output).expect("the output")).into_owned();
        let outcome = match ended {
            None => Outcome::TimedOut,
            Some(ended) if ended.success() => Outcome::Survived,
            Some(_) if REFUSALS.iter().any(|words| output.contains(words)) => Outcome::Refused,
            Some(_) => Outcome::Noticed,
        };
        (outcome, output)
    }
}
