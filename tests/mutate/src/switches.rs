//! Rewrites a file so that each change of it stands behind a switch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
};

use syn::{
    Arm, BinOp, Expr, ExprBinary, ExprStruct, ExprUnary, FieldValue,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::prepare::{Genre, Mutant};

/// The module of the switches, as code names it.
pub(crate) const SWITCH: &str = "crate::mutant::on";

/// The source of that module.
pub(crate) const MODULE: &str = r##"
#[doc(hidden)]
#[allow(warnings, clippy::all)]
pub mod mutant {
    use std::{env, fs::OpenOptions, io::Write, sync::{OnceLock, atomic::{AtomicBool, Ordering}}};

    static ACTIVE: OnceLock<u32> = OnceLock::new();
    static RECORD: OnceLock<Option<String>> = OnceLock::new();
    static REACHED: [AtomicBool; 16384] = [const { AtomicBool::new(false) }; 16384];

    /// Whether this change is turned on; records that it was reached.
    pub fn on(id: u32) -> bool {
        reached(id);
        is_active(id)
    }

    pub fn is_active(id: u32) -> bool {
        *ACTIVE.get_or_init(|| env::var("MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(u32::MAX)) == id
    }

    pub fn reached(id: u32) {
        if !REACHED[id as usize].swap(true, Ordering::Relaxed) {
            if let Some(path) = RECORD.get_or_init(|| env::var("MUTANTS_REACHED").ok()) {
                let mut record = OpenOptions::new().append(true).create(true).open(path).unwrap();
                record.write_all(format!("{id}\n").as_bytes()).unwrap();
            }
        }
    }
}
"##;

/// A file with its changes.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) text: String,
    /// Changes that no switch can express.
    pub(crate) apart: Vec<u32>,
}

/// Puts `mutants` of this file behind switches.
pub(crate) fn rewrite(source: &str, mutants: &[&Mutant]) -> Switched {
    let places = Places::of(source);
    let (mut edits, mut apart) = (BTreeMap::<(usize, usize, u8), Edit<'_>>::new(), Vec::new());
    for mutant in mutants {
        let span = mutant.place.clone();
        // A value of another type cannot be returned as the same opaque type.
        if mutant.genre == Genre::FnValue && mutant.name.contains("-> impl ") {
            apart.push(mutant.id);
            continue;
        }
        match places.place(mutant.genre, &span) {
            Some((range, place)) => {
                let key = (range.start, usize::MAX - range.end, place.rank());
                edits.entry(key).or_insert_with(|| Edit { range, place, changes: Vec::new() }).changes.push(mutant);
            }
            None => apart.push(mutant.id),
        }
    }
    let file = File { source, edits: edits.into_values().collect() };
    Switched { text: file.text(0..source.len(), 0), apart }
}

/// The changes whose text contains the byte `at` of a rewritten file, the innermost first.
pub(crate) fn around(text: &str, at: usize) -> Vec<u32> {
    let (mut open, mut rest) = (Vec::new(), 0);
    while let Some(found) = text[rest..at].find("/*m") {
        let start = rest + found + 3;
        let end = start + text[start..].find("*/").expect("a mark ends");
        match text[start..end].strip_prefix('e') {
            Some(_) => drop(open.pop()),
            None => open.push(text[start..end].parse().expect("a number")),
        }
        rest = end;
        if rest >= at {
            break;
        }
    }
    open.reverse();
    open
}

/// The changes anywhere in the function around the byte `at` of a rewritten file.
pub(crate) fn in_function(text: &str, at: usize) -> Vec<u32> {
    let file = syn::parse_file(text).expect("the rewritten file parses");
    let mut functions = Functions { at, smallest: None };
    functions.visit_file(&file);
    marks(&text[functions.smallest.unwrap_or(0..text.len())])
}

/// The changes anywhere in the `match` around the byte `at` of a rewritten file.
pub(crate) fn in_match(text: &str, at: usize) -> Vec<u32> {
    let file = syn::parse_file(text).expect("the rewritten file parses");
    let mut matches = Matches(Functions { at, smallest: None });
    matches.visit_file(&file);
    marks(&text[matches.0.smallest.unwrap_or(0..0)])
}

fn marks(text: &str) -> Vec<u32> {
    let marks = text.split("/*m").skip(1).filter_map(|rest| rest.split_once("*/")?.0.parse().ok());
    marks.collect::<BTreeSet<u32>>().into_iter().collect()
}

struct Matches(Functions);

impl<'ast> Visit<'ast> for Matches {
    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        self.0.look(item.span().byte_range());
        visit::visit_expr_match(self, item);
    }
}

struct Functions {
    at: usize,
    smallest: Option<Range<usize>>,
}

impl Functions {
    fn look(&mut self, range: Range<usize>) {
        let is_smaller = self.smallest.as_ref().is_none_or(|known| range.len() < known.len());
        if range.contains(&self.at) && is_smaller {
            self.smallest = Some(range);
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.look(item.span().byte_range());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.look(item.span().byte_range());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.look(item.span().byte_range());
        visit::visit_trait_item_fn(self, item);
    }
}

/// A part of a file that changes.
#[derive(Debug)]
struct Edit<'a> {
    range: Range<usize>,
    place: Place,
    changes: Vec<&'a Mutant>,
}

#[derive(Clone, Debug)]
enum Place {
    /// A function's statements.
    Body,
    Arm {
        pattern: Range<usize>,
        guard: Option<Range<usize>>,
    },
    Guard,
    Field {
        name: String,
        value: Option<Range<usize>>,
        base: Range<usize>,
    },
    Binary {
        left: Range<usize>,
        operator: Range<usize>,
        right: Range<usize>,
    },
    Unary {
        operand: Range<usize>,
    },
    /// A literal, or a macro that contains one.
    Sql,
}

impl Place {
    /// Of edits of the same range, the lower one is outside.
    fn rank(&self) -> u8 {
        match self {
            Self::Body => 0,
            Self::Arm { .. } => 1,
            Self::Guard => 2,
            Self::Field { .. } => 3,
            Self::Binary { .. } | Self::Unary { .. } | Self::Sql => 4,
        }
    }
}

struct File<'a> {
    source: &'a str,
    edits: Vec<Edit<'a>>,
}

impl File<'_> {
    /// The text of `range`, with the edits in it from number `first` on.
    fn text(&self, range: Range<usize>, first: usize) -> String {
        let (mut text, mut at) = (String::new(), range.start);
        for (index, edit) in self.edits.iter().enumerate().skip(first) {
            if edit.range.start >= range.end {
                break;
            }
            if edit.range.start < at || edit.range.end > range.end {
                continue;
            }
            text.push_str(&self.source[at..edit.range.start]);
            text.push_str(&self.edit(index));
            at = edit.range.end;
        }
        text.push_str(&self.source[at..range.end]);
        text
    }

    fn edit(&self, index: usize) -> String {
        let Edit { range, place, changes } = &self.edits[index];
        let inner = |part: &Range<usize>| self.text(part.clone(), index + 1);
        let mut text = String::new();
        match place {
            Place::Body => {
                for Mutant { id, replacement, .. } in changes {
                    _ = write!(text, "/*m{id}*/ if {SWITCH}({id}) {{ return {replacement}; }} /*me*/");
                }
                text.push_str(&inner(range));
            }
            Place::Arm { pattern, guard } => {
                let id = changes[0].id;
                _ = write!(text, "{} /*m{id}*/ if !{SWITCH}({id})", inner(pattern));
                let end = match guard {
                    Some(guard) => {
                        _ = write!(text, " && ({})", inner(guard));
                        guard.end
                    }
                    None => pattern.end,
                };
                _ = write!(text, " /*me*/{}", inner(&(end..range.end)));
            }
            Place::Guard => {
                let mut condition = format!("({})", inner(range));
                for Mutant { id, replacement, .. } in changes {
                    condition = match replacement.as_str() {
                        "true" => format!("({SWITCH}({id}) || {condition})"),
                        _ => format!("(!{SWITCH}({id}) && {condition})"),
                    };
                }
                let marks: String = changes.iter().map(|change| format!("/*m{}*/", change.id)).collect();
                _ = write!(text, "{marks}{condition}{}", "/*me*/".repeat(changes.len()));
            }
            Place::Field { name, value, base } => {
                let id = changes[0].id;
                let value = value.as_ref().map_or_else(|| name.clone(), &inner);
                let base = &self.source[base.clone()];
                _ = write!(text, "{name}: /*m{id}*/ if {SWITCH}({id}) {{ ({base}).{name} }} else {{ {value} }} /*me*/");
            }
            Place::Binary { left, operator, right } => {
                let (before, after) = (&self.source[left.end..operator.start], &self.source[operator.end..right.start]);
                let (left, right) = (inner(left), inner(right));
                text.push('(');
                for Mutant { id, replacement, .. } in changes {
                    _ = write!(
                        text,
                        "/*m{id}*/ if {SWITCH}({id}) {{ ({left}{before}{replacement}{after}{right}) }} else /*me*/"
                    );
                }
                _ = write!(text, "{{ ({left}{before}{}{after}{right}) }})", &self.source[operator.clone()]);
            }
            Place::Sql => {
                text.push_str("(match () {");
                for Mutant { id, replacement, place, .. } in changes {
                    let (before, after) = (&self.source[range.start..place.start], &self.source[place.end..range.end]);
                    _ = write!(text, "/*m{id}*/ _ if {SWITCH}({id}) => {before}{replacement}{after}, /*me*/");
                }
                _ = write!(text, " _ => {} }})", &self.source[range.clone()]);
            }
            Place::Unary { operand } => {
                let id = changes[0].id;
                let operator = &self.source[range.start..operand.start];
                let operand = inner(operand);
                _ = write!(
                    text,
                    "(/*m{id}*/ if {SWITCH}({id}) {{ ({operand}) }} else {{ ({operator}{operand}) }} /*me*/)"
                );
            }
        }
        text
    }
}

