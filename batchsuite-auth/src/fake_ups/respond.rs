//! The one function from request to response, apart from any server.

use http::{Method, Request};

use super::{
    FakeUpsState, control, endpoints,
    error_response::ErrorResponse,
    reply::Reply,
    requests::{Endpoint, Outcome},
    wire::WireFault,
};

impl FakeUpsState {
    /// No request has a longer body, in bytes; what is longer gets a 413.
    pub const LONGEST_BODY: usize = 256 * 1024;

    /// What UPS does with `request`: the same function behind `FakeUps`, the program `fake-ups` and every other server.
    ///
    /// A request whose `Host` is neither loopback nor [allowed](super::FakeUpsBuilder::allow_host) gets a 421. A HEAD is a GET whose answer
    /// has no body.
    pub fn respond(&self, request: &Request<Vec<u8>>) -> Reply {
        if !self.is_host_of(request) {
            return ErrorResponse::MISDIRECTED.response().into();
        }
        if request.body().len() > Self::LONGEST_BODY {
            return Reply::too_large();
        }
        self.answer(request)
    }

    /// The same without a look at the host, for requests that come over no network.
    pub(super) fn answer(&self, request: &Request<Vec<u8>>) -> Reply {
        let reply = endpoints::respond(self, request)
            .or_else(|| control::respond(self, request))
            .unwrap_or_else(|| ErrorResponse::NOT_FOUND.response().into());
        if *request.method() == Method::HEAD { reply.without_body() } else { reply }
    }

    /// The wire fault for a connection that has just been accepted, before anything on it is read; counted as a
    /// request that was not processed.
    pub fn connection_fault(&self) -> Option<WireFault> {
        let reply = self.faults.take(Endpoint::Connection)?.instead(Endpoint::Connection, &[])?;
        self.counters.add(Endpoint::Connection, Outcome::Unprocessed);
        reply.wire_fault
    }
}
