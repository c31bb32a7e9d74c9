//! The trace of a world, one line per event: complete for a seed that is shown, otherwise the last lines and a running
//! hash.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
};

/// How many lines are kept for a violation.
const KEPT: usize = 60;

/// The lines of a world.
pub(crate) struct Trace {
    last: VecDeque<String>,
    lines: u64,
    hash: u64,
    is_shown: bool,
}

impl Trace {
    pub(crate) fn new(is_shown: bool) -> Self {
        // FNV-1a: it does not change between releases of the standard library.
        Self { last: VecDeque::with_capacity(KEPT), lines: 0, hash: 0xcbf2_9ce4_8422_2325, is_shown }
    }

    /// Records a line: the time in microseconds of the world, the actor, and the event.
    #[expect(clippy::print_stdout, reason = "a trace that is shown")]
    pub(crate) fn note(&mut self, at: u64, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        let mut line = if self.last.len() == KEPT { self.last.pop_front().unwrap_or_default() } else { String::new() };
        line.clear();
        let _ = write!(line, "{:>6}.{:06} {who:<5} {what}", at / 1_000_000, at % 1_000_000);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.is_shown {
            println!("{line}");
        }
        self.last.push_back(line);
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// A hash of every line so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }
}
