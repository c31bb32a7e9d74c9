//! A text decoded in every plausible encoding; each decoded byte keeps its source range.

mod alphabets;
mod view;

use std::{collections::HashSet, hash::BuildHasher, mem, ops::Range, str};

use foldhash::fast::RandomState;

pub(super) use self::view::View;
use crate::events::is_invisible;

/// The most decodings of a text that are tried.
const MOST_VIEWS: usize = 128;
/// Base64 of a run of twelve characters is at least this long.
const SHORTEST_BASE64: usize = 16;

/// Every decoding of `text` by a chain of encodings.
pub(super) fn views(text: &str) -> Vec<View> {
    let hasher = RandomState::default();
    let mut views = vec![View::of(text)];
    let mut seen = HashSet::from([hasher.hash_one(text.as_bytes())]);
    let mut next = 0;
    while next < views.len() {
        let view = &views[next];
        let mut found: Vec<_> =
            [percent_sequence, entity, lenient_entity, escape].into_iter().map(|one| undone(view, one)).collect();
        found.push(thinned(view, is_shown));
        // The start of base64 is unknown: characters in front of it may look like part of it. So try all four
        // alignments.
        found.extend((0..4).map(|skipped| base64(view, skipped)));
        for view in found {
            if views.len() < MOST_VIEWS && seen.insert(hasher.hash_one(view.bytes.as_slice())) {
                views.push(view);
            }
        }
        next += 1;
    }
    // Only a search for secrets reads these, so their own decodings are not decoded further.
    let rare = views.iter().filter(|view| view.is_plain).flat_map(alphabets::readings).collect::<Vec<_>>();
    views.extend(rare);
    views
}

/// A view with only the characters for which `counts` is true.
pub(super) fn thinned(view: &View, counts: fn(char) -> bool) -> View {
    let mut thin = View::with_room(view.bytes.len(), false);
    let mut at = 0;
    while at < view.bytes.len() {
        let (character, length) = first_character(&view.bytes[at..]);
        if character.is_none_or(counts) {
            for index in at..at + length {
                thin.push(view.bytes[index], view.source[index].clone());
            }
        }
        at += length;
    }
    thin
}

/// The first character, if the bytes start with a valid one, and its length in bytes.
fn first_character(bytes: &[u8]) -> (Option<char>, usize) {
    let length = match bytes.first() {
        Some(0..0x80) => 1,
        Some(0xc2..0xe0) => 2,
        Some(0xe0..0xf0) => 3,
        Some(0xf0..0xf5) => 4,
        _ => return (None, 1),
    };
    let character = bytes.get(..length).and_then(|bytes| str::from_utf8(bytes).ok());
    match character.and_then(|text| text.chars().next()) {
        Some(character) => (Some(character), length),
        None => (None, 1),
    }
}

/// Whether a character is visible.
pub(super) fn is_shown(character: char) -> bool {
    !(character.is_whitespace() || character.is_control() || is_invisible(character))
}

/// A view in which every sequence that `sequence` recognizes is decoded.
fn undone(view: &View, sequence: fn(&[u8]) -> Option<Decoded>) -> View {
    // Even a four-byte character takes more bytes in every encoding.
    let mut decoded = View::with_room(view.bytes.len(), view.is_plain);
    let mut at = 0;
    while at < view.bytes.len() {
        let Some(Decoded { meaning, length }) = sequence(&view.bytes[at..]) else {
            decoded.push(view.bytes[at], view.source[at].clone());
            at += 1;
            continue;
        };
        let from = &view.source[at..at + length];
        let source = from[0].start..from[length - 1].end;
        match meaning {
            Meaning::Byte(byte) => decoded.push(byte, source),
            Meaning::Character(character) => decoded.push_char(character, &source),
            Meaning::Nothing => {}
        }
        at += length;
    }
    decoded
}

/// A decoded sequence.
struct Decoded {
    meaning: Meaning,
    length: usize,
}

enum Meaning {
    Byte(u8),
    Character(char),
    Nothing,
}

impl Decoded {
    fn character(number: u32, length: usize) -> Option<Self> {
        Some(Self { meaning: Meaning::Character(char::from_u32(number)?), length })
    }

    fn byte(byte: u8, length: usize) -> Self {
        Self { meaning: Meaning::Byte(byte), length }
    }
}

/// `%41` of forms (RFC 3986 §2.1), in either case, and `%u0041`.
fn percent_sequence(bytes: &[u8]) -> Option<Decoded> {
    match bytes {
        [b'%', b'u' | b'U', rest @ ..] => Decoded::character(hexadecimal(rest.get(..4)?)?, 6),
        [b'%', rest @ ..] => Some(Decoded::byte(hexadecimal(rest.get(..2)?)?.try_into().ok()?, 3)),
        _ => None,
    }
}

