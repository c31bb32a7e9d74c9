//! What can go wrong, in the words of whoever has to act on it.
//!
//! `Display` never prints a source, a body, a URL or a value that came from outside; sources are chained.

mod chain;
mod import;
mod kind;
mod link;
mod responsible;

use std::time::Duration;

pub use self::{
    chain::{Chain, chain},
    import::{ImplausibleTokens, ImportError},
    kind::ErrorKind,
    link::LinkError,
    responsible::Responsible,
};
pub use crate::machine::Unavailable;
use crate::{
    events::Evidence,
    ids::CompanyId,
    status::Cause,
    store::{StoreError, StoreErrorKind},
};

/// The settings do not make an authenticator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Something that is needed is missing.
    #[error("{0} is missing; set it on the builder")]
    Missing(&'static str),
    /// Something does not fit.
    #[error("{setting} is not usable: {reason}")]
    Invalid {
        /// Which setting.
        setting: &'static str,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// There is no tokio runtime to run refreshes on.
    #[error("there is no tokio runtime here; call build() inside one")]
    NoRuntime,
}

/// A trip to UPS.com could not begin.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// `return_to` is not a path of the host's own.
    #[error("return_to must be a path of your own that begins with a single '/'")]
    InvalidReturnTo,
    /// The store could not keep the consent.
    #[error("the consent could not be stored")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}

/// What came back from UPS.com did not lead to an opt-in. An earlier opt-in of the company is as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// The address is not one that UPS sends people back to. Nothing was sent to UPS.
    #[error("this is not a valid return from UPS.com ({0}); start again from the company")]
    Malformed(MalformedCallback),
    /// The state is unknown: it was used already, is too old to be remembered, or never was one of ours.
    #[error("this return from UPS.com was used already or is unknown; start again from the company")]
    UnknownState,
    /// This same person and browser came back with it before. Nothing is wrong: lead them to the company. Its opt-in may be
    /// being stored by another process at this moment, or may have ended since.
    #[error("you came back from UPS.com with this before; the company shows what came of it")]
    AlreadyUsed {
        /// Which company.
        company: CompanyId,
        /// Where the host wanted the browser afterwards.
        return_to: Option<String>,
    },
    /// The browser has no secret: it refuses cookies, or another browser began this consent. It is still open.
    #[error(
        "this browser has no cookie of a trip to UPS.com; finish in the browser that went there, or start again here"
    )]
    NoBrowserSecret,
    /// The person took too long.
    #[error("too much time has passed since you went to UPS.com; start again from the company")]
    Expired,
    /// Another browser began this consent. It is still open for that browser.
    #[error("another browser went to UPS.com for this; finish there, or start again here")]
    OtherBrowser,
    /// Another person began this consent. It is still open for that person.
    #[error("another person went to UPS.com for this; sign in as that person, or start again")]
    OtherActor,
    /// The authorization was removed after this consent had begun.
    #[error("the authorization was removed in the meantime; start again from the company")]
    RemovedSince,
    /// The configured client is another than the one that asked.
    #[error("the UPS client id was changed in the meantime; start again from the company")]
    ClientChanged,
    /// The person declined.
    #[error("the request was declined at UPS.com; start again if that was a mistake")]
    Declined,
    /// UPS sent the person back with an error other than a denial.
    #[error("UPS.com could not complete the sign-in; try again")]
    SignInFailed(Evidence),
    /// UPS refused the authorization code.
    #[error("UPS did not accept the authorization code; start again from the company")]
    CodeRefused(Evidence),
    /// UPS did not answer, or with nothing usable. The code is not sent again.
    #[error("UPS did not answer; start again from the company")]
    Unanswered(Evidence),
    /// Nothing could be sent, or UPS limits the rate.
    #[error("UPS cannot be reached now; start again in a while")]
    Unavailable {
        /// How long to wait.
        retry_after: Duration,
    },
    /// UPS refuses our configuration or blocks the client; operators are told by an event.
    #[error("UPS refuses this application's configuration; an operator must look")]
    Misconfigured(Evidence),
    /// The host's [`OptInCheck`](crate::OptInCheck) refused, with this reason for the person: before anything was sent, and then
    /// the consent is still open, or before the opt-in was stored.
    #[error("the opt-in was refused")]
    RefusedByHost(OptInRefused),
    /// The store failed. What was exchanged is stored later if it can be.
    #[error("the opt-in could not be stored yet")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}

/// Why an address is not a return from UPS.com.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedCallback {
    /// The query is longer than any that UPS sends.
    #[error("it is too long")]
    TooLong,
    /// A parameter that must come once came twice.
    #[error("a parameter came twice")]
    Repeated,
    /// A percent-encoding that is none, or is not UTF-8.
    #[error("it is not properly encoded")]
    Encoding,
    /// There is no state.
    #[error("the state is missing")]
    NoState,
    /// There is neither a code nor an error.
    #[error("the code is missing")]
    NoCode,
    /// There is a code and an error.
    #[error("it has both a code and an error")]
    CodeAndError,
    /// The code is not printable ASCII, or longer than 4 KiB.
    #[error("the code is not one of UPS's")]
    InvalidCode,
    /// The issuer is another than UPS (RFC 9207).
    #[error("it comes from another issuer")]
    WrongIssuer,
}

/// The host's reason to refuse an opt-in, for the person who tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OptInRefused {
    reason: String,
}

impl OptInRefused {
    /// Refuses, with a reason for the person, e.g. "the shipper number 1A2B3C is not on this UPS profile".
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// There is no token.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nobody has opted in for the company, or the authorization was removed.
    #[error("the company is not authenticated; an administrator must authenticate it")]
    NotAuthenticated,
    /// The opt-in has ended.
    #[error("a new opt-in is needed: {0}")]
    ReauthRequired(Box<Cause>),
    /// UPS cannot be reached, does not answer, or asks for a pause. The opt-in is as it was.
    #[error("no token at the moment: {reason}; try again later")]
    Unavailable {
        /// Why.
        reason: Unavailable,
        /// How long to wait.
        retry_after: Duration,
    },
    /// UPS refuses our configuration or blocks the client: for every company, or so far for this one alone, as if its client
    /// were another. Tokens are kept.
    #[error("UPS refuses this application's configuration or blocks it; an operator must look")]
    Misconfigured {
        /// What UPS said, if it is known here.
        evidence: Box<Evidence>,
        /// When the next trial is due.
        retry_after: Duration,
    },
    /// The store failed: at the moment, or until an operator has looked.
    #[error("{}", no_token_for(.0))]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}

fn no_token_for(error: &StoreError) -> &'static str {
    match error.kind() {
        StoreErrorKind::Unavailable => "no token at the moment: the store cannot be asked; try again later",
        _ => "no token: the store failed, and an operator must look",
    }
}
