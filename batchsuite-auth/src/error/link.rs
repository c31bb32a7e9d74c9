//! Reasons why a connect link cannot be followed.

use super::OptInRefused;
use crate::store::StoreError;

/// A connect link could not be followed. The failure does not use up the link, except possibly [`Store`](Self::Store).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link is unknown: mistyped, dropped at the [cap](crate::Policy::consents_per_company) in favour of later
    /// ones, or ended more than an hour ago.
    #[error("this link is unknown, or too old to be known; ask for a new one")]
    Unknown,
    /// The link was already followed.
    #[error("this link was used already; ask for a new one")]
    Used,
    /// The link expired before it was followed.
    #[error("this link is too old; ask for a new one")]
    Expired,
    /// The company's authorization was removed after the link was made.
    #[error("the authorization was removed after this link was made; ask for a new one")]
    RemovedSince,
    /// The host's [`OptInCheck`](crate::OptInCheck) refused: the person who made the link may no longer authenticate
    /// the company.
    #[error("the person who made this link may not use it any more")]
    RefusedByHost(OptInRefused),
    /// The store failed. The link may be used up; if so, request a new one.
    #[error("the link could not be looked up")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}
