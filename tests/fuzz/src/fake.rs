//! Arbitrary requests to the fake UPS.

use std::{cell::Cell, collections::BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use batchsuite_auth::{
    fake_ups::{Endpoint, FakeUpsState, Outcome, Reply},
    test_util::ManualClock,
};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, uri::Authority};
use serde_json::Value;

use crate::input::SEPARATOR;

/// Later requests of an input are ignored.
const MOST_REQUESTS: usize = 8;
/// Must be escaped where a page repeats it.
const MARKUP: &str = "<fuzz>";
const INTERNAL: &str = "x-fake-ups-";

/// Input: requests between separators, each as text: `METHOD target`, header lines, an empty line, the body. In them
/// `CODE`, `REFRESH` and `ACCESS` are replaced with the latest values that the fake has issued, `BASIC` with its
/// client's credentials, and `MARKUP` with an HTML element.
///
/// - Each answer has a valid status. A request for another host gets a 421.
/// - The fake issues a pair only for the client's credentials, checked by an independent reader of RFC 7617, or for a
///   code's verifier.
/// - The fake accepts a code once, and a refresh token once.
/// - A redirect leads to one of the fake's pages, to the registered redirect URI, or to UPS's error page.
/// - Pages show markup only escaped. The answer to a HEAD has no body.
/// - No request is counted twice.
///
/// After a request to `/__fake/`, only statuses and counts are checked.
pub fn fake_requests(data: &[u8]) {
    let state = FakeUpsState::builder().manual_clock(ManualClock::new()).unsigned_access_tokens().build();
    let state = state.unwrap_or_else(|error| panic!("{error}"));
    let mut visit = Visit::default();
    for written in data.split(|byte| *byte == SEPARATOR).take(MOST_REQUESTS) {
        let Some(request) = visit.request(written) else { continue };
        let before = state.requests();
        let reply = state.respond(&request);
        let counted = state.requests().since(&before).iter().map(|(_, _, count)| count).sum::<u64>();
        assert!(counted <= 1 || request.uri().path() == "/__fake/consent", "counted {counted} times");
        visit.judge(&state, &request, &reply);
    }
}

#[derive(Default)]
struct Visit {
    code: String,
    access: String,
    refresh: String,
    /// The codes and refresh tokens for which a pair was issued.
    spent: BTreeSet<String>,
    /// A request has used the switches.
    is_told: Cell<bool>,
}

