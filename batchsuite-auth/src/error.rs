//! What can go wrong, in the words of whoever has to act on it.
//!
//! `Display` never prints a source, a body, a URL or a value that came from outside; sources are chained.

use std::{
    error::Error,
    fmt::{self, Write as _},
    time::Duration,
};

use crate::{
    events::Evidence,
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
    /// The browser's secret is not one that this library gave out.
    #[error("the browser secret is not one of ours; begin without it and set the cookie anew")]
    InvalidBrowserSecret,
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
    /// The host's opt-in check refused the opt-in, with this reason for the person.
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
    /// UPS refuses our configuration or blocks the client, for every company. Tokens are kept.
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
    match error.responsible() {
        Responsible::Nobody => "no token at the moment: the store cannot be asked; try again later",
        _ => "no token: the store failed, and an operator must look",
    }
}

/// How long to wait for a store that is away.
const STORE_AWAY: Duration = Duration::from_secs(1);

/// Why there is no token at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// UPS cannot be reached; nothing was sent.
    #[error("UPS cannot be reached")]
    NotSent,
    /// UPS did not answer a refresh; it will be asked again.
    #[error("UPS did not answer")]
    Unanswered,
    /// UPS limits the rate.
    #[error("UPS limits the rate")]
    RateLimited,
    /// UPS answered what nobody has described.
    #[error("UPS gave an unknown answer")]
    UnknownAnswer,
    /// A refresh is still under way, here or in another process.
    #[error("a refresh is under way")]
    UnderWay,
    /// UPS's tokens cannot be used, or APIs reject them although they look valid.
    #[error("UPS's tokens cannot be used at present")]
    Unusable,
    /// The last try failed, and the next one is not due yet.
    #[error("the last try failed and the next one is not due yet")]
    Paused,
}

impl TokenError {
    /// Whether only a new opt-in by an administrator helps.
    pub fn needs_reauthorization(&self) -> bool {
        matches!(self, Self::NotAuthenticated | Self::ReauthRequired(_))
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Store(error) => error.is_transient(),
            Self::NotAuthenticated | Self::ReauthRequired(_) | Self::Misconfigured { .. } | Self::ShutDown => false,
        }
    }

    /// After how long the same call is worth repeating: always there if [`is_transient`](Self::is_transient). It is there as
    /// well for [`Misconfigured`](Self::Misconfigured), where repeating helps only once an operator has acted: so long UPS is
    /// not asked.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } | Self::Misconfigured { retry_after, .. } => Some(*retry_after),
            Self::Store(error) => error.is_transient().then_some(STORE_AWAY),
            Self::NotAuthenticated | Self::ReauthRequired(_) | Self::ShutDown => None,
        }
    }

    /// Who has to act; see [`Responsible`] for how this agrees with the other three.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::NotAuthenticated | Self::ReauthRequired(_) => Responsible::CompanyAdministrator,
            Self::Misconfigured { .. } => Responsible::Operator,
            Self::Store(error) => error.responsible(),
            Self::Unavailable { .. } | Self::ShutDown => Responsible::Nobody,
        }
    }
}

impl CallbackError {
    /// Whether the person may simply start again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Unavailable { .. } | Self::SignInFailed(_) => true,
            Self::Store(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Who has to act: the person who came back, by starting again, unless only an operator can help.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::Misconfigured(_) => Responsible::Operator,
            // The code is spent, or the consent not taken: the person has to start again either way.
            Self::Store(error) if !error.is_transient() => Responsible::Operator,
            _ => Responsible::CompanyAdministrator,
        }
    }

    /// How long to wait before starting again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

impl AuthenticateError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    /// Who has to act.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::Store(error) => error.responsible(),
            Self::ShutDown => Responsible::Nobody,
            _ => Responsible::Developer,
        }
    }
}

impl StoreError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        self.kind() == StoreErrorKind::Unavailable
    }

    /// Who has to act.
    pub fn responsible(&self) -> Responsible {
        match self.kind() {
            StoreErrorKind::Unavailable => Responsible::Nobody,
            StoreErrorKind::Corrupt | StoreErrorKind::Misconfigured | StoreErrorKind::Rejected => Responsible::Operator,
            StoreErrorKind::Pruned { .. } => Responsible::Developer,
        }
    }
}

