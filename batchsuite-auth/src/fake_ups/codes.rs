//! The fake's authorization codes.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::letters;
use crate::random;

/// A code in the recorded format: 132 characters, the base64 of 8 alphanumerics, `-`, and the base64 of 64 bytes. Its
/// number is its key in the table of codes.
pub(super) fn new() -> (u64, String) {
    let mut blob = [0; 64];
    random::fill(&mut blob);
    let mut text = [0; 97];
    text[..8].copy_from_slice(&letters::random::<8>());
    text[8] = b'-';
    let _ = STANDARD.encode_slice(blob, &mut text[9..]);
    let code = STANDARD.encode(text);
    (number(&code).unwrap_or_default(), code)
}

/// The number of a code; `None` if the text cannot be a code.
pub(super) fn number(code: &str) -> Option<u64> {
    let bytes = STANDARD.decode(code.get(..12)?).ok()?;
    Some(bytes.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte)))
}
