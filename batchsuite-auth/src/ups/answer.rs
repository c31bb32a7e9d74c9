//! The JSON of a token answer (RFC 6749 §5.1; UPS may write any value as a string).

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Datelike};
use serde::Deserialize;
use serde_json::Value;

use super::{
    content::Content,
    json::{self, Object},
    repair::repaired as repaired_json,
};
use crate::{
    clock::Timestamp,
    secret::{AccessTokenSecret, RefreshToken},
};

/// The longest plausible lifetime. A refresh token's lifetime beyond it counts as unknown; an access token's is cut to
/// it.
pub(crate) const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The defaults for missing fields, and the client id that the answer should name.
#[derive(Clone, Debug, Default)]
pub(crate) struct PairDefaults {
    pub(crate) access_lifetime: Duration,
    pub(crate) client_id: String,
}

/// The usable part of a token answer.
#[derive(Debug)]
pub(crate) struct Pair {
    /// `None`: missing, empty, already expired, not of type Bearer, or not a valid header value.
    pub(crate) access_token: Option<AccessTokenSecret>,
    pub(crate) access_lifetime: Duration,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// UPS sent a refresh token that cannot be sent back.
    pub(crate) erases_refresh_token: bool,
    /// `None`: unknown. Nothing expires then, and UPS is asked.
    pub(crate) refresh_lifetime: Option<Duration>,
    /// By UPS's clock.
    pub(crate) issued_at: Option<Timestamp>,
    /// What is odd about the answer, in words for operators; never a value from it.
    pub(crate) oddities: Vec<&'static str>,
}

impl Pair {
    /// Parses an answer; `None` if it is not a JSON object with a token.
    ///
    /// A JSON object shows its own end, so it is complete even if other text follows it or the rest of the answer is
    /// missing. Such an answer is accepted only if it has a refresh token, because UPS has spent the one that was sent.
    pub(super) fn parse(content: &Content, defaults: &PairDefaults) -> Option<Self> {
        let repaired;
        let (fields, is_wrapped, is_faulty) = match Fields::of(content.text()) {
            Some((fields, is_wrapped)) => (fields, is_wrapped, false),
            None => {
                repaired = repaired_json(content.text())?;
                let (fields, is_wrapped) = Fields::of(&repaired)?;
                (fields, is_wrapped, true)
            }
        };
        let access = SentAccess::of(&fields, defaults);
        let refresh = Refresh::of(&fields, content.damaged);
        if (is_wrapped || is_faulty || !content.whole) && matches!(refresh, Refresh::Absent) {
            return None;
        }
        let around =
            [(is_wrapped, "there is text around the JSON"), (is_faulty, "the JSON had small faults")].into_iter();
        let oddities = around.chain(fields.oddities(defaults)).chain(refresh.oddities()).chain(access.oddities());
        let pair = Self {
            oddities: oddities.filter(|(is_odd, _)| *is_odd).map(|(_, words)| words).collect(),
            access_lifetime: access.lifetime,
            access_token: access.usable(),
            erases_refresh_token: matches!(refresh, Refresh::Unusable),
            refresh_token: match refresh {
                Refresh::Usable(token) | Refresh::Odd(token) => Some(token),
                Refresh::Absent | Refresh::Unusable => None,
            },
            refresh_lifetime: match lifetime(&fields, "refresh_token_expires_in") {
                Lifetime::Lasts(lifetime) if lifetime <= LONGEST_LIFETIME => Some(lifetime),
                _ => None,
            },
            issued_at: issued_at(&fields),
        };
        (pair.access_token.is_some() || pair.refresh_token.is_some()).then_some(pair)
    }
}

