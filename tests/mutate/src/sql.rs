//! The sources of SQL: separate files, and texts in Rust.

use std::{
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{
    lexer::tokens,
    mutations::{Mutation, mutations},
};

/// One change to one SQL text.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) file: PathBuf,
    pub(crate) mutation: Mutation,
    was: String,
    /// The statement that it changes.
    statement: String,
    /// Its index among identical changes.
    which: usize,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, mutation, was, statement, which } = self;
        write!(f, "{}: {statement}: {} => {}", file.display(), plain(was), plain(&mutation.instead))?;
        if *which > 0 { write!(f, " #{}", which + 1) } else { Ok(()) }
    }
}

/// On one line.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("--").next().unwrap_or_default());
    let words: Vec<String> = lines.flat_map(str::split_whitespace).map(str::to_owned).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" ") }
}

/// Every change to the SQL in these files and directories.
pub(crate) fn changes(root: &Path, places: &[&str]) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for file in places.iter().flat_map(|place| files(root, Path::new(place))) {
        let text = fs::read_to_string(root.join(&file)).expect("a text file");
        for range in statements(&file, &text) {
            for mutation in mutations(&text, &tokens(&text, range.clone())) {
                let was = text[mutation.place.clone()].to_owned();
                let statement = name_of(&text[range.clone()]);
                let mut change = Change { file: file.clone(), mutation, was, statement, which: 0 };
                let reads = change.to_string();
                change.which =
                    all.iter().filter(|other| Change { which: 0, ..(*other).clone() }.to_string() == reads).count();
                all.push(change);
            }
        }
    }
    all
}

fn files(root: &Path, place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join(place)) else { return vec![place.to_owned()] };
    let names = entries.map(|entry| place.join(entry.expect("an entry").file_name()));
    let mut found: Vec<PathBuf> = names.flat_map(|name| files(root, &name)).collect();
    found.retain(|file| !file.ends_with("tests.rs"));
    found.sort();
    found
}

/// An SQL file is one statement, or functions between `$$`. In Rust, SQL texts begin with an SQL verb.
fn statements(file: &Path, text: &str) -> Vec<Range<usize>> {
    if file.extension().is_some_and(|extension| extension == "rs") {
        return in_rust(text);
    }
    let bodies: Vec<usize> = text.match_indices("$$").map(|(at, _)| at + 2).collect();
    if bodies.is_empty() {
        // A schema has no clauses; statements have.
        let statement = Some(0..text.len()).filter(|_| !text.contains("CREATE TABLE"));
        return statement.into_iter().collect();
    }
    bodies.chunks_exact(2).map(|body| body[0]..body[1] - 2).collect()
}

fn in_rust(text: &str) -> Vec<Range<usize>> {
    let code = text.find("#[cfg(test)]").map_or(text, |end| &text[..end]);
    let is_character = |at: usize| code[..at].ends_with('\'') && code[at + 1..].starts_with('\'');
    let quotes: Vec<usize> = code.match_indices('"').map(|(at, _)| at).filter(|at| !is_character(*at)).collect();
    let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];
    let texts = quotes.windows(2).map(|pair| pair[0] + 1..pair[1]);
    let is_sql = |range: &Range<usize>| verbs.iter().any(|verb| code[range.clone()].starts_with(verb));
    texts.filter(is_sql).collect()
}

/// Its beginning identifies it within the file.
fn name_of(statement: &str) -> String {
    let plain = plain(statement);
    let words: Vec<&str> = plain.split(' ').take(4).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_with_its_quote_even_after_an_empty_one_in_sql() {
        let code = r#"let (all, quote) = ("SELECT a FROM t WHERE a <> ''", '"'); let more = "UPDATE t SET a = 1";"#;

        let texts: Vec<&str> = in_rust(code).into_iter().map(|range| &code[range]).collect();

        assert_eq!(texts, ["SELECT a FROM t WHERE a <> ''", "UPDATE t SET a = 1"]);
    }
}
