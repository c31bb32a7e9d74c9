//! UPS's error responses.

use http::{HeaderValue, Response, header};

use super::{requests::Outcome, response::json_response};

/// An answer in UPS's error envelope, with UPS's codes and messages where they are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorResponse {
    status: u16,
    code: &'static str,
    message: &'static str,
    pub(super) outcome: Outcome,
}

impl ErrorResponse {
    pub(super) const UNKNOWN_CODE: Self = Self::new(400, "10400", "Invalid authorization code", Outcome::UnknownCode);
    pub(super) const BAD_VERIFIER: Self = Self { outcome: Outcome::BadVerifier, ..Self::UNKNOWN_CODE };
    pub(super) const SPENT_REFRESH_TOKEN: Self =
        Self::new(400, "10400", "Invalid Refresh Token", Outcome::SpentRefreshToken);
    pub(super) const MISSING_REFRESH_TOKEN: Self =
        Self::new(400, "10400", "Invalid/Missing Refresh Token", Outcome::UnknownRefreshToken);
    pub(super) const BAD_REDIRECT_URI: Self = Self::new(400, "10400", "Invalid Redirect URL", Outcome::BadRedirectUri);
    pub(super) const BAD_AUTHORIZATION_HEADER: Self =
        Self::new(400, "10400", "Invalid/Missing Authorization Header", Outcome::BadAuthorizationHeader);
    pub(super) const BAD_GRANT_TYPE: Self = Self::new(400, "10400", "Unsupported Grant Type", Outcome::BadGrantType);
    pub(super) const BAD_CLIENT: Self = Self::new(401, "10401", "ClientId is Invalid", Outcome::BadClient);
    /// UPS describes the 403 with these words and names no code. This code follows the pattern of the others.
    pub(super) const BLOCKED_CLIENT: Self = Self::new(403, "10403", "Blocked Merchant", Outcome::BlockedClient);
    pub(super) const TOO_MANY_REQUESTS: Self = Self::new(429, "10429", "Too Many Requests", Outcome::Unprocessed);
    pub(super) const EXPIRED_ACCESS_TOKEN: Self =
        Self::new(401, "251004", "Bearer Token expired (oauth)", Outcome::ExpiredAccessToken);
    pub(super) const BAD_ACCESS_TOKEN: Self =
        Self::new(401, "UJ0001", "Invalid token or token is not present", Outcome::BadAccessToken);
    pub(super) const ENDED_ACCESS_TOKEN: Self =
        Self::new(401, "250002", "Invalid authentication information.", Outcome::OptInEnded);
    /// UPS's own table gives this message for an authorization request without `client_id` or `response_type`, although
    /// such a request has no such header.
    pub(super) const INCOMPLETE_AUTHORIZATION_REQUEST: Self =
        Self { outcome: Outcome::BadRequest, ..Self::BAD_AUTHORIZATION_HEADER };
    pub(super) const BAD_RESPONSE_TYPE: Self =
        Self::new(400, "10400", "Unsupported Response Type", Outcome::BadRequest);
    // The tracking API requires these; the code of its 400 is not known.
    pub(super) const MISSING_TRANSACTION_ID: Self = Self::new(400, "400", "Missing transId", Outcome::BadRequest);
    pub(super) const MISSING_TRANSACTION_SOURCE: Self =
        Self::new(400, "400", "Missing transactionSrc", Outcome::BadRequest);
    pub(super) const BAD_TRACKING_NUMBER: Self = Self::new(400, "400", "Invalid inquiry number", Outcome::BadRequest);
    // UPS's answers to these are not known.
    pub(super) const MISDIRECTED: Self = Self::new(
        421,
        "10421",
        "Misdirected Request: this fake UPS answers for localhost, 127.0.0.0/8, [::1], and the hosts that it was told to allow",
        Outcome::BadRequest,
    );
    pub(super) const BAD_CODE_CHALLENGE: Self = Self::new(400, "10400", "Invalid Code Challenge", Outcome::BadRequest);
    pub(super) const METHOD_NOT_ALLOWED: Self =
        Self::new(405, "10405", "Method Not Allowed", Outcome::MethodNotAllowed);
    pub(super) const NOT_FOUND: Self = Self::new(404, "10404", "Not Found", Outcome::BadRequest);

    const fn new(status: u16, code: &'static str, message: &'static str, outcome: Outcome) -> Self {
        Self { status, code, message, outcome }
    }

    pub(super) fn with_outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    pub(super) fn message(self) -> &'static str {
        self.message
    }

    pub(super) fn response(self) -> Response<Vec<u8>> {
        let Self { code, message, .. } = self;
        // No code or message needs escaping.
        let body = format!(r#"{{"response":{{"errors":[{{"code":"{code}","message":"{message}"}}]}}}}"#);
        json_response(self.status, body.into_bytes())
    }

    /// The response of `/authorize`, which repeats the error in two headers. UPS's samples read only those.
    pub(super) fn response_of_authorize(self) -> Response<Vec<u8>> {
        self.repeated_in_headers(self.response())
    }

    pub(super) fn repeated_in_headers(self, mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
        response.headers_mut().insert("errorcode", HeaderValue::from_static(self.code));
        response.headers_mut().insert("errordescription", HeaderValue::from_static(self.message));
        response
    }
}

/// A 405 that lists the allowed methods.
pub(super) fn method_not_allowed(allow: &'static str) -> Response<Vec<u8>> {
    let mut response = ErrorResponse::METHOD_NOT_ALLOWED.response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}
