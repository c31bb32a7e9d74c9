//! Cuts secrets out of UPS's own words.
//!
//! A server that complains about a request may repeat it: whole or in part, in the encoding of a form, of HTML, of JSON
//! within JSON or of base64, wrapped at some column. Its words are kept with the company and shown. So they are read in every
//! encoding that they may be in, and a run of twelve characters in common with something that was sent is cut out, wherever it
//! came from in the text. So is a long word that looks like a token, whosever it is.
//!
//! All this happens to refusals only: an answer with tokens has no words that are kept.

use std::{collections::HashSet, hash::BuildHasher};

use foldhash::fast::RandomState;
use zeroize::Zeroizing;

use super::encodings::{View, is_shown, thinned, views};

/// So many characters in common with a secret are no chance.
const RUN: usize = 12;
/// A secret that is shorter than a run is cut out as a whole, if it is not shorter than this: a one-letter secret of a test
/// would cut the words to pieces.
const SHORTEST_SECRET: usize = 4;
/// A word of this length may be a token.
const LONG_WORD: usize = 24;
/// No more bytes of a text are looked at, or kept: far more than is shown.
const WINDOW: usize = 4096;
/// The mark in the place of a cut.
const CUT: &str = "[…]";

/// `text` without what it has in common with anything that was `sent`.
pub(super) fn cut(text: &str, sent: &[&str]) -> String {
    let end = (0..=WINDOW.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let text = &text[..end];
    let secrets = Secrets::of(sent);
    let mut marks = vec![false; text.len()];
    for view in views(text) {
        secrets.mark(&view, &mut marks);
        if view.is_plain {
            mark_long_words(&view, &mut marks);
        }
    }
    widen(text, &mut marks);
    rewritten(text, &marks)
}

/// The secrets that were sent, in a form that recognizes pieces of them.
struct Secrets {
    hasher: RandomState,
    /// The hashes of all runs of the secrets: without blanks, and their letters and digits alone.
    runs: [HashSet<u64>; 2],
    short: Vec<Zeroizing<Vec<u8>>>,
}

impl Secrets {
    fn of(sent: &[&str]) -> Self {
        let mut secrets =
            Self { hasher: RandomState::default(), runs: [HashSet::new(), HashSet::new()], short: Vec::new() };
        for secret in sent {
            let secret = View::of(secret);
            for (index, thin) in [thinned(&secret, is_shown), thinned(&secret, is_letter_or_digit)].iter().enumerate() {
                let hashes = thin.bytes.windows(RUN).map(|run| secrets.hash(run)).collect::<Vec<_>>();
                secrets.runs[index].extend(hashes);
            }
            let shown = thinned(&secret, is_shown);
            if (SHORTEST_SECRET..RUN).contains(&shown.bytes.len()) {
                secrets.short.push(shown.bytes);
            }
        }
        secrets
    }

    /// Marks all that a view has in common with them.
    fn mark(&self, view: &View, marks: &mut [bool]) {
        for (runs, thin) in self.runs.iter().zip([thinned(view, is_shown), thinned(view, is_letter_or_digit)]) {
            for (start, run) in thin.bytes.windows(RUN).enumerate() {
                if !runs.is_empty() && runs.contains(&self.hash(run)) {
                    thin.mark(start..start + RUN, marks);
                }
            }
        }
        let shown = thinned(view, is_shown);
        for secret in &self.short {
            for (start, run) in shown.bytes.windows(secret.len()).enumerate() {
                if run == secret.as_slice() {
                    shown.mark(start..start + run.len(), marks);
                }
            }
        }
    }

    /// In lower case: some encodings change the case.
    fn hash(&self, run: &[u8]) -> u64 {
        let mut lower = Zeroizing::new([0; RUN]);
        lower.copy_from_slice(run);
        lower.make_ascii_lowercase();
        self.hasher.hash_one(*lower)
    }
}

fn is_letter_or_digit(character: char) -> bool {
    character.is_ascii_alphanumeric()
}

/// Marks the words that look like tokens: long, of the characters of base64, hexadecimal numbers or a JWT, and with kinds of
/// characters that change too often for a word of a language or an address.
fn mark_long_words(view: &View, marks: &mut [bool]) {
    let in_word = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.".contains(&byte);
    let mut start = 0;
    for end in 0..=view.bytes.len() {
        if view.bytes.get(end).copied().is_some_and(in_word) {
            continue;
        }
        if end - start >= LONG_WORD && looks_like_a_token(&view.bytes[start..end]) {
            view.mark(start..end, marks);
        }
        start = end + 1;
    }
}

fn looks_like_a_token(word: &[u8]) -> bool {
    let kind = |byte: u8| match byte {
        b'0'..=b'9' => Some(0),
        b'a'..=b'z' => Some(1),
        b'A'..=b'Z' => Some(2),
        _ => None,
    };
    let kinds: Vec<u8> = word.iter().filter_map(|byte| kind(*byte)).collect();
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    // Words that are written together change twice with each of them, and have no digits.
    let characters_per_change = if kinds.contains(&0) { 5 } else { 3 };
    changes * characters_per_change >= kinds.len()
}

/// A word with a cut in it is cut out as a whole: the rest of it would only puzzle.
fn widen(text: &str, marks: &mut [bool]) {
    let bytes = text.as_bytes();
    let in_word = |index: usize| bytes[index].is_ascii_alphanumeric() || b"+/_-~%".contains(&bytes[index]);
    for index in 1..bytes.len() {
        let is_padding = bytes[index] == b'=' && bytes[index - 1] != b' ';
        marks[index] |= marks[index - 1] && (in_word(index) || is_padding);
    }
    for index in (1..bytes.len()).rev() {
        marks[index - 1] |= marks[index] && in_word(index) && in_word(index - 1);
    }
}

fn rewritten(text: &str, marks: &[bool]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut cutting = false;
    for (start, character) in text.char_indices() {
        let is_cut = marks[start..start + character.len_utf8()].contains(&true);
        if !is_cut {
            kept.push(character);
        } else if !cutting {
            kept.push_str(CUT);
        }
        cutting = is_cut;
    }
    kept
}

#[cfg(test)]
mod tests;
