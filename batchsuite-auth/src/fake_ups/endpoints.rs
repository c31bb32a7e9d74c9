//! UPS's endpoints and pages: routing and outcomes.

use http::{Method, Request, Response};

use super::{
    FakeUpsState,
    error_response::{ErrorResponse, method_not_allowed},
    faults::Fault,
    oauth, pages,
    params::Params,
    paths::{self, DECLINE},
    reply::Reply,
    requests::{Endpoint, Outcome},
    tracking,
};

/// UPS's answer; `None` if UPS does not have the path.
pub(super) fn respond(ups: &FakeUpsState, request: &Request<Vec<u8>>) -> Option<Reply> {
    match (paths::endpoint(request.uri().path()), request.uri().path()) {
        (Some(endpoint), _) => Some(at(endpoint, ups, request)),
        (None, DECLINE) => Some(decline(ups, request).into()),
        (None, path) => pages::stand_in(path).map(Reply::from),
    }
}

/// An endpoint's counted answer, with the fault that is set for it.
fn at(endpoint: Endpoint, ups: &FakeUpsState, request: &Request<Vec<u8>>) -> Reply {
    let params = Params::of(request);
    let fault = ups.faults.take(endpoint);
    if let Some(reply) = fault.as_ref().and_then(|fault| fault.instead(endpoint, &params.sent())) {
        ups.counters.add(endpoint, Outcome::Unprocessed);
        return reply;
    }
    let (outcome, response) = match paths::allowed(endpoint, request.method()) {
        Ok(()) => process(endpoint, ups, request, &params, fault.as_ref()),
        Err(allow) if endpoint == Endpoint::Authorize => {
            let error = ErrorResponse::METHOD_NOT_ALLOWED;
            (error.outcome, error.repeated_in_headers(method_not_allowed(allow)))
        }
        Err(allow) => (Outcome::MethodNotAllowed, method_not_allowed(allow)),
    };
    ups.counters.add(endpoint, outcome);
    match fault {
        Some(fault) => fault.alter(response),
        None => response.into(),
    }
}

fn process(
    endpoint: Endpoint,
    ups: &FakeUpsState,
    request: &Request<Vec<u8>>,
    params: &Params<'_>,
    fault: Option<&Fault>,
) -> (Outcome, Response<Vec<u8>>) {
    let done = match endpoint {
        Endpoint::Authorize if fault == Some(&Fault::AccessDenied) => return pages::decline(ups, params),
        Endpoint::Authorize => match oauth::authorize(ups, request, params) {
            Ok(response) => Ok(response),
            Err(error) => return (error.outcome, error.response_of_authorize()),
        },
        Endpoint::ValidateClient => oauth::validate_client(ups, request, params),
        Endpoint::SignIn => return pages::sign_in(ups, request, params),
        Endpoint::Token => oauth::token(ups, request, params),
        Endpoint::Refresh => oauth::refresh(ups, request, params, fault == Some(&Fault::KeepRefreshToken)),
        Endpoint::Track => tracking::track(ups, request),
        // No path leads to this endpoint.
        Endpoint::Connection => Err(ErrorResponse::NOT_FOUND),
    };
    match done {
        Ok(response) => (Outcome::Ok, response),
        Err(error) => (error.outcome, error.response()),
    }
}

/// The decline link on the sign-in page: counted, never faulty.
fn decline(ups: &FakeUpsState, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed("GET, HEAD");
    }
    let (outcome, response) = pages::decline(ups, &Params::of(request));
    ups.counters.add(Endpoint::SignIn, outcome);
    response
}
