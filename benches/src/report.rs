//! Turns figures into the table. Each measuring program prints its figures in lines that a script can read:
//! `RATIO <row> <ours> <reference> <ours / reference>`. The bench collects them.

use std::fmt::Write as _;

use crate::rows::{ROWS, Row, Unit};

/// A row's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Our figure.
    pub ours: f64,
    /// The figure to compare with.
    pub reference: f64,
}

impl Ratio {
    /// `ours / reference`: below 1, ours is better.
    pub fn value(self) -> f64 {
        self.ours / self.reference
    }
}

/// Prints a row's line.
///
/// # Panics
/// If there is no such row.
#[expect(clippy::print_stdout, reason = "this is the bench's product")]
pub fn ratio(row: &str, ours: f64, reference: f64) {
    assert!(crate::rows::row(row).is_some(), "no row is called {row}");
    println!("{}", line(row, Ratio { ours, reference }));
}

fn line(row: &str, ratio: Ratio) -> String {
    format!("RATIO {row} {:.3} {:.3} {:.3}", ratio.ours, ratio.reference, ratio.value())
}

/// Prints details beside the ratios, such as versions and calls.
#[expect(clippy::print_stdout, reason = "this is the bench's product")]
pub fn note(text: impl std::fmt::Display) {
    println!("# {text}");
}

/// Parses a line of [`ratio`].
pub fn parse(line: &str) -> Option<(&'static Row, Ratio)> {
    let mut words = line.strip_prefix("RATIO ")?.split(' ');
    let row = crate::rows::row(words.next()?)?;
    let (ours, reference) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((row, Ratio { ours, reference }))
}

/// The table, in Markdown.
pub fn table(figures: &[(&'static Row, Ratio)]) -> String {
    let mut table = String::from("| row | ours | beside | ratio | bound | |\n|---|---|---|---|---|---|\n");
    for row in ROWS {
        for (_, ratio) in figures.iter().filter(|(of, _)| of.name == row.name) {
            let bound = row.bound.map_or_else(|| "shown".to_owned(), |bound| format!("≤ {bound}"));
            let verdict = if is_within(row, *ratio) { "" } else { "**over**" };
            let _ = writeln!(
                table,
                "| `{}` | {}: {} | {}: {} | {:.2} | {bound} | {verdict} |",
                row.name,
                row.ours,
                shown(row.unit, ratio.ours),
                row.reference,
                shown(row.unit, ratio.reference),
                ratio.value(),
            );
        }
    }
    table
}

/// Whether a ratio keeps its row's bound.
pub fn is_within(row: &Row, ratio: Ratio) -> bool {
    row.bound.is_none_or(|bound| ratio.value() <= bound)
}

/// A figure in a readable unit.
pub fn shown(unit: Unit, figure: f64) -> String {
    match unit {
        Unit::Nanoseconds if figure < 1e4 => format!("{figure:.1} ns"),
        Unit::Nanoseconds if figure < 1e7 => format!("{:.1} µs", figure / 1e3),
        Unit::Nanoseconds => format!("{:.1} ms", figure / 1e6),
        Unit::Count => format!("{figure:.2}"),
        Unit::Bytes if figure < 1e5 => format!("{figure:.0} B"),
        Unit::Bytes => format!("{:.1} MiB", figure / (1024.0 * 1024.0)),
        Unit::CpuSeconds => format!("{figure:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_measured() {
        let ratio = Ratio { ours: 30.0, reference: 40.0 };

        let line = line("token/floor/1k", ratio);

        assert_eq!(line, "RATIO token/floor/1k 30.000 40.000 0.750");
        let (row, read) = parse(&line).unwrap();
        assert_eq!((row.name, read), ("token/floor/1k", ratio));
    }

    #[test]
    fn what_is_over_its_bound_is_said() {
        let row = crate::rows::row("token/floor/1k").unwrap();
        let reference = 40.0 / row.bound.unwrap();
        let [within, over] = [39.0, 41.0].map(|ours| table(&[(row, Ratio { ours, reference })]));

        assert!(!within.contains("over") && over.contains("| **over** |"), "{within}\n{over}");
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();

        assert_eq!(names.len(), ROWS.len());
    }
}
