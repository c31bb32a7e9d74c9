//! A fault on its way from the answer to the connection, in a header between them.

use std::time::Duration;

use http::HeaderValue;

/// What happens to an answer on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireFault {
    /// The connection is reset without a byte of it.
    Reset,
    /// The connection is closed without a byte of it.
    Close,
    /// Nothing comes, and the connection stays open.
    Hang,
    /// The connection closes after so many bytes of the body.
    Truncate {
        /// Fewer than the body has.
        keep_bytes: usize,
    },
    /// It comes one byte at a time.
    Trickle {
        /// The pause before each byte.
        pause: Duration,
    },
}

/// The header in which an answer tells its body's length and its fault; no client ever sees it.
pub(in crate::fake_ups) const HEADER: &str = "x-fake-ups-wire";

/// The header in which an answer tells the length that the client is to believe, where it is not its body's; no client sees it either.
pub(in crate::fake_ups) const TOLD_LENGTH: &str = "x-fake-ups-told-length";

/// The same for a `Transfer-Encoding` in which the body is not.
pub(in crate::fake_ups) const TOLD_CODING: &str = "x-fake-ups-told-coding";

/// What the header tells: the body's length, and the fault if there is one.
pub(in crate::fake_ups) fn header_value(body_length: usize, fault: Option<WireFault>) -> HeaderValue {
    let Some(fault) = fault else { return body_length.into() };
    let value = match fault {
        WireFault::Reset => format!("{body_length} reset"),
        WireFault::Close => format!("{body_length} close"),
        WireFault::Hang => format!("{body_length} hang"),
        WireFault::Truncate { keep_bytes } => format!("{body_length} truncate {keep_bytes}"),
        WireFault::Trickle { pause } => format!("{body_length} trickle {}", pause.as_millis()),
    };
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("0 reset"))
}

/// Reads what [`header_value`] wrote.
pub(super) fn parse(value: &str) -> Option<(u64, Option<WireFault>)> {
    let mut words = value.split(' ');
    let body_length = words.next()?.parse().ok()?;
    let fault = match (words.next(), words.next()) {
        (None, _) => None,
        (Some("reset"), None) => Some(WireFault::Reset),
        (Some("close"), None) => Some(WireFault::Close),
        (Some("hang"), None) => Some(WireFault::Hang),
        (Some("truncate"), Some(bytes)) => Some(WireFault::Truncate { keep_bytes: bytes.parse().ok()? }),
        (Some("trickle"), Some(pause)) => {
            Some(WireFault::Trickle { pause: Duration::from_millis(pause.parse().ok()?) })
        }
        _ => return None,
    };
    Some((body_length, fault))
}
