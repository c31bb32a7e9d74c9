//! One decoding of a text.

use std::ops::Range;

use zeroize::Zeroizing;

/// One decoding of a text. It may hold secrets, so it is wiped on drop.
pub(in crate::ups) struct View {
    pub(in crate::ups) bytes: Zeroizing<Vec<u8>>,
    /// The source range of each byte in the original text.
    pub(in crate::ups) source: Vec<Range<usize>>,
    /// Whether it reads as text: no words were joined and no base64 was decoded.
    pub(in crate::ups) is_plain: bool,
}

impl View {
    /// The original text.
    pub(in crate::ups) fn of(text: &str) -> Self {
        let source = (0..text.len()).map(|index| index..index + 1).collect();
        Self { bytes: text.as_bytes().to_vec().into(), source, is_plain: true }
    }

    /// An empty view that never reallocates within `bytes`.
    pub(in crate::ups) fn with_room(bytes: usize, is_plain: bool) -> Self {
        Self { bytes: Vec::with_capacity(bytes).into(), source: Vec::with_capacity(bytes), is_plain }
    }

    pub(in crate::ups) fn push(&mut self, byte: u8, source: Range<usize>) {
        self.bytes.push(byte);
        self.source.push(source);
    }

    pub(super) fn push_char(&mut self, character: char, source: &Range<usize>) {
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            self.push(byte, source.clone());
        }
    }

    /// Marks the source of these bytes in the original text, including any bytes between them.
    pub(in crate::ups) fn mark(&self, range: Range<usize>, marks: &mut [bool]) {
        let source = &self.source[range];
        let start = source.iter().map(|place| place.start).min();
        let end = source.iter().map(|place| place.end).max();
        if let (Some(start), Some(end)) = (start, end) {
            marks[start..end].fill(true);
        }
    }
}
