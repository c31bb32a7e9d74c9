//! From an answer's bytes to its text: undoes compression and other Unicode encodings.
//!
//! The bytes themselves show their coding, because a header may be missing or wrong.

use std::io::Read;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use zeroize::Zeroizing;

use crate::http::{ANSWER_CAP, append};

/// How many layers of compression an answer may have.
const MOST_WRAPPINGS: usize = 3;

/// The text of an answer. It is secret: wiped on drop, without `Debug`.
pub(super) struct Content {
    text: Zeroizing<String>,
    /// Whether nothing is missing.
    pub(super) whole: bool,
    /// Whether some bytes were not valid text.
    pub(super) damaged: bool,
}

impl Content {
    /// Decodes a body; `whole`: all of it has arrived.
    pub(super) fn of(body: Zeroizing<Vec<u8>>, whole: bool) -> Self {
        let (bytes, whole) = unpacked(body, whole);
        let (text, damaged) = match Wide::of(&bytes) {
            Some(wide) => wide.decoded(&bytes),
            None => utf8(bytes),
        };
        Self { text, whole, damaged }
    }

    pub(super) fn text(&self) -> &str {
        // A byte order mark is not part of the text (RFC 8259 §8.1).
        self.text.strip_prefix('\u{feff}').unwrap_or(&self.text)
    }
}

/// Undoes the content codings of RFC 9110 §8.4.1 that this library supports. A text cut off by the size cap or by an
/// error is not whole.
fn unpacked(mut body: Zeroizing<Vec<u8>>, mut whole: bool) -> (Zeroizing<Vec<u8>>, bool) {
    for _ in 0..MOST_WRAPPINGS {
        let (bytes, ended) = match body[..] {
            [0x1f, 0x8b, ..] => read(MultiGzDecoder::new(&**body)),
            // RFC 1950 §2.2; JSON never starts with these bytes.
            [0x78, second, ..] if u16::from_be_bytes([0x78, second]).is_multiple_of(31) => {
                read(ZlibDecoder::new(&**body))
            }
            _ => break,
        };
        (body, whole) = (bytes, whole && ended);
    }
    (body, whole)
}

fn read(mut packed: impl Read) -> (Zeroizing<Vec<u8>>, bool) {
    let mut bytes = Zeroizing::default();
    // When it meets damage, a decoder drops its unpacked bytes that were not read yet. With room for the largest answer,
    // everything has been read.
    let mut piece = Zeroizing::new(vec![0; ANSWER_CAP + 1]);
    loop {
        piece.fill(0);
        let (read, ended) = match packed.read(&mut piece) {
            Ok(0) => return (bytes, true),
            Ok(read) => (read, false),
            // The decoder wrote the bytes before the damage, but does not say how many. The text never ends with NUL, so
            // strip NULs.
            Err(_) => (piece.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1), true),
        };
        let room = ANSWER_CAP - bytes.len();
        append(&mut bytes, &piece[..read.min(room)]);
        if ended || read > room {
            return (bytes, false);
        }
    }
}

fn utf8(mut bytes: Zeroizing<Vec<u8>>) -> (Zeroizing<String>, bool) {
    let bytes = match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => return (Zeroizing::new(text), false),
        Err(error) => Zeroizing::new(error.into_bytes()),
    };
    // Invalid UTF-8 only spoils the value that contains it.
    let mut text = room_for(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text, true)
}

/// A string that never reallocates: each byte decodes to at most three bytes.
fn room_for(bytes: usize) -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(bytes * 3))
}

/// UTF-16 or UTF-32.
struct Wide {
    /// Bytes per unit.
    unit: usize,
    big_endian: bool,
}

impl Wide {
    /// Detected by a byte order mark, or by NULs next to its first two characters, which are ASCII in a JSON object
    /// (RFC 4627 §3).
    fn of(bytes: &[u8]) -> Option<Self> {
        let (unit, big_endian) = match *bytes {
            [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, 1..=255, 0, ..] => (4, true),
            [0xff, 0xfe, 0, 0, ..] | [1..=255, 0, 0, 0, 1..=255, ..] => (4, false),
            [0xfe, 0xff, ..] | [0, 1..=255, 0, 1..=255, ..] => (2, true),
            [0xff, 0xfe, ..] | [1..=255, 0, 1..=255, 0, ..] => (2, false),
            _ => return None,
        };
        Some(Self { unit, big_endian })
    }

