//! SQL split into words with their positions, as far as mutation needs it.

use std::ops::Range;

/// A piece of SQL: a word, number, parameter, text or operator. White space and comments are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) place: Range<usize>,
    /// In capitals.
    pub(crate) word: String,
    /// The number of open parentheses around it. A parenthesis counts as outside itself.
    pub(crate) depth: usize,
}

/// The tokens of the SQL in `range` of `text`.
pub(crate) fn tokens(text: &str, range: Range<usize>) -> Vec<Token> {
    let (mut tokens, mut at, mut depth) = (Vec::new(), range.start, 0_usize);
    while at < range.end {
        let rest = &text[at..range.end];
        let length = length_of_first(rest);
        let is_silent = rest.starts_with("--") || rest.starts_with(char::is_whitespace);
        if !is_silent {
            let word = rest[..length].to_uppercase();
            if word == ")" {
                depth = depth.saturating_sub(1);
            }
            tokens.push(Token { place: at..at + length, word: word.clone(), depth });
            if word == "(" {
                depth += 1;
            }
        }
        at += length;
    }
    tokens
}

/// The length of the first token, or of the white space or comment before it.
fn length_of_first(text: &str) -> usize {
    let while_it = |is: fn(char) -> bool| text.find(|c| !is(c)).unwrap_or(text.len());
    let first = text.chars().next().unwrap_or(' ');
    let end_of = |end: &str| text[1..].find(end).map_or(text.len(), |found| found + 1 + end.len());
    match first {
        _ if text.starts_with("--") => end_of("\n"),
        _ if text.starts_with("$$") => 2,
        c if c.is_whitespace() => while_it(char::is_whitespace),
        '\'' => end_of("'"),
        '"' => end_of("\""),
        '{' => end_of("}"),
        '$' | '?' => 1 + text[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - 1),
        c if c.is_alphanumeric() || c == '_' => while_it(|c| c.is_alphanumeric() || c == '_'),
        _ if ["<=", ">=", "<>", "::", "||", ":="].iter().any(|two| text.starts_with(two)) => 2,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_texts_and_operators_have_their_places() {
        let sql = "SELECT a.b -- why\nFROM {schema}.t WHERE a<=$12::int AND b = 'x y' AND f(?3)";
        let words: Vec<_> = tokens(sql, 0..sql.len()).into_iter().map(|token| token.word).collect();
        let expected =
            "SELECT A . B FROM {SCHEMA} . T WHERE A <= $12 :: INT AND B = 'X Y' AND F ( ?3 )".replace("'X Y'", "'X_Y'");
        assert_eq!(words.join(" ").replace("'X Y'", "'X_Y'"), expected);
        let inner = tokens(sql, 0..sql.len()).into_iter().find(|token| token.word == "?3").unwrap();
        assert_eq!((inner.depth, &sql[inner.place]), (1, "?3"));
    }
}
