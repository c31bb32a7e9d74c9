//! The JSON of a token answer (RFC 6749 §5.1, in UPS's spelling: every value may be a string).

use std::{borrow::Cow, fmt, time::Duration};

use chrono::{DateTime, Datelike};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{content::Content, repair::repaired as repaired_json};
use crate::{
    clock::Timestamp,
    ids::Revision,
    secret::{AccessToken, AccessTokenSecret, RefreshToken},
    store::NewPair,
};

/// A lifetime beyond this says nothing about a refresh token; that of an access token is cut to it.
const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What is assumed where UPS says nothing, and how a pair is to be judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct PairDefaults {
    pub(crate) access_lifetime: Duration,
    pub(crate) client_id: String,
}

/// A token answer, as far as it can be used.
#[derive(Debug)]
pub(crate) struct Pair {
    /// `None`: missing, empty, expired already, of another type than Bearer, or nothing that a header can carry.
    pub(crate) access_token: Option<AccessTokenSecret>,
    pub(crate) access_lifetime: Duration,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// UPS sent a refresh token, but it cannot be sent back.
    pub(crate) erases_refresh_token: bool,
    /// `None`: unknown, so UPS is asked and nothing expires by itself.
    pub(crate) refresh_lifetime: Option<Duration>,
    /// By UPS's clock.
    pub(crate) issued_at: Option<Timestamp>,
    /// What is odd about it, in words for operators. Never a value.
    pub(crate) oddities: Vec<&'static str>,
}

impl Pair {
    /// Reads an answer; `None` if it is no JSON object with a token in it.
    ///
    /// The object ends by itself: what follows it is no part of it, and if the rest of the answer is missing, nothing of the
    /// object is. Such an answer is only taken for the sake of the refresh token: UPS has spent the one that was sent.
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
        let mut oddities = Vec::new();

        let access_lifetime = match lifetime(&fields, "expires_in") {
            Lifetime::Missing => defaults.access_lifetime,
            Lifetime::Over => Duration::ZERO,
            Lifetime::Lasts(lifetime) => lifetime.min(LONGEST_LIFETIME),
        };
        let bearer = fields.text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        let access_token = fields.text("access_token").map(AccessTokenSecret::new);
        let sendable = access_token
            .as_ref()
            .is_some_and(|token| AccessToken::new(token, Timestamp::UNIX_EPOCH, Revision::default()).is_some());
        let refresh = Refresh::of(&fields, content.damaged);
        if (is_wrapped || is_faulty || !content.whole) && matches!(refresh, Refresh::Absent) {
            return None;
        }
        for (odd, words) in [
            (is_wrapped, "there is something beside the JSON"),
            (is_faulty, "the JSON is not quite JSON"),
            (fields.repeated, "a key is there twice; the last one counts"),
            (
                matches!(refresh, Refresh::Odd(_)),
                "the refresh token is a number, or holds control characters; it is kept",
            ),
            (
                matches!(refresh, Refresh::Unusable),
                "the refresh token cannot be sent back: the opt-in is not renewable and ends with its access token",
            ),
            (!bearer, "the token type is not Bearer"),
            (!sendable, "there is no access token that can be sent"),
            (access_lifetime.is_zero(), "the access token has expired already"),
            (fields.text("client_id").is_some_and(|id| id != defaults.client_id), "the answer names another client id"),
            (
                ["status", "refresh_token_status"]
                    .iter()
                    .any(|name| fields.text(name).is_some_and(|status| !status.eq_ignore_ascii_case("approved"))),
                "the status is not approved",
            ),
        ] {
            if odd {
                oddities.push(words);
            }
        }

        let usable = bearer && sendable && !access_lifetime.is_zero();
        let pair = Self {
            access_token: access_token.filter(|_| usable),
            access_lifetime,
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
            oddities,
        };
        (pair.access_token.is_some() || pair.refresh_token.is_some()).then_some(pair)
    }

    /// For a store to keep: asked for `age` ago, to be refreshed `refresh_after` that.
    pub(crate) fn to_store(&self, refresh_after: Duration, age: Duration) -> NewPair {
        NewPair {
            access_token: self.access_token.clone(),
            access_lifetime: self.access_lifetime,
            refresh_after,
            refresh_token: self.refresh_token.clone(),
            erases_refresh_token: self.erases_refresh_token,
            refresh_lifetime: self.refresh_lifetime,
            age,
        }
    }
}

