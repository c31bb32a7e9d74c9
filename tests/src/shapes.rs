//! The shapes in which a secret can be found.

use std::fmt::Write;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// A secret in the shapes in which it could be found: as it is, in hexadecimal, and inside a base64 of more than it.
pub fn shapes(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    // Inside, it has one of three shapes, by where it begins; what its neighbours have a part in is left out.
    let inside = (0..3).flat_map(|before| {
        let text = [&b"??"[..before], secret.as_bytes()].concat();
        [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)].map(|text| text[4..text.len() - 2].to_owned())
    });
    [secret.to_owned(), hex.clone(), hex.to_uppercase()].into_iter().chain(inside).collect()
}
