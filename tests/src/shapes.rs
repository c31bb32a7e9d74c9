//! The encodings in which a secret can appear.

use std::fmt::Write;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// A secret in every encoding in which it could appear: as it is, in hexadecimal, and inside the base64 of a longer
/// text.
pub fn shapes(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    // Inside, it has one of three encodings, depending on its offset; the characters that also encode its neighbours
    // are dropped.
    let inside = (0..3).flat_map(|before| {
        let text = [&b"??"[..before], secret.as_bytes()].concat();
        [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)].map(|text| text[4..text.len() - 2].to_owned())
    });
    [secret.to_owned(), hex.clone(), hex.to_uppercase()].into_iter().chain(inside).collect()
}