/// Who has to act, so that what failed works again.
///
/// | | who | `needs_reauthorization` | `is_transient` | `retry_after` |
/// |---|---|---|---|---|
/// | [`TokenError::NotAuthenticated`], [`ReauthRequired`](TokenError::ReauthRequired) | company administrator | yes | no | – |
/// | [`TokenError::Unavailable`] | nobody | no | yes | yes |
/// | [`TokenError::Misconfigured`] | operator | no | no | when UPS is asked again; it helps once the operator has acted |
/// | [`TokenError::Store`], kind `Unavailable` | nobody | no | yes | 1 s |
/// | [`TokenError::Store`], any other kind | operator | no | no | – |
/// | [`TokenError::ShutDown`] | nobody: ask another process | no | no | – |
/// | [`CallbackError::Misconfigured`], [`Store`](CallbackError::Store) of another kind than `Unavailable` | operator | | no | – |
/// | any other [`CallbackError`] | company administrator, who starts again | | if that may help at once | where UPS must be left alone meanwhile |
/// | [`AuthenticateError::Store`] | like [`TokenError::Store`] | | as there | |
/// | [`AuthenticateError::ShutDown`] | nobody: ask another process | | no | |
/// | any other [`AuthenticateError`] | developer | | no | |
/// | [`StoreError`], kind `Unavailable` | nobody | | yes | |
/// | [`StoreError`], kind `Pruned` | developer: the reader of the log goes on behind the gap | | no | |
/// | [`StoreError`], any other kind | operator | | no | |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Responsible {
    /// A company's administrator, by authenticating.
    CompanyAdministrator,
    /// Who runs the service: its configuration, its client at UPS, its database or its keys.
    Operator,
    /// Who writes the service: it passes what this library cannot take.
    Developer,
    /// Nobody: it passes by itself, or the process is ending.
    Nobody,
}

/// `error` with its causes, on one line: what to log of an error, whose own `Display` never prints its source.
///
/// ```
/// use batchsuite_auth::{error::chain, store::{StoreError, StoreErrorKind}};
///
/// let error = StoreError::new(StoreErrorKind::Unavailable).with_source(std::io::Error::other("25006: read-only"));
/// assert_eq!(chain(&error).to_string(), "the store cannot be reached; try again: 25006: read-only");
/// ```
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

/// An error with its causes; see [`chain`].
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "{}", self.0)?;
        let mut error = self.0;
        while let Some(cause) = error.source() {
            write!(OneLine(f), ": {cause}")?;
            error = cause;
        }
        Ok(())
    }
}

