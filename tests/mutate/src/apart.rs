//! A change that cannot stand behind a switch: made in a copy of its own, compiled, tested and undone.

use std::{collections::BTreeSet, fs, os::unix::process::CommandExt, path::PathBuf, process::Command, time::Duration};

use crate::{
    areas::{AUTH, Area, STORE},
    prepare::{Mutant, Prepared, copy_workspace, settled},
    report::Outcome,
    tests::{Ended, ended},
};

/// The tests of an unchanged copy take less.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Copy {
    tree: PathBuf,
    target: PathBuf,
    /// The test programs that pass without a change.
    pass: BTreeSet<&'static str>,
}

impl Copy {
    pub(crate) fn new(prepared: &Prepared) -> Self {
        let tree = prepared.out.join("apart");
        copy_workspace(&tree);
        Self { tree, target: prepared.target.clone(), pass: BTreeSet::new() }
    }

    /// Makes the change, runs the area's tests until one fails, and undoes it.
    pub(crate) fn try_out(&mut self, area: &Area, mutant: &Mutant) -> Outcome {
        let path = self.tree.join(&mutant.file);
        let source = fs::read_to_string(&path).expect("a source");
        let mut changed = source.clone();
        changed.replace_range(mutant.place.clone(), &format!("{} ", mutant.replacement));
        fs::write(&path, &changed).expect("a source");
        let compiles = self.cargo("check", area.package, &["--lib"]).output().expect("cargo runs").status.success();
        let mut outcome = if compiles { Outcome::Survived } else { Outcome::Unviable };
        for name in area.tests {
            if outcome != Outcome::Survived {
                break;
            }
            if !self.pass.contains(name) {
                fs::write(&path, &source).expect("a source");
                assert_eq!(self.test(name), Ended::Passed, "{name} without a change");
                self.pass.insert(name);
                fs::write(&path, &changed).expect("a source");
            }
            outcome = match self.test(name) {
                Ended::Passed => Outcome::Survived,
                Ended::Failed => Outcome::Noticed,
                Ended::TimedOut => Outcome::TimedOut,
            };
        }
        fs::write(&path, source).expect("a source");
        println!("apart, {outcome:?}: {}", mutant.name);
        outcome
    }

    fn test(&self, name: &str) -> Ended {
        let (package, target) = match name {
            AUTH => ("batchsuite-auth", vec!["--lib"]),
            STORE => ("batchsuite-store", vec!["--lib"]),
            "reqwest_client" => ("batchsuite-auth", vec!["--test", name]),
            "contract" | "pool" | "cli" => ("batchsuite-store", vec!["--test", name]),
            _ => ("batchsuite-tests", vec!["--test", name]),
        };
        let build = self.cargo("test", package, &[&target[..], &["--no-run"]].concat()).output().expect("cargo runs");
        assert!(build.status.success(), "{name} does not compile: {}", String::from_utf8_lossy(&build.stderr));
        let mut command = self.cargo("test", package, &target);
        command.process_group(0);
        ended(command, LONGEST)
    }

    fn cargo(&self, command: &str, package: &str, rest: &[&str]) -> Command {
        let mut cargo = settled(Command::new("cargo"), &self.target);
        cargo.current_dir(&self.tree).args([command, "--all-features", "--package", package]).args(rest);
        cargo
    }
}
