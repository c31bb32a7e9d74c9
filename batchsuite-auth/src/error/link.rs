//! Why a connect link does not lead to UPS.com.

use super::OptInRefused;
use crate::store::StoreError;

/// A connect link was not followed. [`Store`](Self::Store) aside, a refused link is not used up by that.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No such link is known: it was mistyped, it was dropped at the [cap](crate::Policy::consents_per_company) by later ones,
    /// or it ended more than an hour ago.
    #[error("this link is unknown, or too old to be known; ask for a new one")]
    Unknown,
    /// It was followed before.
    #[error("this link was used already; ask for a new one")]
    Used,
    /// Nobody followed it in time.
    #[error("this link is too old; ask for a new one")]
    Expired,
    /// The company's authorization was removed after the link had been made.
    #[error("the authorization was removed after this link was made; ask for a new one")]
    RemovedSince,
    /// The host's [`OptInCheck`](crate::OptInCheck) refused: the person who made the link may not authenticate the company
    /// any more.
    #[error("the person who made this link may not use it any more")]
    RefusedByHost(OptInRefused),
    /// The store failed. The link may be used up: if it is, ask for a new one.
    #[error("the link could not be looked up")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}
