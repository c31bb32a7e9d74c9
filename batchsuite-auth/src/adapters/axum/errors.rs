//! The library's errors as responses, with status and `Retry-After`.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::{pages::set_retry_after, refusal::Refusal};
use crate::{
    error::{AuthenticateError, CallbackError, LinkError, TokenError},
    store::StoreError,
};

/// A plain page for the person.
impl IntoResponse for CallbackError {
    fn into_response(self) -> Response {
        Refusal::from(&self).into_response()
    }
}

/// A plain page for the person.
impl IntoResponse for AuthenticateError {
    fn into_response(self) -> Response {
        Refusal::from(&self).into_response()
    }
}

/// A plain page for the person.
impl IntoResponse for LinkError {
    fn into_response(self) -> Response {
        Refusal::from(&self).into_response()
    }
}

/// For programs: the error message as plain text. `409` if the company must be authenticated first, `503` if a retry
/// helps, `502` if UPS rejects the application itself, `500` if the store fails; with `Retry-After` if known.
impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        (&self).into_response()
    }
}

/// The same, for the error that `token_error` finds in a client's.
impl IntoResponse for &TokenError {
    fn into_response(self) -> Response {
        let status = match self {
            TokenError::NotAuthenticated | TokenError::ReauthRequired(_) => StatusCode::CONFLICT,
            TokenError::Unavailable { .. } | TokenError::ShutDown => StatusCode::SERVICE_UNAVAILABLE,
            TokenError::Misconfigured { .. } => StatusCode::BAD_GATEWAY,
            TokenError::Store(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            TokenError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], self.to_string()).into_response();
        set_retry_after(&mut response, self.retry_after());
        response
    }
}

/// Like [`TokenError::Store`].
impl IntoResponse for StoreError {
    fn into_response(self) -> Response {
        TokenError::Store(self).into_response()
    }
}
