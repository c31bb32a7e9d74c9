//! This program's line in the table that `tests/prove` prints.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
};

/// Appends a line to the file that the environment names, if any.
pub(crate) fn add(layer: &str, words: &str, seconds: f64, is_good: bool) -> io::Result<()> {
    let Some(path) = std::env::var_os("PROVE_TABLE") else { return Ok(()) };
    let verdict = if is_good { "ok" } else { "FAILED" };
    writeln!(OpenOptions::new().append(true).create(true).open(path)?, "{layer}\t{words}\t{seconds:.0}\t{verdict}")
}

/// A number with thousands separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}
