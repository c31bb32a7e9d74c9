//! Cuts secrets out of UPS's messages.
//!
//! A server that complains about a request may echo it: whole or in part, form-encoded, HTML-escaped, in JSON within
//! JSON or in base64, wrapped at some column. The messages are stored with the company and shown. So each is read in
//! every plausible encoding, and every run of twelve characters that also occurs in a secret that was sent is cut out
//! of the original text. Long words that look like tokens are cut out as well, wherever they come from.
//!
//! This applies to refusals only: no message of an answer with tokens is stored.

use std::{collections::HashSet, hash::BuildHasher};

use foldhash::fast::RandomState;
use zeroize::Zeroizing;

use super::encodings::{View, is_shown, thinned, views};

/// This many characters in common with a secret are no coincidence.
const RUN: usize = 12;
/// Secrets shorter than a run are cut out whole, down to this length: a one-letter secret in a test would shred the
/// text.
const SHORTEST_SECRET: usize = 4;
/// A word of this length may be a token.
const LONG_WORD: usize = 24;
/// How many bytes of a text are read and kept: far more than is shown.
const WINDOW: usize = 4096;
/// Replaces a cut.
const CUT: &str = "[…]";

/// `text` without anything it has in common with the secrets in `sent`.
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

/// The secrets that were sent, prepared for finding pieces of them.
struct Secrets {
    hasher: RandomState,
    /// The hashes of all runs of the secrets: without whitespace, and of letters and digits only.
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

    /// Marks everything in a view that also occurs in a secret.
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

    /// In lower case, because some encodings change the case.
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

/// Marks words that look like tokens: long, in the characters of base64, hexadecimal or a JWT, and mixing kinds of
/// characters more often than natural words or addresses do.
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
    // Joined words have two changes each, and no digits.
    let characters_per_change = if kinds.contains(&0) { 5 } else { 3 };
    changes * characters_per_change >= kinds.len()
}

/// Extends each cut to the whole word: its remains would only confuse.
fn widen(text: &str, marks: &mut [bool]) {
    let bytes = text.as_bytes();
    let in_word = |index: usize| bytes[index].is_ascii_alphanumeric() || b"+/_-~%".contains(&bytes[index]);
    for index in 1..bytes.len() {
        // With the padding of base64.
        marks[index] |= marks[index - 1] && (in_word(index) || bytes[index] == b'=');
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