/// What an answer says of the refresh token.
enum Refresh {
    /// Nothing.
    Absent,
    /// A text that can be sent.
    Usable(RefreshToken),
    /// Something that can be sent, and is no token as RFC 6749 has it (Appendix A.17).
    Odd(RefreshToken),
    /// Something that cannot be sent as it came.
    Unusable,
}

impl Refresh {
    fn of(fields: &Fields<'_>, damaged: bool) -> Self {
        let Some(raw) = fields.raw("refresh_token").filter(|raw| !is_empty(raw)) else { return Self::Absent };
        if is_number(raw) {
            return Self::Odd(RefreshToken::new(raw));
        }
        match fields.text("refresh_token") {
            // Part of it was not even text.
            Some(token) if damaged && token.contains(char::REPLACEMENT_CHARACTER) => Self::Unusable,
            Some(token) if token.contains(char::is_control) => Self::Odd(RefreshToken::new(token)),
            Some(token) => Self::Usable(RefreshToken::new(token)),
            None => Self::Unusable,
        }
    }
}

fn is_empty(raw: &str) -> bool {
    matches!(raw, "null" | "\"\"")
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// The fields of a token answer that are read.
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

/// The fields of a JSON object, each read by itself when it is asked for: one that no [`Value`] can hold (a number beyond
/// `f64`, half a surrogate pair, a nesting without end) must not cost the pair.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<&'a str>; NAMES.len()],
    /// One of them was there twice.
    repeated: bool,
}

/// A JSON string; copied only if something in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(Text(name)) = map.next_key()? {
            let value = map.next_value::<&RawValue>()?.get();
            let Some(index) = NAMES.iter().position(|known| *known == name) else { continue };
            let before = fields.values[index];
            fields.repeated |= before.is_some();
            // The last one counts. But what is no token does not take the place of one.
            let is_token = |raw: &str| raw.starts_with('"') && !is_empty(raw) || is_number(raw);
            if !name.ends_with("_token") || !before.is_some_and(is_token) || is_token(value) {
                fields.values[index] = Some(value);
            }
        }
        Ok(fields)
    }
}

