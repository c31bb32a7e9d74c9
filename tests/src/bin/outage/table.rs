//! The figures of a run, and whether they are as demanded.

use std::fmt;

/// The lines of a table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<(String, String)>,
    missed: usize,
}

impl Table {
    pub(crate) fn figure(&mut self, what: impl Into<String>, figure: impl fmt::Display) {
        self.lines.push((what.into(), figure.to_string()));
    }

    /// A figure that must not be above `most`.
    pub(crate) fn at_most<T: PartialOrd + fmt::Display>(&mut self, what: impl Into<String>, figure: T, most: T) {
        let is_missed = figure > most;
        self.missed += usize::from(is_missed);
        let verdict = if is_missed { "MISSED: at most" } else { "at most" };
        self.lines.push((what.into(), format!("{figure} ({verdict} {most})")));
    }

    /// A figure that must be this one.
    pub(crate) fn exactly(&mut self, what: impl Into<String>, figure: u64, demanded: u64) {
        let is_missed = figure != demanded;
        self.missed += usize::from(is_missed);
        let verdict = if is_missed { format!("{figure} (MISSED: exactly {demanded})") } else { figure.to_string() };
        self.lines.push((what.into(), verdict));
    }

    pub(crate) fn is_fine(&self) -> bool {
        self.missed == 0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.lines.iter().map(|(what, _)| what.chars().count()).max().unwrap_or_default();
        for (what, figure) in &self.lines {
            writeln!(f, "  {what:<widest$}  {figure}")?;
        }
        Ok(())
    }
}

/// Seconds, to a tenth.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Seconds(pub(crate) f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_figure_than_the_demanded_one_is_missed() {
        let mut table = Table::default();
        table.exactly("events", 1, 1);
        assert!(table.is_fine());

        table.exactly("events", 0, 1);

        assert!(!table.is_fine());
    }

    #[test]
    fn a_figure_above_its_limit_is_a_missed_demand() {
        let mut table = Table::default();
        table.figure("companies", 3);
        table.at_most("lost", 0, 0);
        assert!(table.is_fine());

        table.at_most("served within", Seconds(30.04), Seconds(30.0));

        assert!(!table.is_fine());
        assert!(table.to_string().contains("served within  30.0 s (MISSED: at most 30.0 s)"), "{table}");
    }
}
