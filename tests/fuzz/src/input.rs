//! How a target takes its input apart: as text wherever it can be, so that people can read and write a corpus.

/// Ends a part of an input. No input of a parser needs it.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// The first `N` parts of an input; those that are missing are empty, and the last one has all the rest.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == SEPARATOR);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The same, if all of it is text.
pub(crate) fn texts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let text = std::str::from_utf8(data).ok()?;
    let mut parts = text.splitn(N, char::from(SEPARATOR));
    Some(std::array::from_fn(|_| parts.next().unwrap_or_default()))
}

/// Options in letters, at the beginning of an input: whether one of them is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a>(pub(crate) &'a [u8]);

impl Options<'_> {
    pub(crate) fn has(self, letter: u8) -> bool {
        self.0.contains(&letter)
    }
}

/// Whether `text` shows `secret`, or so many characters of it in a row.
pub(crate) fn shows(text: &str, secret: &str, run: usize) -> bool {
    let secret: Vec<char> = secret.chars().collect();
    let run = run.min(secret.len());
    run > 0 && secret.windows(run).any(|piece| text.contains(&piece.iter().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_taken_apart() {
        assert_eq!(parts::<3>(b"a\x1eb"), [&b"a"[..], b"b", b""]);
        assert_eq!(texts::<2>(b"a\x1eb\x1ec"), Some(["a", "b\u{1e}c"]));
        assert_eq!(texts::<2>(b"\xff"), None);
        assert!(shows("xx cret", "secret", 4) && !shows("xx ret", "secret", 4));
    }
}
