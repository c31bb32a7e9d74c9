//! What can be made to go wrong, as data: the same names in Rust and in `POST /__fake/faults`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    oauth::Refusal,
    requests::Endpoint,
    respond::{Reply, WireFault},
    tokens,
};

/// Something that goes wrong at an [`Endpoint`]. The table of all of them is in the [module's docs](super#faults).
///
/// In JSON a fault without settings is its name, e.g. `"drop_answer"`; one with settings is an object, e.g.
/// `{"answer":{"status":503}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The request has no effect; this is the answer.
    Answer(Answer),
    /// The request is processed; its answer is altered.
    Edit(Edit),
    /// The request is processed; its answer comes late.
    Delay {
        /// How late.
        milliseconds: u64,
    },
    /// The request is processed, then the connection is reset without a byte of an answer: at `/refresh`, *rotate and
    /// then drop the answer*.
    DropAnswer,
    /// The connection is reset and the request has no effect. At [`Endpoint::Connection`]: reset before a byte of it is read.
    Reset,
    /// Like [`Reset`](Self::Reset), but the connection is closed in order.
    Close,
    /// The request has no effect and is never answered; the connection stays open (for ten minutes at the most).
    Hang,
    /// The request is processed; the connection closes within the body of the answer.
    Truncate {
        /// So many bytes of the body arrive; always fewer than there are.
        keep_bytes: usize,
    },
    /// The request is processed; the answer, its head too, comes one byte at a time.
    Trickle {
        /// The pause before each byte.
        milliseconds: u64,
    },
    /// 429 in UPS's shape; the request has no effect.
    TooManyRequests {
        /// A `Retry-After` header: seconds or a date. UPS sends none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
    },
    /// 503 with an HTML page; the request has no effect.
    Unavailable,
    /// 302 to the error page, as during an outage; the request has no effect.
    ErrorPage,
    /// A redirect to wherever; the request has no effect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The `Location`.
        location: String,
    },
    /// 400 `10400` `Invalid Refresh Token`, although the token is good; it stays so.
    InvalidRefreshToken,
    /// 401 `10401` `ClientId is Invalid`, although the client is right.
    InvalidClient,
    /// 403 as for a blocked client.
    Blocked,
    /// A refresh is answered with a new access token and the *same* refresh token, which stays good.
    KeepRefreshToken,
    /// Numbers come as JSON numbers instead of strings.
    Numbers,
    /// At `/authorize`: the browser is sent straight back with `error=access_denied`.
    AccessDenied,
}

/// An answer made up whole, for [`Fault::Answer`].
///
/// The body is `body`, or else `json`, or else `base64`, or else `fill_bytes` times the letter `x`, or else nothing. In `body`
/// and `json`, `{refresh_token}`, `{code}` and `{client_id}` stand for what the request sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// The status; 200 where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `Content-Type`; JSON's for `json`, HTML's for a `body` that starts with `<`, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// More headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// The body in base64, for what is no text, e.g. gzip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The body's length in bytes; at most 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill_bytes: Option<usize>,
    /// How late the answer comes.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_milliseconds: u64,
}

/// What to alter in an answer, for [`Fault::Edit`]. `set`, `remove`, `pad` and `numbers` act on an answer that is a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edit {
    /// Fields to set, with any JSON value: ones that are there, or more of them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Fields to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields to make so many characters long (at most 64 MiB); a padded access token is still good at the protected API.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pad: BTreeMap<String, usize>,
    /// Numbers become JSON numbers.
    #[serde(skip_serializing_if = "is_false")]
    pub numbers: bool,
    /// Another status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Another `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// More headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Another body altogether, e.g. HTML, or nothing: the pair is issued, but nobody can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body ends after so many bytes, and its length says the same: truncated JSON without a broken connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_bytes: Option<usize>,
    /// How late the answer comes.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_milliseconds: u64,
}

/// How often a fault happens before things are right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// At the next request.
    Once,
    /// At so many requests.
    Exactly(u32),
    /// Until [`clear_faults`](super::FakeUpsState::clear_faults).
    UntilCleared,
}

impl Answer {
    /// An answer with this status and no body.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// Sets the body, as text. `{refresh_token}`, `{code}` and `{client_id}` stand for what the request sent.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body, as JSON, with the same placeholders.
    #[must_use]
    pub fn with_json(mut self, json: Value) -> Self {
        self.json = Some(json);
        self
    }

    /// Sets the `Content-Type`.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Makes the body so many bytes long.
    #[must_use]
    pub fn with_fill(mut self, bytes: usize) -> Self {
        self.fill_bytes = Some(bytes);
        self
    }
}

