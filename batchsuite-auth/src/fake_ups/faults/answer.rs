//! Invented and altered answers.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    lenient::{number, numbers, optional_number, texts},
    ordered::OrderedFields,
};
use crate::fake_ups::{token_signer, wire};

/// A complete invented answer, for [`Fault::Answer`](super::Fault::Answer).
///
/// The body is `body`, else `json`, else `base64`, else `fill_bytes` times the letter `x`, else empty. In `body` and
/// `json`, `{refresh_token}`, `{code}` and `{client_id}` stand for the request's values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Answer {
    /// The status; default 200.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_number")]
    pub status: Option<u16>,
    /// `Content-Type`; by default JSON's for `json`, HTML's for a `body` that starts with `<`, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Further headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "texts")]
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// The body in base64, for binary content such as gzip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// The body's length in bytes; at most 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_number")]
    pub fill_bytes: Option<usize>,
    /// The answer's delay.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "number")]
    pub delay_milliseconds: u64,
}

/// Changes to an answer, for [`Fault::Edit`](super::Fault::Edit). `set`, `remove`, `pad` and `numbers` apply to an
/// answer that is a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Edit {
    /// Fields to set or add, with any JSON value.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Fields to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields to pad to this many characters (at most 64 MiB). The protected API still accepts a padded access token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "numbers")]
    pub pad: BTreeMap<String, usize>,
    /// Turns numbers into JSON numbers.
    #[serde(skip_serializing_if = "is_false")]
    pub numbers: bool,
    /// Replaces the status.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_number")]
    pub status: Option<u16>,
    /// Replaces the `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Further headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "texts")]
    pub headers: BTreeMap<String, String>,
    /// Replaces the body, e.g. by HTML or nothing: the pair is issued, but nobody can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Ends the body after this many bytes and declares that length: truncated JSON on an intact connection.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_number")]
    pub cut_bytes: Option<usize>,
    /// The answer's delay.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "number")]
    pub delay_milliseconds: u64,
}

impl Answer {
    /// An answer with this status and no body.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// Sets the body as text. `{refresh_token}`, `{code}` and `{client_id}` stand for the request's values.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body as JSON, with the same placeholders.
    #[must_use]
    pub fn with_json(mut self, json: Value) -> Self {
        self.json = Some(json);
        self
    }

    /// Sets the body as bytes, e.g. gzip.
    #[must_use]
    pub fn with_bytes(mut self, body: impl AsRef<[u8]>) -> Self {
        self.base64 = Some(STANDARD.encode(body));
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

    /// Makes the body this many bytes long.
    #[must_use]
    pub fn with_fill(mut self, bytes: usize) -> Self {
        self.fill_bytes = Some(bytes);
        self
    }

    /// Delays the answer; fractions of a millisecond are dropped.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay_milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
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

    /// Removes a field.
    #[must_use]
    pub fn remove(mut self, field: impl Into<String>) -> Self {
        self.remove.push(field.into());
        self
    }

    /// Pads a field to this many characters.
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

    /// Ends the body after this many bytes.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.cut_bytes = Some(bytes);
        self
    }

    /// Delays the answer; fractions of a millisecond are dropped.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay_milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

/// The longest invented body.
pub(super) const LONGEST_BODY: usize = 64 * 1024 * 1024;

impl Answer {
    pub(super) fn check(&self) -> Result<(), String> {
        check_status(self.status)?;
        check_headers(self.content_type.as_ref(), &self.headers)?;
        check_length(self.fill_bytes.as_ref())?;
        match &self.base64 {
            Some(base64) if STANDARD.decode(base64).is_err() => Err("\"base64\" is not base64".to_owned()),
            _ => Ok(()),
        }
    }

    pub(super) fn response(&self, sent: &[(&str, &str)]) -> Response<Vec<u8>> {
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
    pub(super) fn check(&self) -> Result<(), String> {
        check_status(self.status)?;
        check_headers(self.content_type.as_ref(), &self.headers)?;
        check_length(self.pad.values().max())
    }

    pub(super) fn apply(&self, mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
        if let Ok(mut fields) = serde_json::from_slice::<OrderedFields>(response.body()) {
            for (field, value) in &mut fields.0 {
                if let (Some(length), Value::String(text)) = (self.pad.get(field), &mut *value) {
                    *text = token_signer::pad(text, (*length).min(LONGEST_BODY));
                }
                if let Some(number) = value.as_str().filter(|_| self.numbers).and_then(|text| text.parse::<i64>().ok())
                {
                    *value = number.into();
                }
            }
            fields.0.retain(|(field, _)| !self.remove.contains(field));
            for (field, value) in &self.set {
                fields.set(field, value);
            }
            *response.body_mut() = serde_json::to_vec(&fields).unwrap_or_default();
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

/// Adds status and headers; `check` has validated them.
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
        let known = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header name"))?;
        if [wire::HEADER, wire::TOLD_LENGTH, wire::TOLD_CODING].contains(&known.as_str()) {
            return Err(format!("{name:?} is a header of the fake itself"));
        }
        check_value(name, value)?;
    }
    Ok(())
}

pub(super) fn check_value(name: &str, value: &str) -> Result<(), String> {
    HeaderValue::from_str(value).map(drop).map_err(|_| format!("the value of {name:?} cannot stand in a header"))
}

fn check_length(length: Option<&usize>) -> Result<(), String> {
    match length {
        Some(length) if *length > LONGEST_BODY => Err(format!("no body is longer than {LONGEST_BODY} bytes")),
        _ => Ok(()),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}