    fn decoded(&self, bytes: &[u8]) -> (Zeroizing<String>, bool) {
        let mut text = room_for(bytes.len());
        let mut damaged = !bytes.len().is_multiple_of(self.unit);
        let mut push = |character: Option<char>| {
            damaged |= character.is_none();
            text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        };
        let units = bytes.chunks_exact(self.unit).map(|unit| {
            let mut number = 0_u32;
            for place in 0..self.unit {
                let byte = if self.big_endian { unit[place] } else { unit[self.unit - 1 - place] };
                number = number << 8 | u32::from(byte);
            }
            number
        });
        if self.unit == 4 {
            units.for_each(|unit| push(char::from_u32(unit)));
        } else {
            // A unit of two bytes, so the cast is lossless.
            char::decode_utf16(units.map(|unit| unit as u16)).for_each(|unit| push(unit.ok()));
        }
        (text, damaged)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    const TEXT: &str = "{\"a\":\"\u{e9}\u{1f69a}\"}";

    fn read(bytes: &[u8]) -> Content {
        Content::of(Zeroizing::new(bytes.to_vec()), true)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn utf32(text: &str, bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        text.chars().flat_map(|c| bytes(c.into())).collect()
    }

    #[test]
    fn a_text_comes_out_of_every_wrapping() {
        let marked = format!("\u{feff}{TEXT}");
        for bytes in [
            TEXT.as_bytes().to_vec(),
            marked.clone().into_bytes(),
            gzip(TEXT.as_bytes()),
            gzip(&gzip(TEXT.as_bytes())),
            zlib(TEXT.as_bytes()),
            utf16(TEXT, u16::to_be_bytes),
            utf16(TEXT, u16::to_le_bytes),
            utf16(&marked, u16::to_be_bytes),
            utf16(&marked, u16::to_le_bytes),
            gzip(&utf16(&marked, u16::to_le_bytes)),
            utf32(TEXT, u32::to_be_bytes),
            utf32(&marked, u32::to_le_bytes),
        ] {
            let content = read(&bytes);
            assert_eq!((content.text(), content.whole, content.damaged), (TEXT, true, false), "{bytes:?}");
        }
    }

    #[test]
    fn a_text_that_begins_like_something_packed_is_a_text() {
        for text in ["x", "xylophone", "x\u{9}"] {
            let content = read(text.as_bytes());
            assert_eq!((content.text(), content.whole, content.damaged), (text, true, false), "{text:?}");
        }
    }

    #[test]
    fn an_answer_may_be_as_large_as_the_cap_and_no_larger() {
        for (length, whole) in [(ANSWER_CAP, true), (ANSWER_CAP + 1, false)] {
            let content = read(&gzip(&vec![b'a'; length]));
            assert_eq!((content.whole, content.text().len()), (whole, ANSWER_CAP), "{length}");
        }
    }

    #[test]
    fn a_decoded_text_never_grows_so_that_no_copy_is_left_behind() {
        assert!(room_for(1000).capacity() >= 3000);
    }

    #[test]
    fn a_packed_text_that_breaks_off_is_not_whole() {
        let packed = gzip(TEXT.as_bytes());

        let content = read(&packed[..packed.len() - 4]);

        assert_eq!((content.text(), content.whole), (TEXT, false), "only its checksum is missing");
        let mut forged = packed.clone();
        forged[packed.len() - 5] ^= 1;
        assert!(!read(&forged).whole, "its checksum is wrong");
    }

    #[test]
    fn what_was_packed_before_a_damage_is_read() {
        // The long texts need more than one window of the decoder; the longest is the largest answer.
        for text in [TEXT.to_owned(), TEXT.repeat(1000), TEXT.repeat(3000), "a".repeat(ANSWER_CAP)] {
            let mut packer = GzEncoder::new(Vec::new(), Compression::default());
            packer.write_all(text.as_bytes()).unwrap();
            packer.flush().unwrap();
            let packed = packer.get_ref().clone();

            // An error page, invalid bytes, or a block of an invalid type follows.
            for damage in [&b"<html>502</html>"[..], &[0xff; 20], &[0x07]] {
                let content = read(&[&packed[..], damage].concat());

                assert_eq!(content.text().len(), text.len(), "{damage:?}");
                assert!(content.text() == text && !content.whole, "{damage:?}");

                // After a complete member (RFC 1952 §2.2).
                let first = "{}".repeat(500);
                let content = read(&[&gzip(first.as_bytes()), &packed[..], damage].concat());
                assert_eq!(content.text().len(), ANSWER_CAP.min(first.len() + text.len()), "{damage:?}");
            }
        }
    }

    #[test]
    fn unpacked_it_is_no_larger_than_an_answer_may_be() {
        let bomb = gzip(&vec![b' '; 10 << 20]);

        let content = read(&bomb);

        assert!(!content.whole && content.text().len() <= ANSWER_CAP, "{}", content.text().len());
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        for bytes in [&b"{\"a\":\"\xff\"}"[..], b"\xfe\xff\xd8\x00", b"\xfe\xff\0{\0"] {
            assert!(read(bytes).damaged, "{bytes:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_was_unpacked_is_wiped() {
        let canary = "unpacked-canary-91c27fd0-".repeat(8);
        for bytes in [gzip(canary.as_bytes()), utf16(&canary, u16::to_le_bytes), canary.clone().into_bytes()] {
            let content = read(&bytes);
            let place = crate::test_memory::left_of(content.text().as_bytes());
            assert!(place.holds(b"unpacked-canary-91c27fd0"), "the test looks at the right place");

            drop(content);

            assert!(!place.holds(b"unpacked-canary-91c27fd0"));
        }
    }
}