impl<'a> Fields<'a> {
    /// The fields, and whether anything but blanks is around the object.
    fn of(text: &'a str) -> Option<(Self, bool)> {
        let object = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
        let mut values = serde_json::Deserializer::from_str(object).into_iter::<Self>();
        let fields = values.next()?.ok()?;
        let around = [&text[..text.len() - object.len()], &object[values.byte_offset()..]];
        Some((fields, !around.iter().all(|around| around.bytes().all(|byte| byte.is_ascii_whitespace()))))
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

    /// A text that is not empty.
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

/// A number of seconds, as a number or as a string; whatever is neither counts as missing.
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
    // Only digits: what does not fit is beyond u64.
    Lifetime::of(if negative { 0 } else { digits.parse().unwrap_or(u64::MAX) })
}

impl Lifetime {
    fn of(seconds: u64) -> Self {
        if seconds == 0 { Self::Over } else { Self::Lasts(Duration::from_secs(seconds)) }
    }
}

/// Milliseconds, as a number or as a string, of a plausible year.
fn issued_at(fields: &Fields<'_>) -> Option<Timestamp> {
    let milliseconds = match fields.value("issued_at")? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    DateTime::from_timestamp_millis(milliseconds).filter(|at| (2000..2200).contains(&at.year()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn defaults() -> PairDefaults {
        PairDefaults { access_lifetime: Duration::from_secs(3600), client_id: "id".to_owned() }
    }

    fn parse_bytes(body: &[u8]) -> Option<Pair> {
        Pair::parse(&Content::of(body.to_vec().into(), true), &defaults())
    }

    fn parse(value: &Value) -> Option<Pair> {
        parse_bytes(value.to_string().as_bytes())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut answer = json!({
            "refresh_token_expires_in": "5183999", "refresh_token_status": "approved", "token_type": "Bearer",
            "issued_at": "1706710138962", "client_id": "id", "access_token": "a", "refresh_token": "r", "scope": "",
            "refresh_token_issued_at": "1706710138962", "expires_in": "14399", "refresh_count": "0",
            "status": "approved",
        });
        answer[name] = value;
        answer
    }

    #[test]
    fn ups_sample_is_read_whole() {
        let pair = parse(&with("scope", json!(""))).unwrap();

        assert_eq!(pair.access_token.unwrap().expose_secret(), "a");
        assert_eq!(pair.refresh_token.unwrap().expose_secret(), "r");
        assert_eq!(pair.access_lifetime, Duration::from_secs(14_399));
        assert_eq!(pair.refresh_lifetime, Some(Duration::from_secs(5_183_999)));
        assert_eq!(pair.issued_at.unwrap().timestamp_millis(), 1_706_710_138_962);
        assert!(pair.oddities.is_empty());
    }

    #[test]
    fn an_access_lifetime_is_read_or_assumed_and_never_panics() {
        let most = LONGEST_LIFETIME.as_secs();
        for (value, seconds) in [
            (json!("3599"), 3599),
            (json!(3599), 3599),
            (json!(3599.9), 3599),
            (json!(" 60 "), 60),
            (json!("99999999999999999999999999"), most),
            (json!(1e300), most),
            (json!(u64::MAX), most),
            (Value::Null, 3600),
            (json!("soon"), 3600),
            (json!(""), 3600),
            (json!({}), 3600),
        ] {
            let pair = parse(&with("expires_in", value.clone())).unwrap();
            assert_eq!(pair.access_lifetime.as_secs(), seconds, "{value}");
            assert!(pair.access_token.is_some(), "{value}");
        }
    }

    #[test]
    fn an_access_token_that_cannot_be_used_leaves_the_refresh_token() {
        for (name, value) in [
            ("expires_in", json!("0")),
            ("expires_in", json!(-1)),
            ("expires_in", json!("-99999999999999999999999")),
            ("access_token", Value::Null),
            ("access_token", json!("")),
            ("access_token", json!(["a"])),
            ("access_token", json!("a\nb")),
            ("token_type", json!("MAC")),
        ] {
            let pair = parse(&with(name, value.clone())).unwrap();
            assert!(pair.access_token.is_none(), "{name} {value}");
            assert!(pair.refresh_token.is_some(), "{name} {value}");
            assert!(!pair.oddities.is_empty(), "{name} {value}");
        }
    }

    #[test]
    fn a_refresh_lifetime_that_is_missing_or_implausible_is_unknown() {
        for value in [json!("0"), json!(0), Value::Null, json!("-5"), json!("99999999999999999999"), json!("x")] {
            let pair = parse(&with("refresh_token_expires_in", value.clone())).unwrap();
            assert_eq!(pair.refresh_lifetime, None, "{value}");
        }
    }

    #[test]
    fn what_is_odd_is_told_and_the_pair_is_kept() {
        for (name, value) in
            [("client_id", json!("other")), ("status", json!("revoked")), ("refresh_token_status", json!("x"))]
        {
            let pair = parse(&with(name, value)).unwrap();
            assert_eq!(pair.oddities.len(), 1, "{name}");
            assert!(pair.access_token.is_some() && pair.refresh_token.is_some(), "{name}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_no_fault() {
        let pair = parse(&json!({"access_token": "a", "token_type": "bearer", "new": [1]})).unwrap();

        assert!(pair.access_token.is_some());
        assert!(pair.oddities.is_empty());
        assert_eq!(pair.issued_at, None);
    }

    #[test]
    fn a_field_that_cannot_be_read_costs_only_itself() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for odd in ["1e400", "-1e400", r#""\ud800""#, &deep] {
            let body = format!("\u{feff}{{\"access_token\":\"a\",\"odd\":{odd},\"refresh_token\":\"r\"}}");
            let pair = parse_bytes(body.as_bytes()).unwrap();

            assert_eq!(pair.access_token.unwrap().expose_secret(), "a", "{odd}");
            assert_eq!(pair.refresh_token.unwrap().expose_secret(), "r", "{odd}");
        }
        let body = b"{\"access_token\":\"a\",\"refresh_token\":\"r\xff\",\"scope\":\"\xff\"}";
        let pair = parse_bytes(body).unwrap();
        assert!(pair.access_token.is_some() && pair.refresh_token.is_none() && pair.erases_refresh_token);
    }

    #[test]
    fn a_refresh_token_is_kept_if_it_can_be_sent_and_otherwise_told() {
        for (raw, kept, oddities) in [
            (r#""r""#, Some("r"), 0),
            ("null", None, 0),
            (r#""""#, None, 0),
            ("7", Some("7"), 1),
            ("-1.50e400", Some("-1.50e400"), 1),
            (r#""a\u0000b\r\n""#, Some("a\0b\r\n"), 1),
            (r#""\ufffd""#, Some("\u{fffd}"), 0),
            (r#""caf\u00e9""#, Some("caf\u{e9}"), 0),
            (r#"{"token":"r"}"#, None, 1),
            (r#"["r"]"#, None, 1),
            ("true", None, 1),
            (r#""\ud800""#, None, 1),
        ] {
            let body = format!(r#"{{"access_token":"a","refresh_token":{raw}}}"#);
            let pair = parse_bytes(body.as_bytes()).unwrap();

            assert_eq!(pair.refresh_token.as_ref().map(RefreshToken::expose_secret), kept, "{raw}");
            assert_eq!(pair.oddities.len(), oddities, "{raw}");
            assert_eq!(pair.erases_refresh_token, kept.is_none() && oddities > 0, "{raw}");
        }
    }

    #[test]
    fn of_two_tokens_the_last_one_counts_but_none_never_replaces_one() {
        for (tokens, kept) in [
            (r#""refresh_token":"1","refresh_token":"2""#, "2"),
            (r#""refresh_token":null,"refresh_token":"2""#, "2"),
            (r#""refresh_token":"1","refresh_token":null"#, "1"),
            (r#""refresh_token":"1","refresh_token":"""#, "1"),
            (r#""refresh_token":"1","refresh_token":{}"#, "1"),
            (r#""refresh_token":{},"refresh_token":"2""#, "2"),
        ] {
            let pair = parse_bytes(format!(r#"{{"access_token":"a",{tokens}}}"#).as_bytes()).unwrap();

            assert_eq!(pair.refresh_token.unwrap().expose_secret(), kept, "{tokens}");
            assert_eq!(pair.oddities, ["a key is there twice; the last one counts"], "{tokens}");
        }
    }

    #[test]
    fn a_whole_object_is_a_pair_whatever_follows_it_or_is_missing_after_it() {
        let with = |rest: &str, whole| {
            let body = format!(r#"{{"access_token":"a","refresh_token":"r"}}{rest}"#);
            Pair::parse(&Content::of(body.into_bytes().into(), whole), &defaults()).unwrap()
        };
        for rest in ["\0", "\0\0", "// a comment", "<!-- x -->", "}", "{", "\u{feff}", ";", ")", "\u{1}", "garbage"] {
            assert_eq!(with(rest, true).oddities, ["there is something beside the JSON"], "{rest:?}");
        }
        for before in ["\0", "\0\0\0", "\u{feff}\u{feff}", "\u{1} "] {
            let body = format!(r#"{before}{{"access_token":"a","refresh_token":"r"}}"#);
            assert_eq!(
                parse_bytes(body.as_bytes()).unwrap().oddities,
                ["there is something beside the JSON"],
                "{before:?}"
            );
        }
        for rest in ["", " \r\n\t"] {
            assert!(with(rest, true).oddities.is_empty() && with(rest, false).oddities.is_empty(), "{rest:?}");
        }
        let lone = |rest: &str, whole| {
            let body = format!(r#"{{"access_token":"a"}}{rest}"#);
            Pair::parse(&Content::of(body.into_bytes().into(), whole), &defaults()).is_some()
        };
        assert!(
            lone("", true) && !lone("", false) && !lone("x", true),
            "without a refresh token nothing is saved by it"
        );
    }

    #[test]
    fn json_that_is_almost_none_is_a_pair() {
        for (body, token) in [
            ("{\"scope\":\"a\nb\",\"access_token\":\"a\",\"refresh_token\":\"r\"}", "r"),
            ("{\"access_token\":\"a\",\"refresh_token\":\"r\r\n\"}", "r\r\n"),
            ("{\"access_token\":\"a\",\0\"refresh_token\":\"r\"}", "r"),
            (r#"{"display":"Ben\'s","access_token":"a","refresh_token":"r"}"#, "r"),
            (r#"{"access_token":"a","refresh_token":"r",}"#, "r"),
        ] {
            let pair = parse_bytes(body.as_bytes()).unwrap_or_else(|| panic!("{body}"));

            assert_eq!(pair.refresh_token.unwrap().expose_secret(), token, "{body}");
            assert_eq!(pair.access_token.unwrap().expose_secret(), "a", "{body}");
            assert!(pair.oddities.contains(&"the JSON is not quite JSON"), "{body}");
        }
        assert!(parse_bytes(br#"{"access_token":"a",}"#).is_none(), "without a refresh token nothing is saved by it");
    }

    #[test]
    fn without_any_token_it_is_no_pair() {
        for body in
            ["", "{}", "[]", "null", "<html>", r#"{"refresh_token":"r""#, r#"{"access_token":"","expires_in":1}"#]
        {
            assert!(parse_bytes(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn an_implausible_date_of_issue_is_unknown() {
        for value in [json!("0"), json!("x"), json!(i64::MAX), json!("99999999999999999999"), json!(-1)] {
            assert_eq!(parse(&with("issued_at", value.clone())).unwrap().issued_at, None, "{value}");
        }
    }
}