impl Visit {
    fn request(&self, written: &[u8]) -> Option<Request<Vec<u8>>> {
        let text = String::from_utf8_lossy(written);
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let (method, target) = lines.next()?.split_once(' ')?;
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        let mut request = Request::new(self.filled_in(body).into_bytes());
        *request.method_mut() = method;
        *request.uri_mut() = self.filled_in(target).replace(MARKUP, "%3Cfuzz%3E").parse::<Uri>().ok()?;
        for line in lines {
            let (name, value) = line.split_once(": ")?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_str(&self.filled_in(value)).ok()?);
        }
        Some(request)
    }

    fn filled_in(&self, text: &str) -> String {
        let basic = STANDARD.encode(format!("{}:{}", FakeUpsState::CLIENT_ID, FakeUpsState::CLIENT_SECRET));
        let mut text = text.replace("BASIC", &basic).replace("MARKUP", MARKUP);
        for (name, value) in [("CODE", &self.code), ("REFRESH", &self.refresh), ("ACCESS", &self.access)] {
            text = text.replace(name, value);
        }
        text
    }

    fn judge(&mut self, state: &FakeUpsState, request: &Request<Vec<u8>>, reply: &Reply) {
        let (status, path) = (reply.response.status(), request.uri().path());
        let body = String::from_utf8_lossy(reply.response.body());
        if !is_loopback(request) {
            return assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
        }
        self.is_told.set(self.is_told.get() || path.starts_with("/__fake/"));
        assert!((100..600).contains(&status.as_u16()));
        assert!(!reply.response.headers().keys().any(|name| name.as_str().starts_with(INTERNAL)));
        if self.is_told.get() {
            // The switches can change answers arbitrarily.
            return;
        }
        let content_type =
            reply.response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        assert!(!content_type.starts_with(b"text/html") || !body.contains(MARKUP), "markup is not escaped: {body}");
        assert!(*request.method() != Method::HEAD || body.is_empty(), "a HEAD has a body");
        if let Some(location) = reply.response.headers().get(header::LOCATION) {
            self.leads_somewhere(request, location);
        }
        self.pair(state, request, status, &body);
    }

    fn leads_somewhere(&mut self, request: &Request<Vec<u8>>, location: &HeaderValue) {
        let location = location.to_str().unwrap_or_else(|error| panic!("{error}"));
        let host =
            request.uri().authority().map(ToString::to_string).or_else(|| {
                request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(ToOwned::to_owned)
            });
        let own = format!("http://{}", host.unwrap_or_default());
        let is_own =
            location.starts_with('/') && !location.starts_with("//") || location.starts_with(&format!("{own}/"));
        let is_back = location.starts_with(&format!("{}?", FakeUpsState::REDIRECT_URI));
        let is_known = is_own || is_back || location.contains("://localhost/lasso/signin?");
        assert!(is_known, "a redirect to {location:?} from {own}");
        if let Some((_, rest)) = location.split_once("?code=") {
            assert!(is_back, "a code is sent elsewhere");
            self.code = rest.split('&').next().unwrap_or_default().to_owned();
        }
    }

    /// Records a pair, and the code or token for which it was issued.
    fn pair(&mut self, state: &FakeUpsState, request: &Request<Vec<u8>>, status: StatusCode, body: &str) {
        let is_token = request.uri().path().ends_with("/oauth/token");
        if status != StatusCode::OK || !(is_token || request.uri().path().ends_with("/oauth/refresh")) {
            return;
        }
        let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body()).into_owned().collect();
        let one = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        assert!(is_client(request) || is_token && one("code_verifier").is_some(), "a pair without credentials");
        let presented =
            one(if is_token { "code" } else { "refresh_token" }).unwrap_or_else(|| panic!("a pair without a code"));
        assert!(self.spent.insert(presented), "a second pair for the same code or token");
        let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}"));
        let field = |name: &str| answer[name].as_str().map(ToOwned::to_owned).unwrap_or_else(|| panic!("no {name}"));
        (self.access, self.refresh) = (field("access_token"), field("refresh_token"));
        assert!(!self.spent.contains(&self.refresh), "a spent refresh token is issued again");
        assert_eq!(
            state.requests().count(Endpoint::Token, Outcome::Ok)
                + state.requests().count(Endpoint::Refresh, Outcome::Ok),
            self.spent.len() as u64
        );
    }
}

/// Whether a request is for this machine by a browser's rules: the names and addresses of loopback.
fn is_loopback(request: &Request<Vec<u8>>) -> bool {
    let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
    let named = hosts.iter().map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    let named = named.chain(request.uri().authority().cloned().map(Some));
    hosts.len() <= 1
        && named.into_iter().all(|authority| {
            authority.is_some_and(|authority| {
                let host = authority.host().trim_start_matches('[').trim_end_matches(']');
                !authority.as_str().contains('@')
                    && (host.eq_ignore_ascii_case("localhost")
                        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback()))
            })
        })
}

/// An independent reader of RFC 7617.
fn is_client(request: &Request<Vec<u8>>) -> bool {
    request.headers().get_all(header::AUTHORIZATION).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        let (scheme, encoded) = value.split_once(' ').unwrap_or_default();
        let credentials = STANDARD.decode(encoded.trim()).unwrap_or_default();
        let credentials = String::from_utf8(credentials).unwrap_or_default();
        let known = |(id, secret): (&str, &str)| {
            let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            // RFC 6749 requires form encoding of both values; the fake accepts encoded and raw values.
            decoded(id) == FakeUpsState::CLIENT_ID && decoded(secret) == FakeUpsState::CLIENT_SECRET
        };
        scheme.eq_ignore_ascii_case("basic") && credentials.split_once(':').is_some_and(known)
    })
}
