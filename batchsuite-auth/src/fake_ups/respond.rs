//! The one function from request to response, apart from any server.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response, header};

use super::{
    FakeUpsState, control,
    faults::Fault,
    oauth::{self, Refusal},
    pages,
    requests::{Endpoint, Outcome},
    tracking, wire,
};

/// No request has a longer body; what is longer gets a 413.
pub(super) const LONGEST_BODY: usize = 256 * 1024;

/// What a server has to do for a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The answer.
    pub response: Response<Vec<u8>>,
    /// Wait so long before sending it.
    pub delay: Duration,
    /// What happens to it on its way.
    pub wire_fault: Option<WireFault>,
    is_for_head: bool,
}

/// What happens to an answer on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl Reply {
    /// The answer to a request whose body is longer than [`FakeUpsState::LONGEST_BODY`], for a server that stops reading there.
    pub fn too_large() -> Self {
        front_end(413).into()
    }

    /// The answer to a request whose body breaks off, or whose chunks are none.
    pub fn broken_body() -> Self {
        front_end(400).into()
    }

    /// The answer for a server whose connections are [`WireStream`](super::WireStream)s, and for no other: its length and the wire fault
    /// ride along in a header that the stream takes off.
    pub fn into_response(mut self) -> Response<Vec<u8>> {
        if self.tell_framing() {
            // Nobody can tell where such an answer ends, so it is the last on its connection.
            let keep_bytes = self.response.body().len();
            self.wire_fault.get_or_insert(WireFault::Truncate { keep_bytes });
        }
        let value = wire::header_value(self.response.body().len(), self.wire_fault);
        self.response.headers_mut().insert(HeaderName::from_static(wire::HEADER), value);
        self.response
    }

    /// Leaves to the stream what servers do each in their own way, or not at all: a coding, and a length that is not the body's.
    /// Whether there is one, and a body to it.
    fn tell_framing(&mut self) -> bool {
        let headers = self.response.headers_mut();
        let coding = headers.remove(header::TRANSFER_ENCODING);
        let length = headers.remove(header::CONTENT_LENGTH);
        if self.is_for_head {
            // It is that of the body that a GET gets.
            length.and_then(|length| headers.insert(header::CONTENT_LENGTH, length));
            return false;
        }
        let own = self.response.body().len().to_string();
        let told = length.filter(|told| coding.is_some() || told.as_bytes() != own.as_bytes());
        if coding.as_ref().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            *self.response.body_mut() = chunked(self.response.body());
        }
        let headers = self.response.headers_mut();
        let is_told = told.is_some() || coding.is_some();
        for (name, value) in [(wire::TOLD_LENGTH, told), (wire::TOLD_CODING, coding)] {
            value.and_then(|value| headers.insert(HeaderName::from_static(name), value));
        }
        if is_told {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        is_told
    }

    pub(super) fn broken(fault: WireFault) -> Self {
        Self::from(Response::new(Vec::new())).with_wire_fault(fault)
    }

    #[must_use]
    pub(super) fn late(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    #[must_use]
    pub(super) fn with_wire_fault(mut self, fault: WireFault) -> Self {
        self.wire_fault = Some(fault);
        self
    }
}

impl From<Response<Vec<u8>>> for Reply {
    fn from(response: Response<Vec<u8>>) -> Self {
        Self { response, delay: Duration::ZERO, wire_fault: None, is_for_head: false }
    }
}

impl FakeUpsState {
    /// No request has a longer body, in bytes; what is longer gets a 413.
    pub const LONGEST_BODY: usize = LONGEST_BODY;

    /// What UPS does with `request`: the same function behind `FakeUps`, the program `fake-ups` and every other server.
    ///
    /// A request whose `Host` is neither loopback nor [allowed](super::FakeUpsBuilder::allow_host) gets a 421. A HEAD is a GET whose answer
    /// has no body.
    pub fn respond(&self, request: &Request<Vec<u8>>) -> Reply {
        if !self.is_host_of(request) {
            return Refusal::MISDIRECTED.response().into();
        }
        if request.body().len() > LONGEST_BODY {
            return Reply::too_large();
        }
        self.answer(request)
    }

    /// The same without a look at the host, for requests that come over no network.
    pub(super) fn answer(&self, request: &Request<Vec<u8>>) -> Reply {
        let mut reply = self.whole_answer(request);
        if *request.method() == Method::HEAD {
            let length = reply.response.body().len();
            reply.response.body_mut().clear();
            reply.response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
            reply.is_for_head = true;
        }
        reply
    }

    fn whole_answer(&self, request: &Request<Vec<u8>>) -> Reply {
        let path = request.uri().path();
        let Some(endpoint) = endpoint(path) else {
            return control::respond(self, request)
                .or_else(|| pages::stand_in(path).map(Reply::from))
                .unwrap_or_else(|| not_found().into());
        };
        let params = Params::of(request);
        let fault = self.faults.take(endpoint);
        if let Some(reply) = fault.as_ref().and_then(|fault| fault.instead(endpoint, &params.sent())) {
            self.counters.add(endpoint, Outcome::Unprocessed);
            return reply;
        }
        let (outcome, response) = match allowed(endpoint, request.method()) {
            Ok(()) => self.process(endpoint, request, &params, fault.as_ref()),
            Err(allow) if endpoint == Endpoint::Authorize => {
                let refusal = Refusal::METHOD_NOT_ALLOWED;
                (Outcome::MethodNotAllowed, oauth::repeat_error(refusal, method_not_allowed(allow)))
            }
            Err(allow) => (Outcome::MethodNotAllowed, method_not_allowed(allow)),
        };
        self.counters.add(endpoint, outcome);
        match fault {
            Some(fault) => fault.alter(response),
            None => response.into(),
        }
    }