impl Edit {
    /// Sets a field of the JSON answer.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set.insert(field.into(), value.into());
        self
    }

    /// Leaves a field out.
    #[must_use]
    pub fn remove(mut self, field: impl Into<String>) -> Self {
        self.remove.push(field.into());
        self
    }

    /// Makes a field so many characters long.
    #[must_use]
    pub fn pad(mut self, field: impl Into<String>, characters: usize) -> Self {
        self.pad.insert(field.into(), characters);
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets the `Content-Type`.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Replaces the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Ends the body after so many bytes.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut_bytes = Some(bytes);
        self
    }
}

impl From<Answer> for Fault {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<Edit> for Fault {
    fn from(edit: Edit) -> Self {
        Self::Edit(edit)
    }
}

/// No made-up body is longer.
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// No answer comes later.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

impl Fault {
    /// The names of the faults that need no settings, as `POST /__fake/faults` takes them.
    pub const NAMES: [&'static str; 12] = [
        "drop_answer",
        "reset",
        "close",
        "hang",
        "unavailable",
        "error_page",
        "invalid_refresh_token",
        "invalid_client",
        "blocked",
        "keep_refresh_token",
        "numbers",
        "access_denied",
    ];

    /// What cannot be done, in words; so that a mistake is told when the fault is set and not when it should happen.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Answer(answer) => {
                check_status(answer.status)?;
                check_headers(answer.content_type.as_ref(), &answer.headers)?;
                check_length(answer.fill_bytes.as_ref())?;
                match &answer.base64 {
                    Some(base64) if STANDARD.decode(base64).is_err() => Err("\"base64\" is not base64".to_owned()),
                    _ => Ok(()),
                }
            }
            Self::Edit(edit) => {
                check_status(edit.status)?;
                check_headers(edit.content_type.as_ref(), &edit.headers)?;
                check_length(edit.pad.values().max())
            }
            Self::TooManyRequests { retry_after: Some(value) } => check_value("retry_after", value),
            Self::Redirect { status, location } => {
                if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                    return Err(format!("a redirect's status is 301, 302, 303, 307 or 308, not {status}"));
                }
                check_value("location", location)
            }
            _ => Ok(()),
        }
    }

    /// The answer of a fault that keeps the request from being processed; `None` where it is processed.
    pub(super) fn instead(&self, sent: &[(&str, &str)]) -> Option<Reply> {
        Some(match self {
            Self::Answer(answer) => Reply::from(answer.response(sent)).late(milliseconds(answer.delay_milliseconds)),
            Self::Reset => Reply::broken(WireFault::Reset),
            Self::Close => Reply::broken(WireFault::Close),
            Self::Hang => Reply::broken(WireFault::Hang),
            Self::TooManyRequests { retry_after } => {
                let mut response = Refusal::TOO_MANY_REQUESTS.response();
                if let Some(value) = retry_after.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                    response.headers_mut().insert(header::RETRY_AFTER, value);
                }
                response.into()
            }
            Self::Unavailable => {
                let page = "<html><body><h1>503 Service Unavailable</h1></body></html>";
                Answer::status(503).with_body(page).response(sent).into()
            }
            Self::ErrorPage => Answer::status(302).with_header("location", "/error.page").response(sent).into(),
            Self::Redirect { status, location } => {
                Answer::status(*status).with_header("location", location).response(sent).into()
            }
            Self::InvalidRefreshToken => Refusal::SPENT_REFRESH_TOKEN.response().into(),
            Self::InvalidClient => Refusal::BAD_CLIENT.response().into(),
            Self::Blocked => Refusal::BLOCKED_CLIENT.response().into(),
            Self::Edit(_)
            | Self::Delay { .. }
            | Self::DropAnswer
            | Self::Truncate { .. }
            | Self::Trickle { .. }
            | Self::KeepRefreshToken
            | Self::Numbers
            | Self::AccessDenied => return None,
        })
    }

    /// What this fault makes of the answer of a request that was processed.
    pub(super) fn alter(&self, response: Response<Vec<u8>>) -> Reply {
        let length = response.body().len();
        match self {
            Self::Edit(edit) => Reply::from(edit.apply(response)).late(milliseconds(edit.delay_milliseconds)),
            Self::Numbers => Edit { numbers: true, ..Edit::default() }.apply(response).into(),
            Self::Delay { milliseconds: late } => Reply::from(response).late(milliseconds(*late)),
            Self::DropAnswer => Reply::from(response).with_wire_fault(WireFault::Reset),
            Self::Truncate { .. } if length == 0 => Reply::from(response).with_wire_fault(WireFault::Close),
            Self::Truncate { keep_bytes } => {
                Reply::from(response).with_wire_fault(WireFault::Truncate { keep_bytes: (*keep_bytes).min(length - 1) })
            }
            Self::Trickle { milliseconds: pause } => {
                Reply::from(response).with_wire_fault(WireFault::Trickle { pause: milliseconds(*pause) })
            }
            _ => response.into(),
        }
    }
}