/// `&#65;`, `&#x41;`, `&amp;` of HTML.
fn entity(bytes: &[u8]) -> Option<Decoded> {
    lenient_entity(bytes).filter(|decoded| bytes[decoded.length - 1] == b';')
}

/// The same, with or without the semicolon, as browsers read it.
fn lenient_entity(bytes: &[u8]) -> Option<Decoded> {
    const LONGEST: usize = 12;
    let [b'&', rest @ ..] = bytes else { return None };
    let rest = &rest[..rest.len().min(LONGEST)];
    let length_of = |in_name: fn(&u8) -> bool| rest.iter().take_while(|byte| in_name(byte)).count();
    let ended = |length: usize| 1 + length + usize::from(rest.get(length) == Some(&b';'));
    if let [b'#', number @ ..] = rest {
        let (digits, before, radix) = match number {
            [b'x' | b'X', digits @ ..] => (digits, 2, 16),
            digits => (digits, 1, 10),
        };
        let length = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
        let number = str::from_utf8(&digits[..length]).ok()?;
        return Decoded::character(u32::from_str_radix(number, radix).ok()?, ended(before + length));
    }
    let length = length_of(u8::is_ascii_alphabetic);
    let (_, character) = ENTITIES.iter().find(|(name, _)| rest[..length].eq_ignore_ascii_case(name.as_bytes()))?;
    Decoded::character((*character).into(), ended(length))
}

/// The named entities of whitespace and of characters that may occur in a token.
const ENTITIES: [(&str, char); 26] = [
    ("amp", '&'),
    ("ast", '*'),
    ("apos", '\''),
    ("bsol", '\\'),
    ("colon", ':'),
    ("comma", ','),
    ("commat", '@'),
    ("dash", '-'),
    ("dollar", '$'),
    ("equals", '='),
    ("excl", '!'),
    ("gt", '>'),
    ("hyphen", '-'),
    ("lowbar", '_'),
    ("lt", '<'),
    ("nbsp", '\u{a0}'),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("plus", '+'),
    ("quest", '?'),
    ("quot", '"'),
    ("semi", ';'),
    ("sol", '/'),
    ("tilde", '~'),
    ("vert", '|'),
];

/// `\/`, `\n`, `\u0041` of JSON; `\x41`, `\u{41}`, `\101` of related languages.
fn escape(bytes: &[u8]) -> Option<Decoded> {
    let [b'\\', rest @ ..] = bytes else { return None };
    Some(match rest {
        [b'u', b'{', number @ ..] => {
            let length = number.iter().position(|byte| *byte == b'}')?;
            Decoded::character(hexadecimal(&number[..length])?, length + 4)?
        }
        [b'u', ..] => {
            let unit = |at: usize| match bytes.get(at..at + 6)? {
                [b'\\', b'u', digits @ ..] => hexadecimal(digits)?.try_into().ok(),
                _ => None,
            };
            let character = char::decode_utf16([unit(0)?, unit(6).unwrap_or(0)]).next()?.ok()?;
            Decoded::character(character.into(), 6 * character.len_utf16())?
        }
        [b'x', number @ ..] => Decoded::character(hexadecimal(number.get(..2)?)?, 4)?,
        [b'0'..=b'3', b'0'..=b'7', b'0'..=b'7', ..] => {
            Decoded::byte(u8::from_str_radix(str::from_utf8(&rest[..3]).ok()?, 8).ok()?, 4)
        }
        [b'b' | b'f' | b'n' | b'r' | b't', ..] => Decoded { meaning: Meaning::Nothing, length: 2 },
        [literal, ..] => Decoded::byte(*literal, 2),
        [] => Decoded { meaning: Meaning::Nothing, length: 1 },
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    // `from_str_radix` would accept a sign.
    let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Decodes the base64 in a view (RFC 4648 §4 and §5); each piece starts `skipped` characters late. Any other character
/// ends a piece: what was wrapped is whole in the view without whitespace and invisible characters.
fn base64(view: &View, skipped: usize) -> View {
    let mut decoded = View::with_room(view.bytes.len(), false);
    let mut piece = Vec::new();
    let mut finish = |piece: &mut Vec<(u8, Range<usize>)>| {
        let piece = mem::take(piece);
        if piece.len() >= SHORTEST_BASE64 {
            for group in piece[skipped..].chunks(4) {
                decode_group(group, &mut decoded);
            }
        }
    };
    for (byte, source) in view.bytes.iter().zip(&view.source) {
        match sextet(*byte) {
            Some(value) => piece.push((value, source.clone())),
            None => finish(&mut piece),
        }
    }
    finish(&mut piece);
    decoded
}

fn decode_group(group: &[(u8, Range<usize>)], decoded: &mut View) {
    for (index, pair) in group.windows(2).enumerate() {
        let shift = 2 * index as u32 + 2;
        let byte = pair[0].0 << shift | pair[1].0 >> (6 - shift);
        decoded.push(byte, pair[0].1.start..pair[1].1.end);
    }
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
