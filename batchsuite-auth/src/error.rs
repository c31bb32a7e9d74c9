//! Errors, each described for the person who must act on it.
//!
//! `Display` never prints a source, a body, a URL or an external value; sources are chained.

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

/// The builder's settings are incomplete or invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A required setting is missing.
    #[error("{0} is missing; set it on the builder")]
    Missing(&'static str),
    /// A setting is invalid.
    #[error("{setting} is not usable: {reason}")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// The problem, and a valid value.
        reason: &'static str,
    },
    /// No tokio runtime is available for refreshes.
    #[error("there is no tokio runtime here; call build() inside one")]
    NoRuntime,
}

/// A trip to UPS.com could not begin.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// `return_to` is not a path on the host.
    #[error("return_to must be a path of your own that begins with a single '/'")]
    InvalidReturnTo,
    /// The store could not save the consent.
    #[error("the consent could not be stored")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}

/// The return from UPS.com did not lead to an opt-in. An earlier opt-in of the company is unchanged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// The URL is not a valid authorization response (RFC 6749 §4.1.2). Nothing was sent to UPS.
    #[error("this is not a valid return from UPS.com ({0}); start again from the company")]
    Malformed(MalformedCallback),
    /// The state is unknown: already used, too old, or never issued by this library.
    #[error("this return from UPS.com was used already or is unknown; start again from the company")]
    UnknownState,
    /// The same person and browser returned with this state before. This is harmless: send them to the company's page.
    /// Another process may still be storing its opt-in, or the opt-in may have ended since.
    #[error("you came back from UPS.com with this before; the company shows what came of it")]
    AlreadyUsed {
        /// The company.
        company: CompanyId,
        /// The host's path to send the browser to.
        return_to: Option<String>,
    },
    /// The browser sent no secret: it rejects cookies, or another browser began this consent. The consent is still
    /// open.
    #[error(
        "this browser has no cookie of a trip to UPS.com; finish in the browser that went there, or start again here"
    )]
    NoBrowserSecret,
    /// The consent expired before the person returned.
    #[error("too much time has passed since you went to UPS.com; start again from the company")]
    Expired,
    /// Another browser began this consent, which is still open for that browser.
    #[error("another browser went to UPS.com for this; finish there, or start again here")]
    OtherBrowser,
    /// Another person began this consent, which is still open for that person.
    #[error("another person went to UPS.com for this; sign in as that person, or start again")]
    OtherActor,
    /// The authorization was removed after this consent began.
    #[error("the authorization was removed in the meantime; start again from the company")]
    RemovedSince,
    /// The configured client id differs from the one that began the consent.
    #[error("the UPS client id was changed in the meantime; start again from the company")]
    ClientChanged,
    /// The person declined.
    #[error("the request was declined at UPS.com; start again if that was a mistake")]
    Declined,
    /// UPS returned an error other than a denial.
    #[error("UPS.com could not complete the sign-in; try again")]
    SignInFailed(Evidence),
    /// UPS refused the authorization code.
    #[error("UPS did not accept the authorization code; start again from the company")]
    CodeRefused(Evidence),
    /// UPS did not respond, or sent an unusable response. The code is not sent again.
    #[error("UPS did not answer; start again from the company")]
    Unanswered(Evidence),
    /// The request could not be sent, or UPS limits the rate.
    #[error("UPS cannot be reached now; start again in a while")]
    Unavailable {
        /// Time to wait before starting again.
        retry_after: Duration,
    },
    /// UPS rejects the client's configuration or blocks the client; an event informs operators.
    #[error("UPS refuses this application's configuration; an operator must look")]
    Misconfigured(Evidence),
    /// The host's [`OptInCheck`](crate::OptInCheck) refused, with this reason for the person: either before anything
    /// was sent (the consent is then still open), or before the opt-in was stored.
    #[error("the opt-in was refused")]
    RefusedByHost(OptInRefused),
    /// The store failed. Tokens that were already issued are stored later if possible.
    #[error("the opt-in could not be stored yet")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}

/// Why a URL is not a valid return from UPS.com.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedCallback {
    /// The query is longer than any that UPS sends.
    #[error("it is too long")]
    TooLong,
    /// A parameter occurs twice (RFC 6749 §3.1).
    #[error("a parameter came twice")]
    Repeated,
    /// The percent-encoding is invalid, or the decoded text is not UTF-8.
    #[error("it is not properly encoded")]
    Encoding,
    /// The state is missing.
    #[error("the state is missing")]
    NoState,
    /// Both code and error are missing.
    #[error("the code is missing")]
    NoCode,
    /// Both a code and an error are present.
    #[error("it has both a code and an error")]
    CodeAndError,
    /// The code is longer than 4 KiB or not printable ASCII.
    #[error("the code is not one of UPS's")]
    InvalidCode,
    /// The issuer is not UPS (RFC 9207).
    #[error("it comes from another issuer")]
    WrongIssuer,
}

/// The host's reason for refusing an opt-in, to show to the person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OptInRefused {
    reason: String,
}

impl OptInRefused {
    /// Refuses with a reason for the person, e.g. "the shipper number 1A2B3C is not on this UPS profile".
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// No access token is available.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The company never opted in, or its authorization was removed.
    #[error("the company is not authenticated; an administrator must authenticate it")]
    NotAuthenticated,
    /// The opt-in has ended.
    #[error("a new opt-in is needed: {0}")]
    ReauthRequired(Box<Cause>),
    /// UPS is unreachable, does not respond, or requires a pause. The opt-in is unchanged.
    #[error("no token at the moment: {reason}; try again later")]
    Unavailable {
        /// The reason.
        reason: Unavailable,
        /// Time to wait before retrying.
        retry_after: Duration,
    },
    /// UPS rejects the client's configuration or blocks the client: for every company, or so far only for this one, as
    /// if its client were a different one. Tokens are kept.
    #[error("UPS refuses this application's configuration or blocks it; an operator must look")]
    Misconfigured {
        /// UPS's response, if known to this process.
        evidence: Box<Evidence>,
        /// Time until the next trial.
        retry_after: Duration,
    },
    /// The store failed, either temporarily or until an operator acts.
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