impl Answer {
    fn response(&self, sent: &[(&str, &str)]) -> Response<Vec<u8>> {
        let fill_in = |text: &str| {
            sent.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        let (body, content_type) = if let Some(body) = &self.body {
            (fill_in(body).into_bytes(), body.starts_with('<').then_some("text/html;charset=utf-8"))
        } else if let Some(json) = &self.json {
            (fill_in(&json.to_string()).into_bytes(), Some("application/json"))
        } else if let Some(base64) = &self.base64 {
            (STANDARD.decode(base64).unwrap_or_default(), None)
        } else {
            (vec![b'x'; self.fill_bytes.unwrap_or_default().min(LONGEST_BODY)], None)
        };
        let mut response = Response::new(body);
        dress(&mut response, self.status, self.content_type.as_deref().or(content_type), &self.headers);
        response
    }
}

impl Edit {
    fn apply(&self, mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
        if let Ok(Value::Object(mut fields)) = serde_json::from_slice(response.body()) {
            for (field, length) in &self.pad {
                if let Some(Value::String(text)) = fields.get_mut(field) {
                    *text = tokens::pad(text, (*length).min(LONGEST_BODY));
                }
            }
            if self.numbers {
                for value in fields.values_mut() {
                    if let Some(number) = value.as_str().and_then(|text| text.parse::<i64>().ok()) {
                        *value = number.into();
                    }
                }
            }
            fields.retain(|field, _| !self.remove.contains(field));
            fields.extend(self.set.clone());
            *response.body_mut() = Value::Object(fields).to_string().into_bytes();
        }
        if let Some(body) = &self.body {
            *response.body_mut() = body.clone().into_bytes();
        }
        if let Some(length) = self.cut_bytes {
            response.body_mut().truncate(length);
        }
        dress(&mut response, self.status, self.content_type.as_deref(), &self.headers);
        response
    }
}

/// Puts status and headers on; [`Fault::check`] has seen that they are possible.
fn dress(
    response: &mut Response<Vec<u8>>,
    status: Option<u16>,
    content_type: Option<&str>,
    headers: &BTreeMap<String, String>,
) {
    if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
        *response.status_mut() = status;
    }
    let content_type = content_type.map(|value| ("content-type", value));
    for (name, value) in content_type.into_iter().chain(headers.iter().map(|(n, v)| (n.as_str(), v.as_str()))) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}

fn check_status(status: Option<u16>) -> Result<(), String> {
    match status {
        Some(status) if !(200..=599).contains(&status) => Err(format!("a status is 200 to 599, not {status}")),
        _ => Ok(()),
    }
}

fn check_headers(content_type: Option<&String>, headers: &BTreeMap<String, String>) -> Result<(), String> {
    if let Some(value) = content_type {
        check_value("content_type", value)?;
    }
    for (name, value) in headers {
        HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header name"))?;
        check_value(name, value)?;
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), String> {
    HeaderValue::from_str(value).map(drop).map_err(|_| format!("the value of {name:?} cannot stand in a header"))
}

fn check_length(length: Option<&usize>) -> Result<(), String> {
    match length {
        Some(length) if *length > LONGEST_BODY => Err(format!("no body is longer than {LONGEST_BODY} bytes")),
        _ => Ok(()),
    }
}

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds).min(LONGEST_DELAY)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The faults that are set, by endpoint; those of one endpoint happen in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// So that a request where nothing is to go wrong takes no lock.
    set: AtomicUsize,
    queues: Mutex<[VecDeque<(Fault, Times)>; Endpoint::ALL.len()]>,
}

/// No endpoint has more faults in waiting.
const MOST_FAULTS: usize = 1_000;

