//! What became of each change: kept in a file, judged by the list of survivors, told as a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use crate::{areas::Area, prepare::Mutant};

/// The survivors that have a reason.
const LIST: &str = "tests/survivors";

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Noticed,
    TimedOut,
    Unviable,
    Survived,
}

/// What is kept of one change.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Line {
    name: String,
    /// Without the place in the file; changes of the same name are numbered.
    key: String,
    outcome: Outcome,
}

/// The results of one area.
#[derive(Debug)]
pub(crate) struct Results {
    path: PathBuf,
    keys: BTreeMap<u32, String>,
    before: BTreeMap<String, Outcome>,
    lines: Vec<Line>,
}

impl Results {
    /// `mutants`: all changes of the area.
    pub(crate) fn of<'a>(area: &Area, out: &Path, mutants: impl Iterator<Item = &'a Mutant>) -> Self {
        let path = out.join(format!("{}.json", area.name));
        let before: Vec<Line> =
            fs::read(&path).ok().map(|text| serde_json::from_slice(&text).expect("results")).unwrap_or_default();
        let before = before.into_iter().map(|line| (line.key, line.outcome)).collect();
        let mut counts = BTreeMap::<String, usize>::new();
        let mut key = |mutant: &Mutant| {
            let name = mutant.bare_name.clone();
            let count = counts.entry(name.clone()).or_default();
            *count += 1;
            format!("{name} #{count}")
        };
        let keys = mutants.map(|mutant| (mutant.id, key(mutant))).collect();
        Self { path, keys, before, lines: Vec::new() }
    }

    /// What became of the change the last time.
    pub(crate) fn before(&self, mutant: &Mutant) -> Option<Outcome> {
        self.before.get(&self.keys[&mutant.id]).copied()
    }

    pub(crate) fn add(&mut self, mutant: &Mutant, outcome: Outcome) {
        let key = self.keys[&mutant.id].clone();
        self.lines.push(Line { name: mutant.name.clone(), key, outcome });
    }

    /// Writes the results down, so that an interrupted run can be continued with `survivors`. `left` have survived so
    /// far.
    pub(crate) fn save(&self, left: &[&Mutant]) {
        let survived = left.iter().map(|mutant| {
            let (name, key) = (mutant.name.clone(), self.keys[&mutant.id].clone());
            Line { name, key, outcome: Outcome::Survived }
        });
        let lines: Vec<Line> = self.lines.iter().cloned().chain(survived).collect();
        fs::write(&self.path, serde_json::to_string_pretty(&lines).expect("JSON")).expect("the results");
    }

    /// The area's row. A line of the list that stands for no survivor counts as one.
    pub(crate) fn judge(self, area: &Area, survivors: &str) -> Row {
        let count = |outcome| self.lines.iter().filter(|line| line.outcome == outcome).count();
        let mut row = Row { noticed: count(Outcome::Noticed), timed_out: count(Outcome::TimedOut), ..Row::default() };
        row.unviable = count(Outcome::Unviable);
        let listed = listed(survivors);
        let mut explained = BTreeSet::new();
        for line in self.lines.iter().filter(|line| line.outcome == Outcome::Survived) {
            if let Some(known) = listed.get(bare(&line.key)) {
                row.explained += 1;
                explained.insert(*known);
            } else {
                row.survived += 1;
                println!("SURVIVED: {}", line.name);
            }
        }
        let (files, names) = (self.of_keys(file_of), self.of_keys(bare));
        let is_of_area = |line: &&str| files.contains(file_of(line)) && line.contains(" => ") == area.is_sql;
        for line in listed.difference(&explained).copied().filter(is_of_area) {
            row.survived += 1;
            let why = if names.contains(line) { "noticed" } else { "no such change" };
            println!("LISTED, BUT {}: {line}", why.to_uppercase());
        }
        row
    }

    fn of_keys<'a>(&'a self, part: impl Fn(&'a str) -> &'a str) -> BTreeSet<&'a str> {
        self.keys.values().map(|key| part(key)).collect()
    }
}

fn listed(survivors: &str) -> BTreeSet<&str> {
    // A change may be one of this sign, and a reason has none.
    survivors.lines().filter_map(|line| Some(line.rsplit_once(" | ")?.0)).collect()
}

fn bare(key: &str) -> &str {
    key.rsplit_once(" #").expect("a numbered name").0
}

