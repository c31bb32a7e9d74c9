//! UPS's answers to an exchange and to a refresh.

use std::{io::Write as _, time::Duration};

use batchsuite_auth::{
    clock::Timestamp,
    events::Evidence,
    test_util::ups::{ASSUMED_LIFETIME, Arrived, Tokens, Verdict, judged},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

use crate::input::{Options, parts};

/// Ten years. A longer lifetime in an answer is ignored.
const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
const CLIENT_ID: &str = "fuzz-client";

/// Input: status and options, `Retry-After`, body. The options: `x` an exchange, otherwise a refresh; `b` the answer is
/// truncated; `z` also tries the gzipped body; `t` also tries the body with trailing bytes.
///
/// - Only a 2xx yields tokens: at least one token, each fit to be sent, with a lifetime of at most ten years.
/// - A 2xx whose body is a JSON object with a refresh token (as `serde_json` reads it) yields a pair with exactly that
///   token, or reports that the token cannot be sent. The same holds if the answer is truncated after the token,
///   gzipped, or followed by other bytes.
/// - A refusal needs a 400 or a 2xx, and a text that refuses: no other answer can end an opt-in.
/// - 5xx and 3xx are unanswered, 429 pauses, 401 and 403 concern the client. A truncated answer without a pair is
///   unanswered.
/// - The recorded evidence is short and printable.
pub fn token_answer(data: &[u8]) {
    let [options, retry_after, body] = parts::<3>(data);
    let Some(answer) = Answer::of(options, retry_after, body) else { return };
    let verdict = answer.judged(body.to_vec());
    if let Some(evidence) = &verdict.evidence {
        is_presentable(evidence);
    }
    match &verdict.pair {
        Some(pair) => is_usable(pair),
        None => assert_ne!(verdict.outcome, "pair"),
    }
    answer.fits(&verdict, body);
    answer.keeps_the_refresh_token(&verdict, body);
    if answer.options.has(b'z') && !is_packed(body) && body.len() < 4096 {
        let packed = answer.judged(packed(body));
        assert_eq!(told(&packed), told(&verdict), "compression changes the verdict");
    }
    if answer.options.has(b't') && !is_packed(body) && !wide(body) {
        answer.keeps_the_refresh_token(&answer.judged([body, b"\0<html>"].concat()), body);
    }
}

struct Answer<'a> {
    options: Options<'a>,
    status: StatusCode,
    retry_after: Option<HeaderValue>,
}

impl<'a> Answer<'a> {
    fn of(options: &'a [u8], retry_after: &[u8], body: &[u8]) -> Option<Self> {
        let status = options.get(..3).and_then(|digits| StatusCode::from_bytes(digits).ok())?;
        let retry_after = HeaderValue::from_bytes(retry_after).ok().filter(|value| !value.is_empty());
        // The HTTP client truncates bodies at this length.
        (body.len() <= 64 * 1024).then_some(Self { options: Options(&options[3..]), status, retry_after })
    }