/// Whoever wrote a cause must not write lines of the log.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.write_char(if c.is_control() { ' ' } else { c }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::CauseKind;

    fn store(kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind)
    }

    #[test]
    fn each_error_of_a_token_says_who_must_act_and_its_predicates_agree() {
        use Responsible::{CompanyAdministrator, Nobody, Operator};
        let wait = Duration::from_secs(7);
        let evidence = || Box::new(Evidence::default());
        let unavailable = |reason| TokenError::Unavailable { reason, retry_after: wait };
        let cause = |kind| TokenError::ReauthRequired(Cause::new(kind).into());
        // Error, who, needs_reauthorization, is_transient, retry_after.
        for (error, who, reauthorization, transient, retry_after) in [
            (TokenError::NotAuthenticated, CompanyAdministrator, true, false, None),
            (cause(CauseKind::OptInInvalidated), CompanyAdministrator, true, false, None),
            (cause(CauseKind::RotationLost), CompanyAdministrator, true, false, None),
            (cause(CauseKind::RefreshExpired), CompanyAdministrator, true, false, None),
            (cause(CauseKind::NoRefreshToken), CompanyAdministrator, true, false, None),
            (unavailable(Unavailable::NotSent), Nobody, false, true, Some(wait)),
            (unavailable(Unavailable::Unanswered), Nobody, false, true, Some(wait)),
            (unavailable(Unavailable::RateLimited), Nobody, false, true, Some(wait)),
            (unavailable(Unavailable::UnknownAnswer), Nobody, false, true, Some(wait)),
            (unavailable(Unavailable::UnderWay), Nobody, false, true, Some(wait)),
            (unavailable(Unavailable::Unusable), Nobody, false, true, Some(wait)),
            (unavailable(Unavailable::Paused), Nobody, false, true, Some(wait)),
            (TokenError::Misconfigured { evidence: evidence(), retry_after: wait }, Operator, false, false, Some(wait)),
            (TokenError::Store(store(StoreErrorKind::Unavailable)), Nobody, false, true, Some(STORE_AWAY)),
            (TokenError::Store(store(StoreErrorKind::Corrupt)), Operator, false, false, None),
            (TokenError::Store(store(StoreErrorKind::Misconfigured)), Operator, false, false, None),
            (TokenError::Store(store(StoreErrorKind::Rejected)), Operator, false, false, None),
            (TokenError::ShutDown, Nobody, false, false, None),
        ] {
            let said = (error.responsible(), error.needs_reauthorization(), error.is_transient(), error.retry_after());
            assert_eq!(said, (who, reauthorization, transient, retry_after), "{error:?}");
            assert_eq!(error.to_string().contains("operator"), who == Operator, "{error}");
        }
    }

    #[test]
    fn each_error_of_a_consent_and_of_the_store_says_who_must_act() {
        use Responsible::{CompanyAdministrator, Developer, Nobody, Operator};
        use StoreErrorKind::{Corrupt, Misconfigured, Rejected, Unavailable};
        let (evidence, wait) = (Evidence::default, Duration::from_secs(7));
        for (error, who, transient) in [
            (CallbackError::Malformed(MalformedCallback::NoCode), CompanyAdministrator, false),
            (CallbackError::UnknownState, CompanyAdministrator, false),
            (CallbackError::Expired, CompanyAdministrator, false),
            (CallbackError::OtherBrowser, CompanyAdministrator, false),
            (CallbackError::OtherActor, CompanyAdministrator, false),
            (CallbackError::RemovedSince, CompanyAdministrator, false),
            (CallbackError::ClientChanged, CompanyAdministrator, false),
            (CallbackError::Declined, CompanyAdministrator, false),
            (CallbackError::SignInFailed(evidence()), CompanyAdministrator, true),
            (CallbackError::CodeRefused(evidence()), CompanyAdministrator, false),
            (CallbackError::Unanswered(evidence()), CompanyAdministrator, true),
            (CallbackError::Unavailable { retry_after: wait }, CompanyAdministrator, true),
            (CallbackError::Misconfigured(evidence()), Operator, false),
            (CallbackError::RefusedByHost(OptInRefused::new("no")), CompanyAdministrator, false),
            (CallbackError::Store(store(Unavailable)), CompanyAdministrator, true),
            (CallbackError::Store(store(Corrupt)), Operator, false),
            (CallbackError::Store(store(Misconfigured)), Operator, false),
            (CallbackError::Store(store(Rejected)), Operator, false),
            (CallbackError::ShutDown, CompanyAdministrator, false),
        ] {
            assert_eq!((error.responsible(), error.is_transient()), (who, transient), "{error:?}");
        }
        for (error, who, transient) in [
            (AuthenticateError::InvalidReturnTo, Developer, false),
            (AuthenticateError::Store(store(Unavailable)), Nobody, true),
            (AuthenticateError::Store(store(Misconfigured)), Operator, false),
            (AuthenticateError::ShutDown, Nobody, false),
        ] {
            assert_eq!((error.responsible(), error.is_transient()), (who, transient), "{error:?}");
        }
        let gap = StoreErrorKind::Pruned { up_to: crate::events::EventId::START };
        for (kind, who) in [
            (Unavailable, Nobody),
            (Corrupt, Operator),
            (Misconfigured, Operator),
            (Rejected, Operator),
            (gap, Developer),
        ] {
            assert_eq!((store(kind).responsible(), store(kind).is_transient()), (who, who == Nobody), "{kind:?}");
        }
    }

    #[test]
    fn a_chain_has_every_cause_on_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("the pool\r\nfailed")]
        struct Pool(#[source] std::io::Error);

        let cause =
            StoreError::new(StoreErrorKind::Unavailable).with_source(Pool(std::io::Error::other("57P01\nforged")));

        let shown = chain(&TokenError::Store(cause)).to_string();

        assert!(shown.ends_with("the store cannot be reached; try again: the pool  failed: 57P01 forged"), "{shown}");
    }
}