/// The places of a file, by the byte where cargo-mutants begins its change.
#[derive(Debug, Default)]
struct Places {
    found: BTreeMap<(Kind, usize), (Range<usize>, Place)>,
    /// String literals, and macros.
    texts: Vec<Range<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Arm,
    Field,
    Operator,
}

impl Places {
    fn of(source: &str) -> Self {
        let file = syn::parse_file(source).expect("the file parses");
        let mut places = Self::default();
        places.visit_file(&file);
        places
    }

    fn place(&self, genre: Genre, span: &Range<usize>) -> Option<(Range<usize>, Place)> {
        let kind = match genre {
            Genre::FnValue => return Some((span.clone(), Place::Body)),
            Genre::MatchArmGuard => return Some((span.clone(), Place::Guard)),
            Genre::MatchArm => Kind::Arm,
            Genre::StructField => Kind::Field,
            Genre::BinaryOperator | Genre::UnaryOperator => Kind::Operator,
            Genre::Sql => {
                let around = self.texts.iter().filter(|text| text.start <= span.start && span.end <= text.end);
                return around.max_by_key(|text| text.len()).map(|text| (text.clone(), Place::Sql));
            }
        };
        self.found.get(&(kind, span.start)).cloned()
    }
}

impl<'ast> Visit<'ast> for Places {
    fn visit_arm(&mut self, arm: &'ast Arm) {
        let pattern = arm.pat.span().byte_range();
        let guard = arm.guard.as_ref().map(|(_, guard)| guard.span().byte_range());
        if !arm.guard.as_ref().is_some_and(|(_, guard)| has_let(guard)) {
            let place = Place::Arm { pattern: pattern.clone(), guard };
            let range = pattern.start..arm.span().byte_range().end;
            self.found.insert((Kind::Arm, arm.span().byte_range().start), (range, place));
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expression: &'ast ExprStruct) {
        if let Some(base) = &expression.rest {
            for field in &expression.fields {
                let FieldValue { member: syn::Member::Named(name), colon_token, expr, .. } = field else { continue };
                let value = colon_token.is_some().then(|| expr.span().byte_range());
                let place = Place::Field { name: name.to_string(), value, base: base.span().byte_range() };
                let range = field.span().byte_range();
                self.found.insert((Kind::Field, range.start), (range, place));
            }
        }
        visit::visit_expr_struct(self, expression);
    }

    fn visit_expr_binary(&mut self, expression: &'ast ExprBinary) {
        let ExprBinary { left, op, right, .. } = expression;
        // A chain with `let` permits `&&` alone, and no parentheses.
        if !(matches!(op, BinOp::And(_)) && (has_let(left) || has_let(right))) {
            let operator = op.span().byte_range();
            let (left, right) = (left.span().byte_range(), right.span().byte_range());
            let range = left.start..right.end;
            let start = operator.start;
            self.found.insert((Kind::Operator, start), (range, Place::Binary { left, operator, right }));
        }
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_lit(&mut self, literal: &'ast syn::ExprLit) {
        self.texts.push(literal.span().byte_range());
    }

    fn visit_expr_macro(&mut self, expression: &'ast syn::ExprMacro) {
        self.texts.push(expression.span().byte_range());
    }

    fn visit_expr_unary(&mut self, expression: &'ast ExprUnary) {
        let (range, operand) = (expression.span().byte_range(), expression.expr.span().byte_range());
        self.found.insert((Kind::Operator, range.start), (range, Place::Unary { operand }));
        visit::visit_expr_unary(self, expression);
    }
}

fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
