//! The changes to SQL: each clause of each statement, one at a time.

use std::ops::Range;

use crate::lexer::Token;

/// One change to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mutation {
    pub(crate) place: Range<usize>,
    pub(crate) instead: String,
}

/// Words that end a condition that began at the same depth.
const ENDS: [&str; 25] = [
    "AND",
    "OR",
    "WHERE",
    "ORDER",
    "GROUP",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "RETURNING",
    "FOR",
    "UNION",
    "ON",
    "THEN",
    "WHEN",
    "ELSE",
    "END",
    "FROM",
    "LEFT",
    "CROSS",
    "JOIN",
    ",",
    ";",
    "SET",
    "LOOP",
    "AS",
];

/// Words that replace each other.
const SWAPS: [(&str, &str); 16] = [
    ("<", "<="),
    ("<=", "<"),
    (">", ">="),
    (">=", ">"),
    ("+", "-"),
    ("-", "+"),
    ("GREATEST", "LEAST"),
    ("LEAST", "GREATEST"),
    ("MIN", "max"),
    ("MAX", "min"),
    ("DESC", "ASC"),
    ("DISTINCT", ""),
    ("TRUE", "false"),
    ("FALSE", "true"),
    ("UNION", "INTERSECT"),
    ("MATERIALIZED", "NOT MATERIALIZED"),
];

/// Every change to the SQL of `tokens`.
pub(crate) fn mutations(text: &str, tokens: &[Token]) -> Vec<Mutation> {
    let sql = Sql { text, tokens };
    let mut found = Vec::new();
    for index in 0..tokens.len() {
        sql.conditions(index, &mut found);
        sql.swaps(index, &mut found);
        sql.clauses(index, &mut found);
        sql.calls(index, &mut found);
        sql.assignments(index, &mut found);
        sql.statements(index, &mut found);
    }
    found.sort_by_key(|mutation| (mutation.place.start, mutation.place.end));
    found.dedup();
    found
}

struct Sql<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

