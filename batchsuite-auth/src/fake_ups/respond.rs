//! The one function from request to response, independent of any server.

use http::{Method, Request};

use super::{
    FakeUpsState, control, endpoints,
    error_response::ErrorResponse,
    reply::Reply,
    requests::{Endpoint, Outcome},
    wire::WireFault,
};

impl FakeUpsState {
    /// The longest request body in bytes; a longer one gets a 413.
    pub const LONGEST_BODY: usize = 256 * 1024;

    /// UPS's answer to `request`: the same function behind `FakeUps`, the program `fake-ups` and every other server.
    ///
    /// A request whose `Host` is neither loopback nor [allowed](super::FakeUpsBuilder::allow_host) gets a 421. HEAD is
    /// answered like GET, without a body.
    pub fn respond(&self, request: &Request<Vec<u8>>) -> Reply {
        if !self.is_host_of(request) {
            return ErrorResponse::MISDIRECTED.response().into();
        }
        if request.body().len() > Self::LONGEST_BODY {
            return Reply::too_large();
        }
        self.answer(request)
    }

    /// The same without the host check, for requests that do not come over a network.
    pub(super) fn answer(&self, request: &Request<Vec<u8>>) -> Reply {
        let reply = endpoints::respond(self, request)
            .or_else(|| control::respond(self, request))
            .unwrap_or_else(|| ErrorResponse::NOT_FOUND.response().into());
        if *request.method() == Method::HEAD { reply.without_body() } else { reply }
    }

    /// The wire fault for a newly accepted connection, before anything on it is read; counted as an unprocessed
    /// request.
    pub fn connection_fault(&self) -> Option<WireFault> {
        let reply = self.faults.take(Endpoint::Connection)?.instead(Endpoint::Connection, &[])?;
        self.counters.add(Endpoint::Connection, Outcome::Unprocessed);
        reply.wire_fault
    }
}
