//! What a command prints: lines for people, or one JSON object per line.

use std::{
    fmt::Display,
    io::{self, BufWriter, Stdout, Write as _},
};

use serde::Serialize;

use crate::failure::Failure;

/// The standard output. Once its reader is gone (`| head`), nothing more is written, and that is no failure.
pub(crate) struct Output {
    pub(crate) is_json: bool,
    stdout: BufWriter<Stdout>,
    failure: Option<io::Error>,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, stdout: BufWriter::new(io::stdout()), failure: None }
    }

    /// Prints a line for people.
    pub(crate) fn line(&mut self, line: impl Display) {
        self.write(|stdout| writeln!(stdout, "{line}"));
    }

    /// Prints a JSON object.
    pub(crate) fn json(&mut self, value: &impl Serialize) {
        self.write(|stdout| {
            serde_json::to_writer(&mut *stdout, value)?;
            writeln!(stdout)
        });
    }

    /// Lets a reader see what was printed.
    pub(crate) fn flush(&mut self) {
        self.write(BufWriter::flush);
    }

    /// Whether nothing can be printed any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.failure.is_some()
    }

    /// Prints the rest.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        self.flush();
        match self.failure {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new("the output cannot be written").because(&error))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) {
        if self.failure.is_none() {
            self.failure = write(&mut self.stdout).err();
        }
    }
}

/// Rows in columns. A column grows with its values, so that rows can be printed page by page.
pub(crate) struct Table<const COLUMNS: usize> {
    widths: [usize; COLUMNS],
    header: Option<[&'static str; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(crate) fn new(header: [&'static str; COLUMNS]) -> Self {
        Self { widths: [0; COLUMNS], header: Some(header) }
    }

    /// Whether nothing was printed yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.header.is_some()
    }

    /// Prints more rows; the header before the first ones.
    pub(crate) fn print(&mut self, rows: &[[String; COLUMNS]], output: &mut Output) {
        let header = self.header.take_if(|_| !rows.is_empty()).map(|header| header.map(str::to_owned));
        let lines = || header.iter().chain(rows);
        for line in lines() {
            for (width, value) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(value.chars().count());
            }
        }
        for line in lines() {
            let cells = line.iter().zip(self.widths).map(|(value, width)| format!("{value:width$}"));
            output.line(cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}
