//! The reaction that an error calls for.

use super::{AuthenticateError, CallbackError, ImportError, LinkError, TokenError};
use crate::store::StoreError;

/// The reaction that an error calls for, for the host's response, page or retry loop to branch on.
///
/// ```
/// use http::StatusCode;
/// use batchsuite_auth::{TokenError, error::ErrorKind};
///
/// fn status(error: &TokenError) -> StatusCode {
///     match error.kind() {
///         ErrorKind::Reauthorize => StatusCode::CONFLICT,
///         ErrorKind::Retry => StatusCode::SERVICE_UNAVAILABLE, // with error.retry_after()
///         _ => StatusCode::INTERNAL_SERVER_ERROR,
///     }
/// }
/// assert_eq!(status(&TokenError::NotAuthenticated), StatusCode::CONFLICT);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A company's administrator must authenticate the company, for the first time or again.
    Reauthorize,
    /// The same call may succeed later: see the error's `retry_after()`. A person who returned from UPS.com starts
    /// again.
    Retry,
    /// The person at the browser can fix it; the message says how.
    Person,
    /// An operator or a developer must act: on the configuration, the store or the host's own code.
    Operator,
}

impl TokenError {
    /// The reaction that this error calls for.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAuthenticated | Self::ReauthRequired(_) => ErrorKind::Reauthorize,
            Self::Unavailable { .. } | Self::ShutDown => ErrorKind::Retry,
            Self::Misconfigured { .. } => ErrorKind::Operator,
            Self::Store(error) => error.kind_for_host(),
        }
    }
}

impl CallbackError {
    /// The reaction that this error calls for.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::SignInFailed(_) | Self::Unanswered(_) | Self::Unavailable { .. } | Self::ShutDown => ErrorKind::Retry,
            Self::Misconfigured(_) => ErrorKind::Operator,
            Self::Store(error) => error.kind_for_host(),
            Self::Malformed(_)
            | Self::UnknownState
            | Self::AlreadyUsed { .. }
            | Self::NoBrowserSecret
            | Self::Expired
            | Self::OtherBrowser
            | Self::OtherActor
            | Self::RemovedSince
            | Self::ClientChanged
            | Self::Declined
            | Self::CodeRefused(_)
            | Self::RefusedByHost(_) => ErrorKind::Person,
        }
    }
}

impl AuthenticateError {
    /// The reaction that this error calls for.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidReturnTo => ErrorKind::Operator,
            Self::Store(error) => error.kind_for_host(),
            Self::ShutDown => ErrorKind::Retry,
        }
    }
}

impl ImportError {
    /// The reaction that this error calls for.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Ended => ErrorKind::Reauthorize,
            Self::Implausible(_) | Self::NewerOptIn | Self::ChangedSince => ErrorKind::Operator,
            Self::Store(error) => error.kind_for_host(),
            Self::ShutDown => ErrorKind::Retry,
        }
    }
}

impl LinkError {
    /// The reaction that this error calls for.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown | Self::Used | Self::Expired | Self::RemovedSince | Self::RefusedByHost(_) => {
                ErrorKind::Person
            }
            Self::Store(error) => error.kind_for_host(),
            Self::ShutDown => ErrorKind::Retry,
        }
    }
}

impl StoreError {
    fn kind_for_host(&self) -> ErrorKind {
        if self.is_transient() { ErrorKind::Retry } else { ErrorKind::Operator }
    }
}
