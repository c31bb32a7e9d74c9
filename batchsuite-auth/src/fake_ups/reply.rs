//! Instructions to the server: an answer, its delay, and its wire fault.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, header};

use super::{
    response::front_end,
    wire::{HEADER, TOLD_CODING, TOLD_LENGTH, WireFault, header_value},
};

/// Instructions to the server for one request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The answer.
    pub response: Response<Vec<u8>>,
    /// How long to wait before sending the answer.
    pub delay: Duration,
    /// The wire fault that the answer suffers.
    pub wire_fault: Option<WireFault>,
    is_for_head: bool,
}

impl Reply {
    /// The answer to a request whose body is longer than [`LONGEST_BODY`](super::FakeUpsState::LONGEST_BODY), for a
    /// server that stops reading there.
    pub fn too_large() -> Self {
        front_end(413).into()
    }

    /// The answer to a request whose body is truncated or whose chunks are malformed.
    pub fn broken_body() -> Self {
        front_end(400).into()
    }

    /// The answer, only for a server whose connections are [`WireStream`](super::WireStream)s: it carries its length
    /// and the wire fault in a header that the stream removes.
    pub fn into_response(mut self) -> Response<Vec<u8>> {
        if self.tell_framing() {
            // The end of such an answer cannot be detected, so it is the last on its connection.
            let keep_bytes = self.response.body().len();
            self.wire_fault.get_or_insert(WireFault::Truncate { keep_bytes });
        }
        let value = header_value(self.response.body().len(), self.wire_fault);
        self.response.headers_mut().insert(HeaderName::from_static(HEADER), value);
        self.response
    }

    /// Leaves to the stream the framing that servers handle differently or not at all: a transfer coding, and a length
    /// that differs from the body's. Returns whether there is such a framing and a body.
    fn tell_framing(&mut self) -> bool {
        let headers = self.response.headers_mut();
        let coding = headers.remove(header::TRANSFER_ENCODING);
        let length = headers.remove(header::CONTENT_LENGTH);
        if self.is_for_head {
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
        for (name, value) in [(TOLD_LENGTH, told), (TOLD_CODING, coding)] {
            value.and_then(|value| headers.insert(HeaderName::from_static(name), value));
        }
        if is_told {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        is_told
    }

    /// For HEAD: the length is that of the body a GET gets.
    #[must_use]
    pub(super) fn without_body(mut self) -> Self {
        let length = self.response.body().len();
        self.response.body_mut().clear();
        self.response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        self.is_for_head = true;
        self
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

/// The body as a single chunk and the last chunk (RFC 9112 §7.1).
fn chunked(body: &[u8]) -> Vec<u8> {
    let chunk = match body {
        [] => Vec::new(),
        _ => [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat(),
    };
    [&chunk[..], b"0\r\n\r\n"].concat()
}
