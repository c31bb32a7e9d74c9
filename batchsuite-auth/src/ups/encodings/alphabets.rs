//! Encodings that change every character: numbers, base32, and reversed text.

use std::{mem, ops::Range};

use super::view::View;

/// The fewest bytes of a piece worth decoding: a secret's run has at least this many.
const SHORTEST: usize = 12;

/// The view decoded by each of them.
pub(super) fn readings(view: &View) -> impl Iterator<Item = View> {
    let hexadecimal = [0, 1].map(|skipped| in_hexadecimal(view, skipped));
    let base32 = [0, 1, 2, 3, 4, 5, 6, 7].map(|skipped| in_base32(view, skipped));
    [backwards(view), in_decimal(view)].into_iter().chain(hexadecimal).chain(base32)
}

fn backwards(view: &View) -> View {
    let mut read = View::with_room(view.bytes.len(), false);
    for (byte, source) in view.bytes.iter().zip(&view.source).rev() {
        read.push(*byte, source.clone());
    }
    read
}

/// `7233…`, `72:33…`, `0x72, 0x33, …`: all other characters are ignored. The start is unknown, so both alignments are
/// read.
fn in_hexadecimal(view: &View, skipped: usize) -> View {
    let is_prefix = |at: usize| matches!(view.bytes[at..], [b'0', b'x' | b'X', ..]);
    let digits = view.bytes.iter().enumerate().filter(|(at, _)| !is_prefix(*at));
    let digits = digits.filter_map(|(at, byte)| Some((char::from(*byte).to_digit(16)? as u8, &view.source[at])));
    let digits: Vec<_> = digits.skip(skipped).collect();
    let mut read = View::with_room(view.bytes.len(), false);
    for pair in digits.chunks_exact(2) {
        read.push(pair[0].0 << 4 | pair[1].0, pair[0].1.start..pair[1].1.end);
    }
    read
}

/// `114, 51, 102, …`
fn in_decimal(view: &View) -> View {
    let mut numbers: Vec<(u8, Range<usize>)> = Vec::new();
    let mut read = View::with_room(view.bytes.len(), false);
    let mut finish = |numbers: &mut Vec<(u8, Range<usize>)>| {
        let numbers = mem::take(numbers);
        if numbers.len() >= SHORTEST {
            numbers.into_iter().for_each(|(byte, source)| read.push(byte, source));
        }
    };
    let mut number: Option<(Option<u8>, Range<usize>)> = None;
    let sources = view.source.iter().cloned().map(Some).chain([None]);
    for (byte, source) in view.bytes.iter().copied().chain([b' ']).zip(sources) {
        match (byte, source) {
            (b'0'..=b'9', Some(source)) => {
                let (value, begun) = number.take().unwrap_or((Some(0), source.clone()));
                let value = value.and_then(|value| value.checked_mul(10)?.checked_add(byte - b'0'));
                number = Some((value, begun.start..source.end));
            }
            _ => {
                match number.take() {
                    Some((Some(value), source)) => numbers.push((value, source)),
                    Some((None, _)) => finish(&mut numbers),
                    None => {}
                }
                if byte.is_ascii_alphabetic() {
                    finish(&mut numbers);
                }
            }
        }
    }
    finish(&mut numbers);
    read
}

/// RFC 4648 §6, in either case. As with base64, the start is unknown, so pieces start `skipped` characters late.
fn in_base32(view: &View, skipped: usize) -> View {
    let mut letters: Vec<(u8, Range<usize>)> = Vec::new();
    let mut read = View::with_room(view.bytes.len(), false);
    let mut finish = |letters: &mut Vec<(u8, Range<usize>)>| {
        let letters = mem::take(letters);
        if letters.len() < 8 + SHORTEST {
            return;
        }
        let (mut bits, mut held, mut begun) = (0_u32, 0, None);
        for (value, source) in &letters[skipped..] {
            bits = bits << 5 | u32::from(*value);
            held += 5;
            let start: usize = *begun.get_or_insert(source.start);
            if held >= 8 {
                held -= 8;
                read.push((bits >> held) as u8, start..source.end);
                bits &= (1 << held) - 1;
                begun = (held > 0).then_some(source.start);
            }
        }
    };
    for (byte, source) in view.bytes.iter().zip(&view.source) {
        match byte {
            b'A'..=b'Z' => letters.push((byte - b'A', source.clone())),
            b'a'..=b'z' => letters.push((byte - b'a', source.clone())),
            b'2'..=b'7' => letters.push((byte - b'2' + 26, source.clone())),
            b' ' | b'\r' | b'\n' | b'-' => {}
            _ => finish(&mut letters),
        }
    }
    finish(&mut letters);
    read
}