    fn judged(&self, body: Vec<u8>) -> Verdict {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        if let Some(value) = &self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, value.clone());
        }
        judged(Arrived {
            is_refresh: !self.options.has(b'x'),
            response,
            is_whole: !self.options.has(b'b'),
            sent: &[],
            client_id: CLIENT_ID,
            now: Timestamp::UNIX_EPOCH,
        })
    }

    fn fits(&self, verdict: &Verdict, body: &[u8]) {
        let (status, outcome) = (self.status.as_u16(), verdict.outcome);
        let allowed: &[&str] = match status {
            200..300 => &["pair", "refused", "misconfigured", "rate_limited", "unknown", "unanswered"],
            _ if self.options.has(b'b') => &["unanswered"],
            400 => &["refused", "misconfigured", "unknown"],
            401 => &["misconfigured"],
            403 => &["blocked"],
            408 => &["unanswered"],
            429 => &["rate_limited"],
            402.. if self.status.is_client_error() => &["unknown"],
            _ => &["unanswered"],
        };
        assert!(allowed.contains(&outcome), "{status} is {outcome}");
        if self.options.has(b'b') {
            assert!(matches!(outcome, "pair" | "unanswered"), "a truncated answer is {outcome}");
        }
        if outcome == "refused" && !is_packed(body) && !wide(body) {
            assert!(self.has_words_of_refusal(body), "no text in the body refuses");
        }
        assert!(verdict.pause.is_none_or(|pause| !pause.is_zero() && self.retry_after.is_some()));
    }

    /// Whether some text in the body refuses a token or a code.
    fn has_words_of_refusal(&self, body: &[u8]) -> bool {
        let text = String::from_utf8_lossy(body);
        let words = if self.options.has(b'x') {
            &["invalid_grant", "invalid authorization code"][..]
        } else {
            &["invalid_grant", "invalid refresh token", "invalid/missing refresh token"]
        };
        match serde_json::from_str::<Value>(text.strip_prefix('\u{feff}').unwrap_or(&text)) {
            Ok(value) => any_text(&value, &|text| {
                words.contains(&text.trim().trim_end_matches('.').to_ascii_lowercase().as_str())
            }),
            // JSON with small faults, or with values that `Value` cannot represent.
            Err(_) => {
                let text = without_escapes(&text).to_ascii_lowercase();
                words.iter().any(|words| text.contains(words))
            }
        }
    }

    fn keeps_the_refresh_token(&self, verdict: &Verdict, body: &[u8]) {
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(body) else { return };
        let Some(token) = object.get("refresh_token").and_then(Value::as_str).filter(|token| !token.is_empty()) else {
            return;
        };
        if self.status.is_success() {
            let pair = verdict.pair.as_ref().unwrap_or_else(|| panic!("a refresh token is lost"));
            assert_eq!(pair.refresh_token.as_deref(), Some(token), "the refresh token differs");
        }
    }
}

fn is_usable(pair: &Tokens) {
    assert!(pair.access_token.is_some() || pair.refresh_token.is_some(), "no token");
    if let Some(token) = &pair.access_token {
        assert!(!token.is_empty() && HeaderValue::from_str(&format!("Bearer {token}")).is_ok(), "not a header value");
        assert!(!pair.access_lifetime.is_zero(), "the access token has no lifetime");
    }
    assert!(pair.access_lifetime <= LONGEST_LIFETIME.max(ASSUMED_LIFETIME));
    assert!(pair.refresh_token.as_ref().is_none_or(|token| !token.is_empty() && !pair.erases_refresh_token));
    assert!(pair.refresh_lifetime.is_none_or(|lifetime| !lifetime.is_zero() && lifetime <= LONGEST_LIFETIME));
    assert!(pair.issued_at.is_none_or(|at| (2000..2200).contains(&at.format("%Y").to_string().parse().unwrap_or(0))));
    let told = format!("{:?}", pair.oddities);
    assert!(pair.oddities.len() <= 12 && told.is_ascii(), "{told}");
}

/// The recorded evidence is printable and short.
pub(crate) fn is_presentable(evidence: &Evidence) {
    for (text, most) in [(&evidence.code, 40), (&evidence.message, 200)] {
        let Some(text) = text else { continue };
        assert!(text.chars().count() <= most, "{} characters", text.chars().count());
        let moves = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        assert!(!text.chars().any(|c| c.is_control() || moves(c)), "{text:?}");
    }
}

fn any_text(value: &Value, is: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, is)),
        Value::Object(fields) => fields.values().any(|value| any_text(value, is)),
        _ => false,
    }
}

/// A text with the characters that its escapes stand for; a backslash alone is left out.
fn without_escapes(text: &str) -> String {
    let mut pieces = text.split('\\');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.strip_prefix('u').and_then(|rest| rest.get(..4));
        match code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32) {
            Some(character) => plain.extend([&*character.to_string(), &piece[5..]]),
            None => plain.push_str(piece),
        }
    }
    plain
}

/// Whether the library decompresses this body.
fn is_packed(body: &[u8]) -> bool {
    matches!(body, [0x1f, 0x8b, ..]) || matches!(body, [0x78, second, ..] if (0x7800 + u16::from(*second)) % 31 == 0)
}

/// Whether the library reads this body as UTF-16 or UTF-32: it has a byte order mark, or a NUL among its first four
/// bytes.
fn wide(body: &[u8]) -> bool {
    matches!(body, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || body.iter().take(4).any(|byte| *byte == 0)
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(body).and_then(|()| packer.finish()).unwrap_or_else(|error| panic!("gzip: {error}"))
}

/// A verdict in a form that can be compared.
fn told(verdict: &Verdict) -> String {
    format!("{verdict:?}")
}
