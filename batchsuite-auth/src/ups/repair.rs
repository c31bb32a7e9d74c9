//! Repairs small faults in JSON: the faults that servers make most often must not cost a pair.

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

/// `text` as valid JSON (RFC 8259), without small faults: control characters inside or outside strings, invalid
/// escapes, trailing commas, missing values, and words and numbers that JSON does not have. `None`: it has none of these
/// faults.
pub(super) fn repaired(text: &str) -> Option<Zeroizing<String>> {
    // Each byte becomes at most six, so the string never reallocates.
    let mut json = Zeroizing::new(String::with_capacity(text.len() * 6));
    let mut characters = text.chars();
    let (mut is_inside, mut is_other) = (false, false);
    while let Some(character) = characters.next() {
        match (is_inside, character) {
            (true, '\\') => match characters.next() {
                // A path of Windows, for example.
                Some('u') if !has_code(characters.as_str()) => {
                    is_other = true;
                    json.push_str(r"\\u");
                }
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
            (false, ',') if significant(characters.as_str()).starts_with(['}', ']']) => is_other = true,
            (false, ':') if significant(characters.as_str()).starts_with([',', '}']) => {
                is_other = true;
                json.push_str(":null");
            }
            (false, ':' | ',' | '[') => {
                json.push(character);
                if let Some((word, rest)) = invalid_word(significant(characters.as_str())) {
                    is_other = true;
                    characters = rest.chars();
                    // A number keeps its text. A word, e.g. NaN, never becomes a token.
                    let is_number = word.trim_start_matches(['+', '-', '.']).starts_with(|c: char| c.is_ascii_digit());
                    json.extend(if is_number { ["\"", word, "\""] } else { ["null", "", ""] });
                }
            }
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

/// Whether four hexadecimal digits follow.
fn has_code(rest: &str) -> bool {
    rest.len() >= 4 && rest.bytes().take(4).all(|byte| byte.is_ascii_hexdigit())
}

fn significant(rest: &str) -> &str {
    rest.trim_start_matches(|c: char| c.is_whitespace() || c.is_control())
}

/// The word or number with which `rest` begins, if it is no JSON; and what follows it.
fn invalid_word(rest: &str) -> Option<(&str, &str)> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.')).unwrap_or(rest.len());
    let (word, rest) = rest.split_at(end);
    (!word.is_empty() && serde_json::from_str::<IgnoredAny>(word).is_err()).then_some((word, rest))
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
            (r#"{"a":"C:\users\u12\u","\u\"":1}"#, r#"{"a":"C:\\users\\u12\\u","\\u\"":1}"#),
            (r#"{"a":"\u00e9\ux"}"#, r#"{"a":"\u00e9\\ux"}"#),
            (r#"{"a":NaN,"b":[-Infinity,true,1.5e3,None]}"#, r#"{"a":null,"b":[null,true,1.5e3,null]}"#),
            (r#"{"a":007,"b":[.5,+1],"c":-01}"#, r#"{"a":"007","b":[".5","+1"],"c":"-01"}"#),
            (r#"{"a":,"b": ,"c":{"d": }}"#, r#"{"a":null,"b":null,"c":{"d":null}}"#),
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
        for text in
            ["", "{", "{}", r#"{"a":"\n\u0000,}"}"#, r#"[true,-1.5E+3,null]"#, "<html>", "{\"a\":\"x", "{\"a\":\"x\\"]
        {
            assert!(repaired(text).is_none(), "{text:?}");
        }
    }
}
