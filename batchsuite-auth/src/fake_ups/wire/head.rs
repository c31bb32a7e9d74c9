//! The head of an answer on its way from the server to the client.

use std::io::Write as _;

use http::Response;

use super::fault::{self, HEADER, TOLD_CODING, TOLD_LENGTH, WireFault};
use crate::fake_ups::response::front_end;

/// The internal headers and their names on the wire.
const TOLD: [(&str, &[u8]); 2] = [(TOLD_LENGTH, b"content-length: "), (TOLD_CODING, b"transfer-encoding: ")];

/// UPS's clients compare the case of some header names: this one, and `appname` and `displayname`, which servers write
/// unchanged.
const LOCATION: &[u8] = b"Location";

/// The head to send in place of the server's, and the framing of what follows.
pub(super) struct AnswerHead {
    pub(super) bytes: Vec<u8>,
    pub(super) body_length: u64,
    pub(super) fault: Option<WireFault>,
}

impl AnswerHead {
    /// Reads a complete head, including its empty line.
    pub(super) fn read(head: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(head.len());
        let mut told = None;
        let is_untrue = TOLD.iter().any(|(name, _)| has_line_of(head, name));
        let mut content_length = None;
        let mut has_coding = false;
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            let (name, value) = match line.iter().position(|byte| *byte == b':') {
                Some(colon) => (&line[..colon], line[colon + 1..].trim_ascii()),
                None => (line, &line[..0]),
            };
            if name.eq_ignore_ascii_case(HEADER.as_bytes()) {
                told = std::str::from_utf8(value).ok().and_then(fault::parse);
                continue;
            }
            if let Some((_, told)) = TOLD.iter().find(|(told, _)| name.eq_ignore_ascii_case(told.as_bytes())) {
                bytes.extend([told, value, b"\r\n"].concat());
                continue;
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                content_length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                if is_untrue {
                    continue;
                }
            }
            has_coding |= name.eq_ignore_ascii_case(b"transfer-encoding");
            let name = if name.eq_ignore_ascii_case(LOCATION) { LOCATION } else { name };
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&line[name.len()..]);
        }
        let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
        let (told_length, fault) = told.unzip();
        let body_length = match (status, told_length) {
            // An interim answer, or one that never has a body (RFC 9110 §6.4.1).
            (Some(100..200 | 204 | 304), _) => 0,
            // Its length on the wire differs; the answer is the last on its connection.
            _ if has_coding => u64::MAX,
            (_, Some(length)) => length,
            // The server's own refusal.
            (Some(status @ 400..), None) if content_length == Some(0) => {
                return Self { bytes: page(&front_end(status)), body_length: 0, fault: None };
            }
            // Without a length the body extends to the end of the connection.
            _ => content_length.unwrap_or(u64::MAX),
        };
        Self { bytes, body_length, fault: fault.flatten() }
    }
}

/// Whether a head has a header of this name.
fn has_line_of(head: &[u8], name: &str) -> bool {
    let is_named =
        |line: &[u8]| line.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
    head.split(|byte| *byte == b'\n').any(is_named)
}

/// The complete last answer on a connection.
pub(super) fn page(response: &Response<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let status = response.status();
    let _ = write!(bytes, "HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in response.headers() {
        let _ = write!(bytes, "{name}: ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let _ = write!(bytes, "content-length: {}\r\nconnection: close\r\n\r\n", response.body().len());
    bytes.extend_from_slice(response.body());
    bytes
}

/// The position in `bytes` where the head begun in `before` ends.
pub(super) fn end_of_head(before: &[u8], bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    // The end may have started in `before`. The earliest one counts: a body may begin with line breaks.
    let kept = &before[before.len().saturating_sub(END.len() - 1)..];
    for split in (1..=kept.len()).rev() {
        let begun = &kept[kept.len() - split..];
        if let Some(rest) = END.strip_prefix(begun).filter(|rest| bytes.starts_with(rest)) {
            return Some(rest.len());
        }
    }
    bytes.windows(END.len()).position(|window| window == END).map(|at| at + END.len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_header_tells_length_and_fault_and_is_taken_off() {
        for fault in [
            None,
            Some(WireFault::Reset),
            Some(WireFault::Close),
            Some(WireFault::Hang),
            Some(WireFault::Truncate { keep_bytes: 12 }),
            Some(WireFault::Trickle { pause: Duration::from_millis(3) }),
        ] {
            let value = fault::header_value(7, fault);
            for line in [HEADER.to_owned(), HEADER.to_uppercase()] {
                let head = format!("HTTP/1.1 200 OK\r\na: b\r\n{line}: {}\r\nc: d\r\n\r\n", value.to_str().unwrap());

                let answer = AnswerHead::read(head.as_bytes());

                assert_eq!((answer.body_length, answer.fault), (7, fault));
                assert_eq!(answer.bytes, b"HTTP/1.1 200 OK\r\na: b\r\nc: d\r\n\r\n");
            }
        }
    }

    #[test]
    fn location_is_written_as_ups_writes_it_and_all_else_as_the_server_does() {
        let head =
            b"HTTP/1.1 302 Found\r\nlocation: http://a/?location:b\r\nappname: Location\r\nx-fake-ups-wire: 0\r\n\r\n";

        let written = String::from_utf8(AnswerHead::read(head).bytes).unwrap();

        assert_eq!(written, "HTTP/1.1 302 Found\r\nLocation: http://a/?location:b\r\nappname: Location\r\n\r\n");
    }

    #[test]
    fn a_refusal_of_the_servers_own_gets_a_page_and_an_interim_answer_passes() {
        let refusal = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let written = String::from_utf8(AnswerHead::read(refusal).bytes).unwrap();
        let (head, body) = written.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())) && body.contains("431"), "{written}");

        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let answer = AnswerHead::read(interim);
        assert_eq!((answer.bytes.as_slice(), answer.body_length), (&interim[..], 0));
    }

    #[test]
    fn a_head_ends_at_its_empty_line_however_it_is_cut() {
        for body in [&b"body\r\n\r\n"[..], b"\r\n\r\nbody", b""] {
            let answer = [b"HTTP/1.1 200 OK\r\na: b\r\n\r\n", body].concat();
            let end = answer.len() - body.len();
            for cut in 0..end {
                assert_eq!(end_of_head(&answer[..cut], &answer[cut..]), Some(end - cut), "{cut} {body:?}");
                assert_eq!(end_of_head(&answer[..cut], &answer[cut..end - 1]), None, "{cut} {body:?}");
            }
        }
    }
}
