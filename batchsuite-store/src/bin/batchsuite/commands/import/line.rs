//! A line of an import: one company's tokens.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use batchsuite_auth::{
    ActorId, CompanyId, ImportedTokens, Timestamp,
    clock::later,
    secret::{AccessTokenSecret, RefreshToken},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// Fields of a token answer of UPS that an import does not need.
const IGNORED: [&str; 6] = ["token_type", "status", "refresh_token_status", "scope", "client_id", "refresh_count"];

/// A line that can be imported.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) company: CompanyId,
    pub(super) actor: Option<ActorId>,
    pub(super) refresh_token: RefreshToken,
    pub(super) tokens: ImportedTokens,
}

impl Line {
    /// Reads a line at `now`.
    ///
    /// # Errors
    /// Why it cannot be imported; nothing of the line is in it.
    pub(super) fn parse(text: &[u8], now: Timestamp) -> Result<Self, String> {
        let Sent(sent) = serde_json::from_slice(text)
            .map_err(|error| format!("it is not a JSON object (see its column {})", error.column()))?;
        let mut fields = Fields(Map::new());
        for (name, value) in sent {
            if fields.0.insert(name, value).is_some() {
                return Err("a field is there twice; leave one of them out".to_owned());
            }
        }
        let company = fields.text("company")?.ok_or("company is missing")?;
        let company = CompanyId::new(company).map_err(|error| format!("company: {error}"))?;
        let actor = fields.text("actor")?.map(|actor| ActorId::new(actor).map_err(|error| format!("actor: {error}")));
        let actor = actor.transpose()?;
        let refresh_token = RefreshToken::new(fields.text("refresh_token")?.ok_or("refresh_token is missing")?);
        let (issued_at, refresh_issued_at) = (fields.time("issued_at")?, fields.time("refresh_token_issued_at")?);
        let tokens = ImportedTokens::new(refresh_token.clone()).map_err(refusal)?;
        // UPS's `issued_at` is the access token's; both tokens of a pair are issued at once.
        let (access_issued_at, refresh_issued_at) = (issued_at.or(refresh_issued_at), refresh_issued_at.or(issued_at));
        let tokens = refresh_issued_at.into_iter().fold(tokens, ImportedTokens::with_issued_at);
        let end = fields.end("refresh_expires_at", "refresh_token_expires_in", refresh_issued_at)?;
        let tokens = end.into_iter().fold(tokens, ImportedTokens::with_refresh_expires_at);
        let end = fields.end("access_expires_at", "expires_in", access_issued_at)?;
        let tokens = match (fields.text("access_token")?, end) {
            (None, _) => tokens,
            (Some(_), None) => {
                return Err("access_token needs access_expires_at, or expires_in and issued_at".to_owned());
            }
            (Some(token), Some(end)) => {
                let remaining = (end - now).to_std().unwrap_or_default();
                tokens.with_access_token(AccessTokenSecret::new(token), remaining).map_err(refusal)?
            }
        };
        fields.refuse_others()?;
        Ok(Self { company, actor, refresh_token, tokens })
    }
}

fn refusal(error: impl Display) -> String {
    error.to_string()
}

/// The fields of a line, with those that are there twice. A [`Map`] would keep the last one alone.
struct Sent(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SentVisitor;

        impl<'de> Visitor<'de> for SentVisitor {
            type Value = Sent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sent, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Sent(fields))
            }
        }

        deserializer.deserialize_map(SentVisitor)
    }
}

/// The fields that were not taken yet.
struct Fields(Map<String, Value>);