    fn process(
        &self,
        endpoint: Endpoint,
        request: &Request<Vec<u8>>,
        params: &Params<'_>,
        fault: Option<&Fault>,
    ) -> (Outcome, Response<Vec<u8>>) {
        let done = match endpoint {
            Endpoint::Authorize if fault == Some(&Fault::AccessDenied) => return pages::decline(self, params),
            Endpoint::Authorize => match oauth::authorize(self, request, params) {
                Ok(response) => Ok(response),
                Err(refusal) => return (refusal.outcome, oauth::with_error_headers(refusal)),
            },
            Endpoint::ValidateClient => oauth::validate_client(self, request, params),
            Endpoint::SignIn => return pages::sign_in(self, request, params),
            Endpoint::Token => oauth::token(self, request, params),
            Endpoint::Refresh => oauth::refresh(self, request, params, fault == Some(&Fault::KeepRefreshToken)),
            Endpoint::Track => tracking::track(self, request),
            // No path leads to a connection.
            Endpoint::Connection => return (Outcome::BadRequest, not_found()),
        };
        match done {
            Ok(response) => (Outcome::Ok, response),
            Err(refusal) => (refusal.outcome, refusal.response()),
        }
    }

    /// The wire fault for a connection that has just been accepted, before anything on it is read; counted as a
    /// request that was not processed.
    pub fn connection_fault(&self) -> Option<WireFault> {
        let reply = self.faults.take(Endpoint::Connection)?.instead(Endpoint::Connection, &[])?;
        self.counters.add(Endpoint::Connection, Outcome::Unprocessed);
        reply.wire_fault
    }
}

const AUTHORIZE: &str = "/security/v1/oauth/authorize";
pub(super) const SIGN_IN: &str = "/lasso/signin";
/// Where UPS sends browsers during an outage. Clients compare the whole of it.
pub(super) const ERROR_PAGE: &str = "https://www.ups.com/error.page";
pub(super) const ERROR_PAGE_PATH: &str = "/error.page";
pub(super) const TRACK: &str = "/api/track/v1/details/";

fn endpoint(path: &str) -> Option<Endpoint> {
    Some(match path {
        "/security/v1/oauth/refresh" => Endpoint::Refresh,
        "/security/v1/oauth/token" => Endpoint::Token,
        AUTHORIZE => Endpoint::Authorize,
        "/security/v1/oauth/validate-client" => Endpoint::ValidateClient,
        SIGN_IN => Endpoint::SignIn,
        _ if path.strip_prefix(TRACK).is_some_and(|number| !number.is_empty() && !number.contains('/')) => {
            Endpoint::Track
        }
        _ => return None,
    })
}

/// Whether the endpoint has this method; else the ones that it has.
fn allowed(endpoint: Endpoint, method: &Method) -> Result<(), &'static str> {
    let (methods, allow): (&[Method], _) = match endpoint {
        Endpoint::Token | Endpoint::Refresh => (&[Method::POST], "POST"),
        Endpoint::SignIn => (&[Method::GET, Method::HEAD, Method::POST], "GET, HEAD, POST"),
        _ => (&[Method::GET, Method::HEAD], "GET, HEAD"),
    };
    if methods.contains(method) { Ok(()) } else { Err(allow) }
}

/// The parameters of a request: of the body for a POST of a form, else of the query.
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

    /// The one value of `name`. Parameters must not be repeated (RFC 6749 section 3.1 and 3.2): a repeated one counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Like [`get`](Self::get), but what is empty is missing (RFC 6749 section 3.1).
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// What a made-up answer may echo.
    fn sent(&self) -> Vec<(&str, &str)> {
        ["refresh_token", "code", "client_id"].into_iter().filter_map(|name| Some((name, self.get(name)?))).collect()
    }
}

fn is_form(request: &Request<Vec<u8>>) -> bool {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

/// Where this UPS stands as the client sees it, e.g. `http://127.0.0.1:4000`; empty if the request does not tell.
pub(super) fn origin(request: &Request<Vec<u8>>) -> String {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => header("host").filter(|host| host.parse::<http::uri::Authority>().is_ok()).unwrap_or_default(),
    };
    if authority.is_empty() {
        return String::new();
    }
    let forwarded = header("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https"));
    format!("{}://{authority}", forwarded.or(request.uri().scheme_str()).unwrap_or("http"))
}

pub(super) fn json_response(status: u16, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = typed(status, "application/json", body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn typed(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    let mut response = Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A redirect; `location` is percent-encoded, so that it can stand in a header.
pub(super) fn redirect(status: u16, location: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::FOUND);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn method_not_allowed(allow: &'static str) -> Response<Vec<u8>> {
    let mut response = Refusal::METHOD_NOT_ALLOWED.response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// The body as one chunk and the last one (RFC 9112 section 7.1).
fn chunked(body: &[u8]) -> Vec<u8> {
    let chunk = match body {
        [] => Vec::new(),
        _ => [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat(),
    };
    [&chunk[..], b"0\r\n\r\n"].concat()
}

/// The answer of a front end before it asks the server behind it. Its words are a guess.
pub(super) fn front_end(status: u16) -> Response<Vec<u8>> {
    let reason =
        http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let page = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<h1>{status} {reason}</h1>\r\n</body>\r\n</html>\r\n"
    );
    typed(status, "text/html", page)
}

fn not_found() -> Response<Vec<u8>> {
    Refusal::NOT_FOUND.response()
}