/// A possible oddity: whether the answer has it, and its description.
type Oddity = (bool, &'static str);

/// The access token of an answer.
struct SentAccess {
    token: Option<AccessTokenSecret>,
    lifetime: Duration,
    is_bearer: bool,
    /// Whether it is a valid header value.
    is_sendable: bool,
}

impl SentAccess {
    fn of(fields: &Fields<'_>, defaults: &PairDefaults) -> Self {
        let token = fields.text("access_token").map(AccessTokenSecret::new);
        Self {
            lifetime: match lifetime(fields, "expires_in") {
                Lifetime::Missing => defaults.access_lifetime,
                Lifetime::Over => Duration::ZERO,
                Lifetime::Lasts(lifetime) => lifetime.min(LONGEST_LIFETIME),
            },
            is_bearer: fields.text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")),
            is_sendable: token.as_ref().is_some_and(AccessTokenSecret::is_sendable),
            token,
        }
    }

    fn oddities(&self) -> [Oddity; 3] {
        [
            (!self.is_bearer, "the token type is not Bearer"),
            (!self.is_sendable, "there is no access token that can be sent"),
            (self.lifetime.is_zero(), "the access token has expired already"),
        ]
    }

    fn usable(self) -> Option<AccessTokenSecret> {
        self.token.filter(|_| self.is_bearer && self.is_sendable && !self.lifetime.is_zero())
    }
}

/// The refresh token of an answer.
enum Refresh {
    /// There is none.
    Absent,
    /// A string that can be sent.
    Usable(RefreshToken),
    /// A value that can be sent but is not a token by RFC 6749 §A.17.
    Odd(RefreshToken),
    /// A value that cannot be sent as it came.
    Unusable,
}

impl Refresh {
    fn of(fields: &Fields<'_>, damaged: bool) -> Self {
        let Some(raw) = fields.raw("refresh_token").filter(|raw| !is_empty(raw)) else { return Self::Absent };
        if is_number(raw) {
            return Self::Odd(RefreshToken::new(raw));
        }
        match fields.text("refresh_token") {
            // Some of its bytes were not valid text.
            Some(token) if damaged && token.contains(char::REPLACEMENT_CHARACTER) => Self::Unusable,
            Some(token) if token.contains(char::is_control) => Self::Odd(RefreshToken::new(token)),
            Some(token) => Self::Usable(RefreshToken::new(token)),
            None => Self::Unusable,
        }
    }

    fn oddities(&self) -> [Oddity; 2] {
        [
            (matches!(self, Self::Odd(_)), "the refresh token is a number, or holds control characters; it is kept"),
            (
                matches!(self, Self::Unusable),
                "the refresh token cannot be sent back: the opt-in is not renewable and ends with its access token",
            ),
        ]
    }
}

fn is_empty(raw: &str) -> bool {
    matches!(raw, "null" | "\"\"")
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// The fields that are read.
const NAMES: [&str; 9] = [
    "refresh_token_expires_in",
    "refresh_token_status",
    "token_type",
    "issued_at",
    "client_id",
    "access_token",
    "refresh_token",
    "expires_in",
    "status",
];

/// The known fields of a JSON object, each parsed when it is needed.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<&'a str>; NAMES.len()],
    /// Whether one of these keys appears twice.
    repeated: bool,
}

/// A JSON string; copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// The fields, and whether there is anything but whitespace around the object.
    fn of(text: &'a str) -> Option<(Self, bool)> {
        let object = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
        let mut values = serde_json::Deserializer::from_str(object).into_iter::<Object<'_>>();
        let fields = Self::known(values.next()?.ok()?);
        let around = [&text[..text.len() - object.len()], &object[values.byte_offset()..]];
        Some((fields, !around.iter().all(|around| around.bytes().all(|byte| byte.is_ascii_whitespace()))))
    }

    fn known(object: Object<'a>) -> Self {
        let mut fields = Self::default();
        for (name, value) in object.0 {
            let (plain, value) = (json::plain(name), value.get());
            let escaped = if plain.is_none() { json::text(name) } else { None };
            let name = plain.or(escaped.as_ref().map(|name| name.as_str()));
            let is_name = |known: &&str| name == Some(*known);
            let Some(index) = NAMES.iter().position(is_name) else { continue };
            let before = fields.values[index];
            fields.repeated |= before.is_some();
            // The last value counts, but a value that cannot be a token does not replace one that can.
            let is_token = |raw: &str| raw.starts_with('"') && !is_empty(raw) || is_number(raw);
            if !NAMES[index].ends_with("_token") || !before.is_some_and(is_token) || is_token(value) {
                fields.values[index] = Some(value);
            }
        }
        fields
    }

    fn oddities(&self, defaults: &PairDefaults) -> [Oddity; 3] {
        let is_not_approved =
            |name: &&str| self.text(name).is_some_and(|status| !status.eq_ignore_ascii_case("approved"));
        [
            (self.repeated, "a key appears twice; the last one counts"),
            (self.text("client_id").is_some_and(|id| id != defaults.client_id), "the answer names another client id"),
            (["status", "refresh_token_status"].iter().any(is_not_approved), "the status is not approved"),
        ]
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        NAMES.iter().position(|known| *known == name).and_then(|index| self.values[index])
    }

    fn value(&self, name: &str) -> Option<Value> {
        let raw = self.raw(name)?;
        serde_json::from_str(raw).ok().or_else(|| {
            let number: f64 = raw.parse().ok()?;
            Some(Value::from(number.clamp(f64::MIN, f64::MAX)))
        })
    }

    /// A string that is not empty.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let Text(text) = serde_json::from_str(self.raw(name)?).ok()?;
        (!text.is_empty()).then_some(text)
    }
}

enum Lifetime {
    Missing,
    Over,
    Lasts(Duration),
}

/// Seconds, as a number or as a string; any other value counts as missing.
fn lifetime(fields: &Fields<'_>, name: &str) -> Lifetime {
    let value = fields.value(name);
    let digits = match &value {
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => return Lifetime::of(seconds),
            // Beyond u64, negative, or with a fraction; the cast saturates.
            (None, Some(seconds)) => return Lifetime::of(seconds as u64),
            (None, None) => return Lifetime::Missing,
        },
        Some(Value::String(text)) => text.trim(),
        _ => return Lifetime::Missing,
    };
    let (negative, digits) = digits.strip_prefix('-').map_or((false, digits), |digits| (true, digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Lifetime::Missing;
    }
    // Digits that do not parse are beyond u64.
    Lifetime::of(if negative { 0 } else { digits.parse().unwrap_or(u64::MAX) })
}

impl Lifetime {
    fn of(seconds: u64) -> Self {
        if seconds == 0 { Self::Over } else { Self::Lasts(Duration::from_secs(seconds)) }
    }
}

/// Milliseconds since 1970, as a number or as a string, if the year is plausible.
fn issued_at(fields: &Fields<'_>) -> Option<Timestamp> {
    let milliseconds = match fields.value("issued_at")? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    DateTime::from_timestamp_millis(milliseconds).filter(|at| (2000..2200).contains(&at.year()))
}

#[cfg(test)]
mod tests;
