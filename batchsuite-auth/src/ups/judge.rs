//! What an answer, or its absence, means: judged by status, code **and** message, since UPS's codes are overloaded.

use std::time::Duration;

use chrono::DateTime;
use http::{Response, StatusCode, header::RETRY_AFTER};
use serde_json::Value;

use super::{
    answer::{Pair, PairDefaults, text_of},
    requests::Endpoint,
};
use crate::{
    clock::{Timestamp, remaining},
    events::Evidence,
    http::{HttpError, HttpErrorKind},
};

/// The longest pause that UPS can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What an answer to the exchange of a code, or to a refresh, means.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// Tokens. They are stored first and judged after.
    Pair(Box<Pair>),
    /// UPS refuses this code or this refresh token.
    Refused(Evidence),
    /// Whether UPS acted on the request is unknown.
    Unanswered(Evidence),
    /// UPS never saw the request.
    NotSent(Evidence),
    /// UPS never saw the request: the time in which it was allowed to be sent was over.
    Late,
    /// UPS asks for a pause of the whole client; `None`: it does not say how long.
    RateLimited(Option<Duration>, Evidence),
    /// UPS refuses our configuration.
    Ours(Evidence),
    /// UPS blocks the client.
    Blocked(Evidence),
    /// A refusal that nobody has described.
    Unknown(Evidence),
}

#[cfg(any(test, feature = "metrics"))]
impl Judgement {
    /// A stable name, e.g. for a metric.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Pair(_) => "pair",
            Self::Refused(_) => "refused",
            Self::Unanswered(_) => "unanswered",
            Self::NotSent(_) => "not_sent",
            Self::Late => "late",
            Self::RateLimited(..) => "rate_limited",
            Self::Ours(_) => "misconfigured",
            Self::Blocked(_) => "blocked",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Judges what came back. `secrets` is what was sent, to be cut out of the evidence.
pub(super) fn judge(
    endpoint: Endpoint,
    answer: Result<Response<Vec<u8>>, HttpError>,
    secrets: &[&str],
    defaults: &PairDefaults,
    now: Timestamp,
) -> Judgement {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.kind() == HttpErrorKind::Late => return Judgement::Late,
        Err(error) if error.is_not_sent() => return Judgement::NotSent(not_sent_evidence(&error)),
        Err(_) => return Judgement::Unanswered(Evidence::message("no answer; the request may have arrived")),
    };
    let status = answer.status();
    if status.is_success() {
        return match Pair::parse(answer.body(), defaults) {
            Some(pair) => Judgement::Pair(Box::new(pair)),
            None => {
                Judgement::Unanswered(Evidence::of_answer(status.as_u16(), None, Some("an answer without tokens"), &[]))
            }
        };
    }
    let complaints = complaints(answer.body());
    let evidence = {
        let first = complaints.first();
        Evidence::of_answer(
            status.as_u16(),
            first.and_then(|complaint| complaint.code.as_deref()),
            first.and_then(|complaint| complaint.message.as_deref()),
            secrets,
        )
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => Judgement::RateLimited(retry_after(&answer, now), evidence),
        StatusCode::FORBIDDEN => Judgement::Blocked(evidence),
        StatusCode::UNAUTHORIZED => Judgement::Ours(evidence),
        StatusCode::BAD_REQUEST => match meaning(&complaints, endpoint) {
            Meaning::Refused => Judgement::Refused(evidence),
            Meaning::Ours => Judgement::Ours(evidence),
            Meaning::Unknown => Judgement::Unknown(evidence),
        },
        // A server that gave up waiting may have acted on what it got.
        StatusCode::REQUEST_TIMEOUT => Judgement::Unanswered(evidence),
        status if status.is_client_error() => Judgement::Unknown(evidence),
        // 5xx, a redirect that is not followed, and whatever is no HTTP status at all.
        _ => Judgement::Unanswered(evidence),
    }
}

fn not_sent_evidence(error: &HttpError) -> Evidence {
    Evidence::message(match error.kind() {
        HttpErrorKind::Tls => "security: the server's certificate or TLS was refused; nothing was sent",
        HttpErrorKind::Request => "the request is not allowed by the HTTP client; nothing was sent",
        _ => "no connection; nothing was sent",
    })
}

/// One error of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Complaint {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Refused,
    Ours,
    Unknown,
}

fn meaning(complaints: &[Complaint], endpoint: Endpoint) -> Meaning {
    let meanings: Vec<_> = complaints.iter().map(|complaint| complaint.meaning(endpoint)).collect();
    if meanings.contains(&Meaning::Ours) {
        // Beside a fault of ours, what UPS says about the token proves nothing.
        Meaning::Ours
    } else if !meanings.is_empty() && meanings.iter().all(|meaning| *meaning == Meaning::Refused) {
        Meaning::Refused
    } else {
        Meaning::Unknown
    }
}

