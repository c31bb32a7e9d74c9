//! The list of changes that no test can notice, each with its reason.

use std::{fs, path::Path};

/// One `CHANGE | REASON` per line. Lines that begin with `#` are headings.
pub(crate) struct Survivors(Vec<(String, String)>);

impl Survivors {
    pub(crate) fn read(list: &Path) -> Self {
        let text = fs::read_to_string(list).expect("the list of survivors");
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let parts = lines.map(|line| line.split_once(" | ").expect("CHANGE | REASON"));
        Self(parts.map(|(change, reason)| (change.trim().to_owned(), reason.trim().to_owned())).collect())
    }

    pub(crate) fn reason(&self, change: &str) -> Option<&str> {
        self.0.iter().find(|(listed, _)| listed == change).map(|(_, reason)| reason.as_str())
    }

    /// The listed changes to these files that are not among `changes`.
    pub(crate) fn not_of(&self, changes: impl Iterator<Item = String>, files: &[&str]) -> Vec<String> {
        let changes: Vec<String> = changes.collect();
        let listed = self.0.iter().map(|(change, _)| change);
        let of_files =
            listed.filter(|change| files.iter().any(|file| change.starts_with(file)) && change.contains(" => "));
        of_files.filter(|change| !changes.contains(change)).cloned().collect()
    }
}