impl Faults {
    pub(super) fn push(&self, endpoint: Endpoint, fault: Fault, times: Times) -> Result<(), String> {
        fault.check()?;
        if times == Times::Exactly(0) {
            return Ok(());
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = &mut queues[endpoint as usize];
        if queue.len() >= MOST_FAULTS {
            return Err(format!("{endpoint} has {MOST_FAULTS} faults in waiting already"));
        }
        queue.push_back((fault, times));
        self.set.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(super) fn clear(&self, endpoint: Endpoint) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let cleared = std::mem::take(&mut queues[endpoint as usize]);
        self.set.fetch_sub(cleared.len(), Ordering::Release);
    }

    /// The fault that happens now, if any.
    pub(super) fn take(&self, endpoint: Endpoint) -> Option<Fault> {
        if self.set.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = &mut queues[endpoint as usize];
        let (fault, times) = queue.front_mut()?;
        match times {
            Times::UntilCleared => return Some(fault.clone()),
            Times::Exactly(left) if *left > 1 => {
                *left -= 1;
                return Some(fault.clone());
            }
            Times::Once | Times::Exactly(_) => {}
        }
        self.set.fetch_sub(1, Ordering::Release);
        queue.pop_front().map(|(fault, _)| fault)
    }

    /// What is set, for people to see.
    pub(super) fn list(&self) -> Vec<(Endpoint, Fault, Times)> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Endpoint::ALL
            .into_iter()
            .flat_map(|endpoint| queues[endpoint as usize].iter().map(move |(f, times)| (endpoint, f.clone(), *times)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_name_is_a_fault_and_every_fault_survives_json() {
        for name in Fault::NAMES {
            let fault: Fault = serde_json::from_value(json!(name)).unwrap();
            assert_eq!(serde_json::to_value(fault).unwrap(), name);
        }
        for fault in [
            Fault::from(Answer::status(503).with_body("<html>").with_header("x-a", "b")),
            Fault::from(Edit::default().set("expires_in", -1).remove("scope").pad("access_token", 9).cut(3)),
            Fault::Delay { milliseconds: 5 },
            Fault::Truncate { keep_bytes: 7 },
            Fault::Trickle { milliseconds: 1 },
            Fault::TooManyRequests { retry_after: Some("120".into()) },
            Fault::Redirect { status: 307, location: "https://elsewhere.example/".into() },
        ] {
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault, "{json}");
        }
        assert_eq!(
            serde_json::from_value::<Fault>(json!({"too_many_requests": {}})).unwrap(),
            Fault::TooManyRequests { retry_after: None }
        );
    }

    #[test]
    fn what_cannot_be_done_is_told_when_it_is_set() {
        for (fault, words) in [
            (Fault::from(Answer::status(99)), "200 to 599"),
            (Fault::from(Answer::default().with_header("a b", "c")), "header name"),
            (Fault::from(Edit::default().with_content_type("a\nb")), "cannot stand in a header"),
            (Fault::from(Answer::default().with_fill(LONGEST_BODY + 1)), "no body is longer"),
            (Fault::from(Answer { base64: Some("*".into()), ..Answer::default() }), "not base64"),
            (Fault::Redirect { status: 200, location: "/".into() }, "not 200"),
        ] {
            let message = Faults::default().push(Endpoint::Token, fault, Times::Once).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn faults_of_an_endpoint_happen_in_order_and_as_often_as_said() {
        let faults = Faults::default();
        faults.push(Endpoint::Refresh, Fault::Reset, Times::Exactly(2)).unwrap();
        faults.push(Endpoint::Refresh, Fault::Close, Times::Once).unwrap();
        faults.push(Endpoint::Refresh, Fault::Hang, Times::UntilCleared).unwrap();

        assert_eq!(faults.take(Endpoint::Token), None);
        let happened: Vec<_> = (0..5).filter_map(|_| faults.take(Endpoint::Refresh)).collect();
        assert_eq!(happened, [Fault::Reset, Fault::Reset, Fault::Close, Fault::Hang, Fault::Hang]);
        faults.clear(Endpoint::Refresh);
        assert_eq!(faults.take(Endpoint::Refresh), None);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn an_edit_alters_exactly_what_it_names() {
        let answer = Response::new(br#"{"a":"1","b":"x","c":"2"}"#.to_vec());
        let edit = Edit { numbers: true, ..Edit::default() }.set("d", json!(null)).remove("c").with_status(201);

        let edited = edit.apply(answer);

        assert_eq!(edited.status(), 201);
        assert_eq!(serde_json::from_slice::<Value>(edited.body()).unwrap(), json!({"a": 1, "b": "x", "d": null}));
    }

    #[test]
    fn an_answer_echoes_what_was_sent_where_it_says_so() {
        let answer = Answer::status(400).with_json(json!({"message": "bad {refresh_token}"}));

        let response = answer.response(&[("refresh_token", "r-1")]);

        assert_eq!(response.body(), br#"{"message":"bad r-1"}"#);
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}