fn file_of(name: &str) -> &str {
    name.split(": ").next().unwrap_or_default()
}

/// How many changes ended how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    noticed: usize,
    timed_out: usize,
    unviable: usize,
    explained: usize,
    survived: usize,
}

impl Row {
    fn all(&self) -> usize {
        self.noticed + self.timed_out + self.unviable + self.explained + self.survived
    }
}

#[derive(Debug)]
pub(crate) struct Report {
    survivors: String,
    rows: Vec<(&'static str, Row)>,
    began: Instant,
}

impl Report {
    pub(crate) fn new() -> Self {
        let survivors = fs::read_to_string(LIST).expect("the list of survivors");
        Self { survivors, rows: Vec::new(), began: Instant::now() }
    }

    /// Whether the list has a reason for the change.
    pub(crate) fn explains(&self, mutant: &Mutant) -> bool {
        listed(&self.survivors).contains(mutant.bare_name.as_str())
    }

    pub(crate) fn add(&mut self, area: &Area, results: Results) {
        self.rows.push((area.name, results.judge(area, &self.survivors)));
    }

    /// Prints the table; returns whether every survivor has its reason and no test is `failing` without a change.
    pub(crate) fn print(&self, failing: &BTreeSet<String>) -> bool {
        failing.iter().for_each(|test| println!("FAILS WITHOUT A CHANGE: {test}"));
        println!(
            "\n{:<14} {:>8} {:>8} {:>9} {:>8} {:>9} {:>8}",
            "area", "changes", "noticed", "timed out", "unviable", "explained", "SURVIVED"
        );
        let mut sum = Row::default();
        for (name, row) in &self.rows {
            let Row { noticed, timed_out, unviable, explained, survived } = row;
            println!(
                "{name:<14} {:>8} {noticed:>8} {timed_out:>9} {unviable:>8} {explained:>9} {survived:>8}",
                row.all()
            );
            sum.noticed += noticed;
            sum.timed_out += timed_out;
            sum.unviable += unviable;
            sum.explained += explained;
            sum.survived += survived;
        }
        let is_good = sum.survived == 0 && failing.is_empty();
        if let Some(table) = env::var_os("PROVE_TABLE") {
            let (noticed, judged) = (sum.noticed + sum.timed_out, if is_good { "ok" } else { "FAILED" });
            let Row { unviable, explained, survived, .. } = sum;
            let line = format!(
                "mutants\t{} changes: {noticed} noticed, {unviable} not compilable, {explained} explained, {survived} survived\t{}\t{judged}\n",
                sum.all(),
                self.began.elapsed().as_secs()
            );
            let mut table = OpenOptions::new().append(true).open(table).expect("the table");
            table.write_all(line.as_bytes()).expect("the table");
        }
        is_good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{areas::AREAS, prepare::Genre};

    fn judged(list: &str, outcomes: &[(u32, Outcome)]) -> Row {
        let mutants: Vec<Mutant> = (0..2).map(|id| Mutant::for_test(id, Genre::UnaryOperator, 0..1, "")).collect();
        let mut results = Results::of(&AREAS[0], Path::new("nowhere"), mutants.iter());
        outcomes.iter().for_each(|(id, outcome)| results.add(&mutants[*id as usize], *outcome));
        results.judge(&AREAS[0], list)
    }

    #[test]
    fn a_survivor_needs_its_line_and_a_line_its_survivor() {
        use Outcome::{Noticed, Survived};
        let (line, unknown) = ("a.rs: change | it is equivalent", "a.rs: another | it is gone");
        for (list, second, survived, explained) in [
            ("", Noticed, 0, 0),
            ("", Survived, 1, 0),
            (line, Survived, 0, 1),
            (line, Noticed, 1, 0),
            (unknown, Noticed, 1, 0),
            ("b.rs: change | of another area", Noticed, 0, 0),
            ("a.rs: a < b => a | SQL", Noticed, 0, 0),
        ] {
            let row = judged(list, &[(0, Noticed), (1, second)]);
            assert_eq!((row.survived, row.explained), (survived, explained), "{list:?} {second:?}");
        }
    }

    #[test]
    fn a_test_that_fails_without_a_change_fails_the_run() {
        let report = Report { survivors: String::new(), rows: Vec::new(), began: Instant::now() };
        assert!(report.print(&BTreeSet::new()));
        assert!(!report.print(&BTreeSet::from(["stored: a_test".to_owned()])));
    }
}