impl Fields {
    /// Takes a field; `null` counts as missing.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} must be text")),
        }
    }

    /// A number. UPS writes numbers as text.
    fn number(&mut self, name: &str) -> Result<Option<i64>, String> {
        let number = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
        };
        number.map(Some).ok_or_else(|| format!("{name} must be a whole number"))
    }

    /// A time: milliseconds since 1970 as a number or as text, or RFC 3339.
    fn time(&mut self, name: &str) -> Result<Option<Timestamp>, String> {
        let time = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => match text.parse() {
                Ok(milliseconds) => Timestamp::from_timestamp_millis(milliseconds),
                Err(_) => text.parse().ok(),
            },
            Some(value) => value.as_i64().and_then(Timestamp::from_timestamp_millis),
        };
        time.map(Some).ok_or_else(|| format!("{name} must be milliseconds since 1970, or a time in RFC 3339"))
    }

    /// The end of a token: a time, or seconds from `since`.
    fn end(&mut self, at: &str, within: &str, since: Option<Timestamp>) -> Result<Option<Timestamp>, String> {
        match (self.time(at)?, self.number(within)?, since) {
            (Some(_), Some(_), _) => Err(format!("{at} and {within} are both there; leave one out")),
            (Some(end), None, _) => Ok(Some(end)),
            (None, None, _) => Ok(None),
            (None, Some(_), None) => Err(format!("{within} counts from issued_at, which is missing")),
            (None, Some(seconds), Some(since)) => {
                let seconds = u64::try_from(seconds).map_err(|_| format!("{within} must not be negative"))?;
                Ok(Some(later(since, Duration::from_secs(seconds))))
            }
        }
    }

    /// A field that nobody took may be a misspelt one.
    fn refuse_others(mut self) -> Result<(), String> {
        IGNORED.iter().for_each(|name| drop(self.0.remove(*name)));
        if self.0.is_empty() {
            return Ok(());
        }
        Err("a field is not known; see `batchsuite import --help` for the known ones".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600_000;

    fn parse(text: &str) -> Result<Line, String> {
        Line::parse(text.as_bytes(), Timestamp::from_timestamp_millis(NOW).unwrap())
    }

    #[test]
    fn a_line_may_be_short_or_an_answer_of_ups() {
        let answer = format!(
            r#"{{"company":"acme","refresh_token_expires_in":"5183999","refresh_token_status":"approved",
            "token_type":"Bearer","issued_at":"{NOW}","client_id":"x","access_token":"access","scope":"",
            "refresh_token":"refresh","refresh_token_issued_at":"{NOW}","expires_in":"14399","status":"approved","refresh_count":"0"}}"#
        );
        for text in [
            r#"{"company":"acme","refresh_token":"refresh"}"#,
            r#"{"company":"acme","actor":"ada","refresh_token":"refresh","issued_at":1767225600000,"access_token":null}"#,
            r#"{"company":"acme","refresh_token":"refresh","issued_at":"2026-01-01T00:00:00Z","refresh_expires_at":"2026-03-01T00:00:00Z"}"#,
            &answer,
        ] {
            let line = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(line.company.as_str(), "acme");
            assert_eq!(line.refresh_token.expose_secret(), "refresh");
        }
    }

    #[test]
    fn a_line_that_cannot_be_imported_is_told_why_and_not_shown() {
        for (rest, words) in [
            ("", "not a JSON object"),
            (r#""company":"canary""#, "refresh_token is missing"),
            (r#""company":"canary","refresh_token":1"#, "refresh_token must be text"),
            (r#""refresh_token":"canary""#, "company is missing"),
            (r#""company":"","refresh_token":"canary""#, "company: an identifier"),
            (r#""company":"a","refresh_token":"can ary""#, "a blank"),
            (r#""company":"a","refresh_token":"canary","actor":"\u0007""#, "actor: an identifier"),
            (r#""company":"a","refresh_token":"canary","issued_at":"canary""#, "issued_at must be"),
            (r#""company":"a","refresh_token":"canary","access_token":"b""#, "access_token needs"),
            (r#""company":"a","refresh_token":"canary","expires_in":5"#, "counts from issued_at"),
            (r#""company":"a","refresh_token":"canary","issued_at":1767225600000,"expires_in":-5"#, "negative"),
            (
                r#""company":"a","refresh_token":"canary","issued_at":1767225600000,"expires_in":"canary""#,
                "whole number",
            ),
            (
                r#""company":"a","refresh_token":"canary","access_token":"canary","issued_at":1767225600000,"expires_in":5"#,
                "are the same",
            ),
            (
                r#""company":"a","refresh_token":"canary","issued_at":1767225600000,"expires_in":5,"access_expires_at":1767225600000"#,
                "both there",
            ),
            (r#""company":"a","refresh_token":"canary","refresh_tokn":"canary""#, "not known"),
            (r#""company":"canary","refresh_token":"canary","company":"b""#, "twice"),
            (r#""company":"a","refresh_token":null,"refresh\u005ftoken":"canary""#, "twice"),
            (r#""company":"a","refresh_token":"canary","scope":"canary","scope":"canary""#, "twice"),
        ] {
            let text = if rest.is_empty() { r#"{"company":"canary"#.to_owned() } else { format!("{{{rest}}}") };
            let error = parse(&text).unwrap_err();
            assert!(error.contains(words) && !error.contains("canary"), "{text}: {error}");
        }
    }
}
