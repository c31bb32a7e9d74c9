//! Answers that echo secrets of the request.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use batchsuite_auth::{
    clock::Timestamp,
    test_util::ups::{Arrived, judged},
};
use http::{Response, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use crate::{
    answer::is_presentable,
    input::{SEPARATOR, shows},
};

/// The secrets of a request: made up, with the formats of UPS's refresh token, a code, a client's secret and its Basic
/// header.
const SENT: [&str; 4] = [
    "V2tKZ1pXaHBibVZ6WlM5MFpYTjBMV1oxZW5vPS1mdXp6LXRva2VuLW9uZQ==",
    "Zm9ydHkrdHdvL2NvZGU9ZnV6ei1jb2RlLTQyLWFCY0RlRmdI",
    "s3cr3t/of+the=client~Fuzz_0123456789",
    "aWQ6czNjcjN0L29mK3RoZT1jbGllbnR+RnV6el8wMTIzNDU2Nzg5",
];
/// A match of this many characters is not a coincidence.
const RUN: usize = 12;

/// Input: a program that writes the message of a refusal. Each part between separators is text or an instruction. An
/// instruction is `@`, the number of a secret, the start and the length of a piece (each a letter from `a` on; lengths
/// count from 12), and up to two encodings, or one of hexadecimal and reversed alone (`p` percent, `q` percent of every
/// byte, `h` HTML, `j` JSON within JSON, `u` JSON's numbers, `b` base64, `l` base64 for URLs, `x` hexadecimal, `s` with
/// blanks between, `z` with invisible characters between, `r` reversed, `c` the other case).
///
/// - The evidence shows no twelve characters of a secret, in either case, even if only letters and digits count.
/// - The evidence does not contain the piece in the encoding in which it was echoed.
/// - The evidence is short and printable.
pub fn echoed_secrets(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > 2048 {
        return;
    }
    let mut message = String::new();
    let mut repeated = Vec::new();
    for part in text.split(char::from(SEPARATOR)) {
        match piece(part) {
            Some(piece) => {
                message.push_str(&piece);
                repeated.push(piece);
            }
            None => message.push_str(part),
        }
    }
    for body in [
        json!({"response": {"errors": [{"code": "10400", "message": message}]}}),
        json!({"error": message, "error_description": "x"}),
    ] {
        let evidence = judged(Arrived {
            is_refresh: true,
            response: response(body.to_string()),
            is_whole: true,
            sent: &SENT,
            client_id: "id",
            now: Timestamp::UNIX_EPOCH,
        });
        let evidence = evidence.evidence.unwrap_or_else(|| panic!("a refusal without evidence"));
        is_presentable(&evidence);
        let shown = [evidence.code, evidence.message].map(Option::unwrap_or_default).join(" ");
        shows_no_secret(&shown, &repeated);
    }
}

fn response(body: String) -> Response<Vec<u8>> {
    let mut response = Response::new(body.into_bytes());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn shows_no_secret(shown: &str, repeated: &[String]) {
    let bare = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    for secret in SENT {
        assert!(!shows(&shown.to_ascii_lowercase(), &secret.to_ascii_lowercase(), RUN), "a secret is shown: {shown}");
        assert!(!shows(&bare(shown), &bare(secret), RUN), "a secret's letters are shown: {shown}");
    }
    for piece in repeated {
        assert!(!shown.contains(piece.as_str()), "a secret is shown in its encoding: {shown}");
    }
}

/// The text that an instruction echoes. `None`: the part is not an instruction.
fn piece(instruction: &str) -> Option<String> {
    let [b'@', secret, start, length, encodings @ ..] = instruction.as_bytes() else { return None };
    let number = |letter: &u8| letter.checked_sub(b'a').filter(|number| *number < 26).map(usize::from);
    let secret = SENT.get(number(secret)?)?;
    let start = number(start)?;
    let end = (start + RUN + number(length)?).min(secret.len());
    let piece = secret.get(start..end).filter(|piece| piece.len() >= RUN)?;
    // These two encodings change every character and are decoded alone: the library does not look for a second encoding
    // inside them.
    if encodings.len() > 2 || encodings.len() == 2 && encodings.iter().any(|encoding| b"xr".contains(encoding)) {
        return None;
    }
    encodings.iter().try_fold(piece.to_owned(), |piece, encoding| encoded(&piece, *encoding))
}

fn encoded(text: &str, encoding: u8) -> Option<String> {
    let each = |written: &dyn Fn(char) -> String| text.chars().map(written).collect::<String>();
    Some(match encoding {
        b'p' => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        b'q' => each(&|c| c.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect()),
        b'h' => each(&|c| format!("&#{};", u32::from(c))),
        b'j' => json!(text).to_string(),
        b'u' => each(&|c| format!("\\u{:04x}", u32::from(c).min(0xffff))),
        b'b' => STANDARD.encode(text),
        b'l' => URL_SAFE_NO_PAD.encode(text),
        b'x' => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        b's' => each(&|c| format!("{c} ")),
        b'z' => each(&|c| format!("{c}\u{200b}")),
        b'r' => text.chars().rev().collect(),
        b'c' => {
            each(&|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }.to_string())
        }
        _ => return None,
    })
}