impl Complaint {
    fn meaning(&self, endpoint: Endpoint) -> Meaning {
        let code = self.code.as_deref();
        let message = self.message.as_deref().unwrap_or_default().trim().trim_end_matches('.').to_ascii_lowercase();
        match (code, message.as_str(), endpoint) {
            // RFC 6749 §5.2
            (Some("invalid_grant"), _, _) => Meaning::Refused,
            (
                Some(
                    "invalid_client"
                    | "invalid_request"
                    | "invalid_scope"
                    | "unauthorized_client"
                    | "unsupported_grant_type",
                ),
                _,
                _,
            ) => Meaning::Ours,
            // UPS
            (Some("10400") | None, "invalid refresh token" | "invalid/missing refresh token", Endpoint::Refresh)
            | (Some("10400") | None, "invalid authorization code", Endpoint::Token) => Meaning::Refused,
            (
                Some("10400" | "10401") | None,
                "invalid redirect url"
                | "invalid/missing authorization header"
                | "unsupported grant type"
                | "clientid is invalid",
                _,
            ) => Meaning::Ours,
            _ => Meaning::Unknown,
        }
    }
}

/// The errors of a body, in whichever of the known shapes; none if it has none of them.
fn complaints(body: &[u8]) -> Vec<Complaint> {
    let Ok(body) = serde_json::from_str::<Value>(&text_of(body)) else { return Vec::new() };
    let errors = body.get("response").unwrap_or(&body).get("errors");
    let complaints: Vec<_> = match errors {
        Some(Value::Array(errors)) => errors.iter().map(complaint).collect(),
        Some(errors @ Value::Object(_)) => vec![complaint(errors)],
        _ => vec![complaint(&body)],
    };
    complaints.into_iter().filter(|complaint| *complaint != Complaint::default()).collect()
}

