//! How long a server asks to wait.

use std::time::Duration;

use chrono::DateTime;
use http::{HeaderMap, header::RETRY_AFTER};

use crate::clock::{Timestamp, remaining};

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        remaining(DateTime::parse_from_rfc2822(value).ok()?.to_utc(), now)
    };
    (!pause.is_zero()).then_some(pause)
}
