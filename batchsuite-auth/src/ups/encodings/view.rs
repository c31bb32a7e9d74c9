//! One reading of a text, byte by byte.

use std::ops::Range;

use zeroize::Zeroizing;

/// One reading of a text. It may hold secrets: wiped when it is dropped.
pub(in crate::ups) struct View {
    pub(in crate::ups) bytes: Zeroizing<Vec<u8>>,
    /// From which bytes of the text each one was read.
    pub(in crate::ups) source: Vec<Range<usize>>,
    /// It reads as text: no words were joined, nothing was taken for base64.
    pub(in crate::ups) is_plain: bool,
}

impl View {
    /// The text as it is.
    pub(in crate::ups) fn of(text: &str) -> Self {
        let source = (0..text.len()).map(|index| index..index + 1).collect();
        Self { bytes: text.as_bytes().to_vec().into(), source, is_plain: true }
    }

    /// An empty one that never outgrows its room.
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

    /// Marks the bytes of the text from which these were read, and the bytes between them.
    pub(in crate::ups) fn mark(&self, range: Range<usize>, marks: &mut [bool]) {
        let source = &self.source[range];
        let start = source.iter().map(|place| place.start).min();
        let end = source.iter().map(|place| place.end).max();
        if let (Some(start), Some(end)) = (start, end) {
            marks[start..end].fill(true);
        }
    }
}
