//! Carries a fault from the answer to the connection, in a header.

use std::time::Duration;

use http::HeaderValue;

/// A fault that an answer suffers on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireFault {
    /// The connection is reset before any byte.
    Reset,
    /// The connection is closed before any byte.
    Close,
    /// Nothing arrives, and the connection stays open.
    Hang,
    /// The connection closes after this many bytes of the body.
    Truncate {
        /// Fewer than the body has.
        keep_bytes: usize,
    },
    /// The answer arrives one byte at a time.
    Trickle {
        /// The pause before each byte.
        pause: Duration,
    },
}

/// The header with the body's length and the fault; never sent to a client.
pub(in crate::fake_ups) const HEADER: &str = "x-fake-ups-wire";

/// The header with the length to declare to the client if it differs from the body's; never sent to a client.
pub(in crate::fake_ups) const TOLD_LENGTH: &str = "x-fake-ups-told-length";

/// The same for a declared `Transfer-Encoding` that the body does not use.
pub(in crate::fake_ups) const TOLD_CODING: &str = "x-fake-ups-told-coding";

/// The header's value: the body's length, and the fault if there is one.
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

/// Parses the output of [`header_value`].
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
