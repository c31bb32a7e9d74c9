//! The table as a picture: one bar per row, as long as `ours / reference`.

use std::fmt::Write as _;

use crate::{
    report::{Ratio, is_within, shown},
    rows::{ROWS, Row},
};

const ROW: f64 = 26.0;
const LEFT: f64 = 250.0;
/// The length of a bar for the ratio 1.
const ONE: f64 = 260.0;
/// The ratio at which longer bars are cut off. The figure next to the bar gives the ratio.
const LONGEST: f64 = 2.0;
const WIDTH: f64 = LEFT + ONE * LONGEST + 270.0;

/// Light or dark, like the reader's page.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 } \
.beside { fill: #59636e } .bar { fill: #2f81c7 } .over { fill: #c0392b } .shown { fill: #8c959f } \
.one { stroke: #1f2328; stroke-dasharray: 3 3 } .bound { stroke: #b35900; stroke-width: 2 } \
@media (prefers-color-scheme: dark) { \
text { fill: #e6edf3 } .beside { fill: #9198a1 } .one { stroke: #e6edf3 } .bound { stroke: #e8a33d } }";

/// The measured rows as an SVG document.
pub fn svg(figures: &[(&'static Row, Ratio)]) -> String {
    let measured: Vec<_> = ROWS.iter().flat_map(|row| figures.iter().filter(|(of, _)| of.name == row.name)).collect();
    let height = ROW * (measured.len() as f64 + 2.0);
    let one = LEFT + ONE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"ratios of ours to the reference; shorter is better\">\n<style>{STYLE}</style>\n\
         <text x=\"{LEFT}\" y=\"17\">ours / reference: shorter is better; orange: the bound</text>\n"
    );
    for (at, (row, ratio)) in measured.iter().enumerate() {
        let top = ROW * (at as f64 + 1.0);
        let length = ONE * ratio.value().clamp(0.004, LONGEST);
        let kind = match (row.bound, is_within(row, *ratio)) {
            (None, _) => "shown",
            (Some(_), true) => "bar",
            (Some(_), false) => "over",
        };
        let baseline = top + 17.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{kind}\" x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"16\"/>\
             <text x=\"{:.1}\" y=\"{baseline}\">{:.2} <tspan class=\"beside\">{} : {}</tspan></text>",
            LEFT - 8.0,
            row.name,
            top + 4.0,
            (LEFT + length).max(row.bound.map_or(0.0, |bound| LEFT + ONE * bound.min(LONGEST))) + 8.0,
            ratio.value(),
            shown(row.unit, ratio.ours),
            shown(row.unit, ratio.reference),
        );
        if let Some(bound) = row.bound.filter(|bound| *bound > 0.0) {
            let x = LEFT + ONE * bound.min(LONGEST);
            let _ = writeln!(svg, "<path class=\"bound\" d=\"M{x:.1} {}v20\"/>", top + 2.0);
        }
    }
    let _ = writeln!(svg, "<path class=\"one\" d=\"M{one} {ROW}V{}\"/>\n</svg>", height - ROW);
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_ratio() {
        let row = crate::rows::row("token/floor/1k").expect("the row exists");
        let drawn = |ours| svg(&[(row, Ratio { ours, reference: 40.0 })]);

        assert!(drawn(20.0).contains("class=\"bar\" x=\"250\" y=\"30\" width=\"130.0\""), "{}", drawn(20.0));
        assert!(
            drawn(400.0).contains("class=\"over\" x=\"250\" y=\"30\" width=\"520.0\""),
            "cut off and over its bound"
        );
    }
}
