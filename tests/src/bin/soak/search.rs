//! The search for secrets in what the workers logged.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
};

use batchsuite_tests::shapes;

/// So much of a secret's end is enough: access tokens begin alike.
const PART: usize = 40;
const BEGINNING: usize = 8;

/// Every shape of every secret, by its first bytes.
pub(crate) struct Search(HashMap<[u8; BEGINNING], Vec<Vec<u8>>>);

impl Search {
    pub(crate) fn after<'a>(secrets: impl Iterator<Item = &'a String>) -> Self {
        let mut search: HashMap<_, Vec<Vec<u8>>> = HashMap::new();
        for secret in secrets {
            for shape in shapes(&secret[secret.len().saturating_sub(PART)..]) {
                if let Some(beginning) = shape.as_bytes().first_chunk() {
                    search.entry(*beginning).or_default().push(shape.into_bytes());
                }
            }
        }
        Self(search)
    }

    /// The bytes of the file, and the lines of it that show a secret.
    pub(crate) fn through(&self, file: &Path) -> (u64, Vec<String>) {
        let mut lines = BufReader::with_capacity(1 << 20, fs::File::open(file).expect("a log"));
        let (mut line, mut bytes, mut found) = (Vec::new(), 0, Vec::new());
        while lines.read_until(b'\n', &mut line).expect("a line") > 0 {
            bytes += line.len() as u64;
            if self.is_in(&line) {
                found.push(String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned());
            }
            line.clear();
        }
        (bytes, found)
    }

    pub(crate) fn is_in(&self, line: &[u8]) -> bool {
        (0..line.len().saturating_sub(BEGINNING - 1)).any(|at| {
            let rest = &line[at..];
            let shapes = rest.first_chunk().and_then(|beginning| self.0.get(beginning));
            shapes.is_some_and(|shapes| shapes.iter().any(|shape| rest.starts_with(shape)))
        })
    }
}
