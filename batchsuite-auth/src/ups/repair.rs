//! Repairs small faults in JSON: the faults that servers make most often must not cost a pair.

use zeroize::Zeroizing;

/// `text` as valid JSON (RFC 8259), without small faults: control characters inside or outside strings, invalid
/// escapes, trailing commas. `None`: it has none of these faults.
pub(super) fn repaired(text: &str) -> Option<Zeroizing<String>> {
    // Each byte becomes at most six, so the string never reallocates.
    let mut json = Zeroizing::new(String::with_capacity(text.len() * 6));
    let mut characters = text.chars();
    let (mut is_inside, mut is_other) = (false, false);
    while let Some(character) = characters.next() {
        match (is_inside, character) {
            (true, '\\') => match characters.next() {
                Some(escaped @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u')) => json.extend(['\\', escaped]),
                Some(other) => {
                    is_other = true;
                    push(&mut json, other);
                }
                None => json.push('\\'),
            },
            (true, control) if control.is_ascii_control() => {
                is_other = true;
                push(&mut json, control);
            }
            (false, control) if control.is_control() && !control.is_ascii_whitespace() => {
                is_other = true;
                json.push(' ');
            }
            (false, ',') if is_end(characters.as_str()) => is_other = true,
            (_, character) => {
                is_inside ^= character == '"';
                json.push(character);
            }
        }
    }
    is_other.then_some(json)
}

fn push(json: &mut String, character: char) {
    if character.is_ascii_control() {
        json.push_str(&format!("\\u{:04x}", u32::from(character)));
    } else {
        json.push(character);
    }
}

/// Whether the next significant character ends an object or a list.
fn is_end(rest: &str) -> bool {
    rest.trim_start_matches(|c: char| c.is_whitespace() || c.is_control()).starts_with(['}', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_like_json_becomes_json() {
        for (text, expected) in [
            ("{\"a\":\"x\ny\0\t\u{7f}\"}", "{\"a\":\"x\ny\0\t\u{7f}\"}"),
            ("{\"a\"\0:\u{b}\"x\"\u{85}}", "{\"a\":\"x\"}"),
            (r#"{"a":"\x\'\q\"\\"}"#, r#"{"a":"x'q\"\\"}"#),
            ("{\"a\":\"x\\\ny\"}", "{\"a\":\"x\ny\"}"),
            (r#"{"a":"x,}",}"#, r#"{"a":"x,}"}"#),
            ("{\"a\":[1,2, \n] , }", "{\"a\":[1,2]}"),
        ] {
            let json = repaired(text).unwrap();
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();

            // Escaped by hand: the expected text has raw control characters, which JSON does not allow.
            let expected = expected.replace('\n', "\\n").replace('\0', "\\u0000").replace('\t', "\\t");
            assert_eq!(read, serde_json::from_str::<serde_json::Value>(&expected).unwrap(), "{text:?}");
        }
    }

    #[test]
    fn json_and_what_is_far_from_it_stay_as_they_are() {
        for text in ["", "{", "{}", r#"{"a":"\n\u0000,}"}"#, "<html>", "{\"a\":\"x", "{\"a\":\"x\\"] {
            assert!(repaired(text).is_none(), "{text:?}");
        }
    }
}
