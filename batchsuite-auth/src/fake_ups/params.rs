//! The parameters of a request.

use std::borrow::Cow;

use http::{Method, Request, header};

/// The parameters of a request: from the body of a form POST, else from the query.
pub(super) struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    pub(super) fn of(request: &'a Request<Vec<u8>>) -> Self {
        let text: &[u8] = if *request.method() != Method::POST {
            request.uri().query().unwrap_or_default().as_bytes()
        } else if is_form(request) {
            request.body()
        } else {
            b""
        };
        Self(url::form_urlencoded::parse(text).collect())
    }

    /// The single value of `name`. Parameters must not be repeated (RFC 6749 §3.1, §3.2): a repeated one counts as
    /// missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Like [`get`](Self::get), but an empty value counts as missing (RFC 6749 §3.1).
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The values that an invented answer may echo.
    pub(super) fn sent(&self) -> Vec<(&str, &str)> {
        ["refresh_token", "code", "client_id"].into_iter().filter_map(|name| Some((name, self.get(name)?))).collect()
    }
}

fn is_form(request: &Request<Vec<u8>>) -> bool {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}