fn complaint(value: &Value) -> Complaint {
    let text = |name: &str| match value.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    Complaint {
        code: text("code").or_else(|| text("error")),
        message: text("message").or_else(|| text("error_description")),
    }
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(answer: &Response<Vec<u8>>, now: Timestamp) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        remaining(DateTime::parse_from_rfc2822(value).ok()?.to_utc(), now)
    };
    (!pause.is_zero()).then(|| pause.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-23T12:00:00Z";

    fn judged(endpoint: Endpoint, status: u16, body: &str, headers: &[(&str, &str)]) -> Judgement {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let answer = answer.body(body.as_bytes().to_vec()).unwrap();
        judge(endpoint, Ok(answer), &["canary-token"], &PairDefaults::default(), NOW.parse().unwrap())
    }

    fn name(judgement: &Judgement) -> &'static str {
        judgement.outcome()
    }

    fn ups(code: &str, message: &str) -> String {
        format!(r#"{{"response":{{"errors":[{{"code":{code},"message":"{message}"}}]}}}}"#)
    }

    #[test]
    fn every_documented_answer_has_its_meaning() {
        let invalid_token = ups(r#""10400""#, "Invalid Refresh Token");
        for (status, body, refresh, exchange) in [
            (400, invalid_token.clone(), "refused", "unknown"),
            (400, ups(r#""10400""#, "Invalid/Missing Refresh Token"), "refused", "unknown"),
            (400, ups("10400", "Invalid Refresh Token"), "refused", "unknown"),
            (400, ups(r#""10400""#, "Invalid authorization code"), "unknown", "refused"),
            (400, ups(r#""10400""#, "Invalid Redirect URL"), "misconfigured", "misconfigured"),
            (400, ups(r#""10400""#, "Invalid/Missing Authorization Header"), "misconfigured", "misconfigured"),
            (400, ups(r#""10400""#, "Unsupported Grant Type"), "misconfigured", "misconfigured"),
            (400, ups(r#""10400""#, "Something else"), "unknown", "unknown"),
            (400, ups(r#""10999""#, "Invalid Refresh Token"), "unknown", "unknown"),
            (401, ups(r#""10401""#, "ClientId is Invalid"), "misconfigured", "misconfigured"),
            (401, String::new(), "misconfigured", "misconfigured"),
            (401, invalid_token.clone(), "misconfigured", "misconfigured"),
            (403, String::new(), "blocked", "blocked"),
            (403, invalid_token.clone(), "blocked", "blocked"),
            (429, ups(r#""10429""#, "Too Many Requests"), "rate_limited", "rate_limited"),
            (500, invalid_token.clone(), "unanswered", "unanswered"),
            (502, "<html>".to_owned(), "unanswered", "unanswered"),
            (503, String::new(), "unanswered", "unanswered"),
            (504, String::new(), "unanswered", "unanswered"),
            (301, String::new(), "unanswered", "unanswered"),
            (302, String::new(), "unanswered", "unanswered"),
            (303, String::new(), "unanswered", "unanswered"),
            (307, String::new(), "unanswered", "unanswered"),
            (308, String::new(), "unanswered", "unanswered"),
            (404, String::new(), "unknown", "unknown"),
            (408, String::new(), "unanswered", "unanswered"),
            (200, String::new(), "unanswered", "unanswered"),
            (200, "<html>".to_owned(), "unanswered", "unanswered"),
            (204, String::new(), "unanswered", "unanswered"),
            (200, r#"{"access_token":"a","refresh_token":"r","expires_in":"1""#.to_owned(), "unanswered", "unanswered"),
            (201, r#"{"access_token":"a","refresh_token":"r","expires_in":"1"}"#.to_owned(), "pair", "pair"),
        ] {
            assert_eq!(name(&judged(Endpoint::Refresh, status, &body, &[])), refresh, "refresh: {status} {body}");
            assert_eq!(name(&judged(Endpoint::Token, status, &body, &[])), exchange, "exchange: {status} {body}");
        }
    }

    #[test]
    fn the_other_shapes_of_errors_are_judged_by_what_is_there() {
        for (body, expected) in [
            (r#"{"code":"10400","message":"Invalid Refresh Token"}"#, "refused"),
            (r#"{"message":"invalid refresh token."}"#, "refused"),
            ("\u{feff}{\"message\":\"Invalid Refresh Token\"}", "refused"),
            (r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"}]}"#, "refused"),
            (r#"{"response":{"errors":{"code":"10400","message":"Invalid Refresh Token"}}}"#, "refused"),
            (r#"{"error":"invalid_grant"}"#, "refused"),
            (r#"{"error":"invalid_client","error_description":"x"}"#, "misconfigured"),
            (r#"{"error":"unsupported_grant_type"}"#, "misconfigured"),
            (
                r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"},{"code":"10401","message":"ClientId is Invalid"}]}"#,
                "misconfigured",
            ),
            (
                r#"{"errors":[{"code":"10400","message":"Invalid Refresh Token"},{"code":"1","message":"?"}]}"#,
                "unknown",
            ),
            (r#"{"response":{"errors":[]}}"#, "unknown"),
            (r#"{"response":{"errors":null}}"#, "unknown"),
            (r#"{"response":{"errors":[null,1,"x"]}}"#, "unknown"),
            (r#"{"response":7}"#, "unknown"),
            ("[]", "unknown"),
            ("7", "unknown"),
            ("<html>Invalid Refresh Token</html>", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(name(&judged(Endpoint::Refresh, 400, body, &[])), expected, "{body}");
        }
    }

    #[test]
    fn what_was_sent_is_cut_out_of_the_evidence() {
        let body = ups(r#""10400""#, "Invalid Refresh Token: canary-token");

        let Judgement::Unknown(evidence) = judged(Endpoint::Refresh, 400, &body, &[]) else { panic!() };

        assert_eq!(evidence.message.as_deref(), Some("Invalid Refresh Token: […]"));
        assert_eq!((evidence.status, evidence.code.as_deref()), (Some(400), Some("10400")));
    }

    #[test]
    fn retry_after_is_obeyed_up_to_an_hour() {
        for (value, seconds) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(3600)),
            ("Mon, 23 Nov 2026 12:01:00 GMT", Some(60)),
            ("Mon, 23 Nov 2099 12:01:00 GMT", Some(3600)),
            ("Mon, 23 Nov 2020 12:01:00 GMT", None),
            ("0", None),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            let judgement = judged(Endpoint::Refresh, 429, "", &[("retry-after", value)]);
            let Judgement::RateLimited(pause, _) = judgement else { panic!("{value}") };
            assert_eq!(pause, seconds.map(Duration::from_secs), "{value}");
        }
        assert!(matches!(judged(Endpoint::Refresh, 429, "", &[]), Judgement::RateLimited(None, _)));
    }

    #[test]
    fn without_an_answer_it_matters_whether_anything_was_sent() {
        let of = |error| {
            let judgement = judge(Endpoint::Refresh, Err(error), &[], &PairDefaults::default(), Timestamp::UNIX_EPOCH);
            name(&judgement)
        };
        assert_eq!(of(HttpError::unanswered()), "unanswered");
        for kind in [HttpErrorKind::Connect, HttpErrorKind::Tls, HttpErrorKind::Request] {
            assert_eq!(of(HttpError::new(kind)), "not_sent");
        }
    }
}
