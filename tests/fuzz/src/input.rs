//! Splitting a target's input: text wherever possible, so that people can read and write a corpus.

/// Separates the parts of an input. No parser needs this byte.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// The first `N` parts of an input. Missing parts are empty, and the last part contains the rest.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == SEPARATOR);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The same, if the whole input is text.
pub(crate) fn texts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let text = std::str::from_utf8(data).ok()?;
    let mut parts = text.splitn(N, char::from(SEPARATOR));
    Some(std::array::from_fn(|_| parts.next().unwrap_or_default()))
}

/// Options at the beginning of an input, one letter each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a>(pub(crate) &'a [u8]);

impl Options<'_> {
    pub(crate) fn has(self, letter: u8) -> bool {
        self.0.contains(&letter)
    }
}

/// Whether `text` contains `secret`, or `run` consecutive characters of it.
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