impl Sql<'_> {
    fn word(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.word)
    }

    /// The first token after `from` that `ends` it, or the end of its parentheses.
    fn until(&self, from: usize, ends: impl Fn(usize) -> bool) -> usize {
        let depth = self.tokens[from].depth;
        let beyond = |index: &usize| {
            let token = &self.tokens[*index];
            token.depth < depth || (token.depth == depth && (token.word == "$$" || ends(*index)))
        };
        (from..self.tokens.len()).find(beyond).unwrap_or(self.tokens.len())
    }

    /// The text range of the tokens `from..until`.
    fn place(&self, from: usize, until: usize) -> Range<usize> {
        self.tokens[from].place.start..self.tokens[until - 1].place.end
    }

    /// The end of the condition or value that begins with this token, including the `AND` of a `BETWEEN`.
    fn end_of_condition(&self, from: usize) -> usize {
        let depth = self.tokens[from].depth;
        let is_of_between = |index: usize| {
            let before = (from..index).rev().filter(|before| self.tokens[*before].depth == depth);
            let mut words = before.map(|before| self.word(before));
            words.find(|word| ["AND", "BETWEEN"].contains(word)) == Some("BETWEEN")
        };
        let is_case = self.word(from) == "CASE";
        if is_case {
            return self.until(from + 1, |index| self.word(index) == "END") + 1;
        }
        self.until(from, |index| {
            ENDS.contains(&self.word(index)) && !(self.word(index) == "AND" && is_of_between(index))
        })
    }

    /// Makes a condition joined by `AND` always hold, and one joined by `OR` never hold.
    fn conditions(&self, index: usize, found: &mut Vec<Mutation>) {
        let begins = ["WHERE", "AND", "OR", "HAVING", "WHEN", "ON"].contains(&self.word(index));
        let opens_group = self.word(index) == "(" && ["AND", "WHERE", "OR"].contains(&self.word(index.wrapping_sub(1)));
        let from = index + 1;
        let is_conflict = ["CONFLICT", "(", "MATERIALIZED"].contains(&self.word(from)) && self.word(index) == "ON";
        let holds = self.word(index) == "ON" && self.word(from) == "TRUE";
        if !(begins || opens_group) || is_conflict || holds || from >= self.tokens.len() || self.word(from) == "SELECT"
        {
            return;
        }
        let until = self.end_of_condition(from);
        // The second half of a BETWEEN is not a condition.
        if self.word(index) == "AND" && self.is_between(index) || until <= from {
            return;
        }
        let place = self.place(from, until);
        let condition = &self.text[place.clone()];
        let always = Mutation { place: place.clone(), instead: format!("(true OR ({condition}))") };
        let never = Mutation { place, instead: format!("(false AND ({condition}))") };
        let is_branch = self.word(index) == "OR" || self.word(until) == "OR";
        match self.word(index) {
            "WHEN" => found.extend([always, never]),
            _ if is_branch => found.push(never),
            _ => found.push(always),
        }
    }

    fn is_between(&self, and: usize) -> bool {
        let depth = self.tokens[and].depth;
        let before = (0..and).rev().take_while(|before| self.tokens[*before].depth >= depth);
        let mut words = before.filter(|before| self.tokens[*before].depth == depth).map(|before| self.word(before));
        words.find(|word| ["AND", "BETWEEN", "WHERE", "OR"].contains(word)) == Some("BETWEEN")
    }

    fn swaps(&self, index: usize, found: &mut Vec<Mutation>) {
        let word = self.word(index);
        let place = self.tokens[index].place.clone();
        let is_call = self.word(index + 1) == "(";
        let needs_call = ["MIN", "MAX", "GREATEST", "LEAST"].contains(&word);
        let is_sign =
            ["+", "-"].contains(&word) && ["(", ",", "THEN", "ELSE"].contains(&self.word(index.wrapping_sub(1)));
        if let Some((_, instead)) = SWAPS.iter().find(|(from, to)| *from == word && from != to)
            && (!needs_call || is_call)
            && !is_sign
        {
            found.push(Mutation { place: place.clone(), instead: (*instead).to_owned() });
        }
        if word == "NOT" && self.word(index + 1) != "NULL" && self.word(index.wrapping_sub(1)) != "IF" {
            found.push(Mutation { place: place.clone(), instead: String::new() });
        }
        if word == "IS" {
            let not = usize::from(self.word(index + 1) == "NOT");
            let instead = if not == 1 { "IS NULL" } else { "IS NOT NULL" };
            if self.word(index + 1 + not) == "NULL" {
                found.push(Mutation { place: self.place(index, index + 2 + not), instead: instead.to_owned() });
            }
        }
        if word == "LEFT" && self.word(index + 1) == "JOIN" {
            found.push(Mutation { place, instead: String::new() });
        }
    }

    /// Removes orders and locks; raises limits and offsets by one.
    fn clauses(&self, index: usize, found: &mut Vec<Mutation>) {
        let ends = |index: usize| ["LIMIT", "OFFSET", "FOR", "RETURNING", "UNION", ";"].contains(&self.word(index));
        let gone = |until: usize| Mutation { place: self.place(index, until), instead: String::new() };
        match (self.word(index), self.word(index + 1)) {
            ("ORDER", "BY") => {
                found.push(gone(self.until(index, ends)));
                // Also each of its keys, if there are several.
                self.keys(index + 2, self.until(index, ends), found);
            }
            ("LIMIT" | "OFFSET", _) => {
                let until = self.until(index + 1, ends);
                let place = self.place(index + 1, until);
                let instead = format!("(({}) + 1)", &self.text[place.clone()]);
                found.push(Mutation { place, instead });
            }
            ("FOR", "UPDATE") => found.push(gone(index + 2)),
            ("SKIP", "LOCKED") => found.push(gone(index + 2)),
            ("ON", "CONFLICT") => {
                found.push(gone(self.until(index, |index| self.word(index) == "RETURNING" || ends(index))))
            }
            _ => {}
        }
    }

    fn keys(&self, from: usize, until: usize, found: &mut Vec<Mutation>) {
        let depth = self.tokens[from].depth;
        let is_comma = |index: &usize| self.word(*index) == "," && self.tokens[*index].depth == depth;
        for comma in (from..until).filter(is_comma) {
            let end = (comma + 1..until).find(is_comma).unwrap_or(until);
            found.push(Mutation { place: self.place(comma, end), instead: String::new() });
        }
    }

    /// Swaps the arguments of a call.
    fn calls(&self, index: usize, found: &mut Vec<Mutation>) {
        if !["COALESCE", "IFNULL"].contains(&self.word(index)) || self.word(index + 1) != "(" {
            return;
        }
        let end = self.until(index + 2, |_| false);
        let depth = self.tokens[index + 2].depth;
        let comma = (index + 2..end).find(|at| self.word(*at) == "," && self.tokens[*at].depth == depth);
        if let Some(comma) = comma {
            let (first, rest) = (self.place(index + 2, comma), self.place(comma + 1, end));
            let place = first.start..rest.end;
            let instead = format!("{}, {}", &self.text[rest], &self.text[first]);
            found.push(Mutation { place, instead });
        }
    }

    /// Keeps the columns of an UPDATE unchanged, one at a time; makes an INSERT write nulls.
    fn assignments(&self, index: usize, found: &mut Vec<Mutation>) {
        if self.word(index) == "SET" && self.word(index + 2) == "=" {
            let ends = |index: usize| ["FROM", "WHERE", "RETURNING", ";"].contains(&self.word(index));
            let is_comma = |index: usize| self.word(index) == ",";
            let end = self.until(index + 1, ends);
            let mut from = index + 1;
            while from < end {
                let until = self.until(from, |index| ends(index) || is_comma(index)).min(end);
                self.assignment(from, until, until < end, found);
                from = until + 1;
            }
        }
        if self.word(index) == "VALUES" && self.word(index + 1) == "(" {
            let end = self.until(index + 2, |_| false);
            let mut from = index + 2;
            while from < end {
                let until = self.until(from, |index| self.word(index) == ",").min(end);
                let place = self.place(from, until);
                let value = &self.text[place.clone()];
                found.push(Mutation { place: place.clone(), instead: format!("nullif({value}, {value})") });
                from = until + 1;
            }
        }
    }

    /// SQLite counts the parameters, so the value stays in the text; Postgres may find the bare name ambiguous.
    fn assignment(&self, from: usize, until: usize, has_next: bool, found: &mut Vec<Mutation>) {
        let (column, value) = (self.tokens[from].place.clone(), self.place(from + 2, until));
        let place = self.place(from, until);
        let is_sqlite = self.tokens.iter().any(|token| token.word.starts_with('?'));
        if is_sqlite {
            let column = &self.text[column];
            let instead = format!("{column} = iif(true, {column}, {})", &self.text[value]);
            found.push(Mutation { place, instead });
        } else if has_next {
            let next = self.tokens[until + 1].place.start;
            found.push(Mutation { place: place.start..next, instead: String::new() });
        } else if self.word(from.wrapping_sub(1)) == "," {
            let comma = self.tokens[from - 1].place.start;
            found.push(Mutation { place: comma..place.end, instead: String::new() });
        } else {
            let column = &self.text[column];
            found.push(Mutation { place, instead: format!("{column} = g.{column}") });
        }
    }

    /// Removes a statement of a function.
    fn statements(&self, index: usize, found: &mut Vec<Mutation>) {
        let is_first = [";", "BEGIN"].contains(&self.word(index.wrapping_sub(1))) && self.tokens[index].depth == 0;
        let is_work = ["PERFORM", "DELETE", "INSERT", "UPDATE"].contains(&self.word(index));
        if is_first && is_work {
            let end = self.until(index, |index| self.word(index) == ";");
            found.push(Mutation { place: self.place(index, end), instead: "NULL".to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::tokens;

    fn mutated(sql: &str) -> Vec<String> {
        let all = mutations(sql, &tokens(sql, 0..sql.len()));
        let write = |m: &Mutation| format!("{}{}{}", &sql[..m.place.start], m.instead, &sql[m.place.end..]);
        all.iter().map(write).collect()
    }

    #[test]
    fn each_condition_goes_alone() {
        let all = mutated("DELETE FROM t WHERE a = $1 AND b BETWEEN 1 AND 2 AND (c IS NULL OR d < $2)");
        for expected in [
            "DELETE FROM t WHERE (true OR (a = $1)) AND b BETWEEN 1 AND 2 AND (c IS NULL OR d < $2)",
            "DELETE FROM t WHERE a = $1 AND (true OR (b BETWEEN 1 AND 2)) AND (c IS NULL OR d < $2)",
            "DELETE FROM t WHERE a = $1 AND b BETWEEN 1 AND 2 AND (true OR ((c IS NULL OR d < $2)))",
            "DELETE FROM t WHERE a = $1 AND b BETWEEN 1 AND 2 AND ((false AND (c IS NULL)) OR d < $2)",
            "DELETE FROM t WHERE a = $1 AND b BETWEEN 1 AND 2 AND (c IS NULL OR (false AND (d < $2)))",
            "DELETE FROM t WHERE a = $1 AND b BETWEEN 1 AND 2 AND (c IS NOT NULL OR d < $2)",
            "DELETE FROM t WHERE a = $1 AND b BETWEEN 1 AND 2 AND (c IS NULL OR d <= $2)",
        ] {
            assert!(all.contains(&expected.to_owned()), "{expected} of {all:#?}");
        }
        assert_eq!(all.len(), 7, "{all:#?}");
    }

    #[test]
    fn orders_limits_locks_and_assignments_go_alone() {
        let all = mutated("UPDATE t SET a = LEAST(x, y), b = COALESCE(c, 0) WHERE z");
        for expected in [
            "UPDATE t SET b = COALESCE(c, 0) WHERE z",
            "UPDATE t SET a = LEAST(x, y) WHERE z",
            "UPDATE t SET a = GREATEST(x, y), b = COALESCE(c, 0) WHERE z",
            "UPDATE t SET a = LEAST(x, y), b = COALESCE(0, c) WHERE z",
        ] {
            assert!(all.contains(&expected.to_owned()), "{expected} of {all:#?}");
        }
        let all = mutated("SELECT a FROM t ORDER BY a, b DESC LIMIT $1 FOR UPDATE SKIP LOCKED");
        for expected in [
            "SELECT a FROM t  LIMIT $1 FOR UPDATE SKIP LOCKED",
            "SELECT a FROM t ORDER BY a LIMIT $1 FOR UPDATE SKIP LOCKED",
            "SELECT a FROM t ORDER BY a, b ASC LIMIT $1 FOR UPDATE SKIP LOCKED",
            "SELECT a FROM t ORDER BY a, b DESC LIMIT (($1) + 1) FOR UPDATE SKIP LOCKED",
            "SELECT a FROM t ORDER BY a, b DESC LIMIT $1  SKIP LOCKED",
            "SELECT a FROM t ORDER BY a, b DESC LIMIT $1 FOR UPDATE ",
        ] {
            assert!(all.contains(&expected.to_owned()), "{expected} of {all:#?}");
        }
    }
}
