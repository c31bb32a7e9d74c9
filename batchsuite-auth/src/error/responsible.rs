//! Who must act on an error, and when to repeat the call.

use std::time::Duration;

use serde::Serialize;

use super::{AuthenticateError, CallbackError, ImportError, LinkError, TokenError};
use crate::store::{StoreError, StoreErrorKind};

/// Who must act before the failed call can succeed.
///
/// | | who | `needs_reauthorization` | `is_transient` | `retry_after` |
/// |---|---|---|---|---|
/// | [`TokenError::NotAuthenticated`], [`ReauthRequired`](TokenError::ReauthRequired) | company administrator | yes | no | – |
/// | [`TokenError::Unavailable`] | nobody | no | yes | yes |
/// | [`TokenError::Misconfigured`] | operator | no | no | until UPS is asked again; a retry helps only after the operator has acted |
/// | [`TokenError::Store`], kind `Unavailable` | nobody | no | yes | 1 s |
/// | [`TokenError::Store`], any other kind | operator | no | no | – |
/// | [`TokenError::ShutDown`] | nobody: ask another process | no | no | – |
/// | [`CallbackError::Misconfigured`], [`Store`](CallbackError::Store) of a kind other than `Unavailable` | operator | | no | – |
/// | [`CallbackError::AlreadyUsed`] | nobody: send the person to the company's page | | no | – |
/// | any other [`CallbackError`] | company administrator, who starts again | | if an immediate restart may help | if UPS requires a pause |
/// | [`AuthenticateError::Store`] | like [`TokenError::Store`] | | like that | |
/// | [`AuthenticateError::ShutDown`] | nobody: ask another process | | no | |
/// | any other [`AuthenticateError`] | developer | | no | |
/// | [`ImportError::Store`], [`ShutDown`](ImportError::ShutDown) | like [`AuthenticateError`]'s | | like those | |
/// | [`ImportError::Implausible`] | developer | | no | |
/// | [`ImportError::Ended`] | company administrator, who authenticates | | no | |
/// | [`ImportError::ChangedSince`] | operator, who checks the company | | no | |
/// | [`ImportError::NewerOptIn`] | nobody: the company is authenticated | | no | |
/// | [`LinkError::Store`] | like [`TokenError::Store`] | | like that | like that |
/// | [`LinkError::ShutDown`] | nobody: ask another process | | no | – |
/// | any other [`LinkError`] | company administrator, who makes a new link | | no | – |
/// | [`StoreError`], kind `Unavailable` | nobody | | yes | |
/// | [`StoreError`], kind `Pruned` | developer: the log reader continues after the gap | | no | |
/// | [`StoreError`], any other kind | operator | | no | |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Responsible {
    /// A company's administrator, by authenticating.
    CompanyAdministrator,
    /// The operator of the service: its configuration, its client at UPS, its database or its keys.
    Operator,
    /// The developer of the service: it passes a value that this library rejects.
    Developer,
    /// UPS: it does not answer, or answers in a way that nobody here can change.
    Ups,
    /// Nobody: the error is temporary, or the process is ending.
    Nobody,
}

/// Time to wait while the store is unavailable.
const STORE_AWAY: Duration = Duration::from_secs(1);

impl TokenError {
    /// Whether only a new opt-in by an administrator can help.
    pub fn needs_reauthorization(&self) -> bool {
        matches!(self, Self::NotAuthenticated | Self::ReauthRequired(_))
    }

    /// Whether the same call may succeed later without intervention.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Store(error) => error.is_transient(),
            Self::NotAuthenticated | Self::ReauthRequired(_) | Self::Misconfigured { .. } | Self::ShutDown => false,
        }
    }

    /// Time to wait before repeating the call; always present if [`is_transient`](Self::is_transient). It is also
    /// present for [`Misconfigured`](Self::Misconfigured), as the time until UPS is asked again; repeating helps only
    /// after an operator has acted.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } | Self::Misconfigured { retry_after, .. } => Some(*retry_after),
            Self::Store(error) => error.is_transient().then_some(STORE_AWAY),
            Self::NotAuthenticated | Self::ReauthRequired(_) | Self::ShutDown => None,
        }
    }

    /// Who must act; [`Responsible`] has a table of this and the other three methods.
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
    /// Whether the person can simply start again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Unavailable { .. } | Self::SignInFailed(_) => true,
            Self::Store(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Who must act: the person who returned, by starting again, unless only an operator can help.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::Misconfigured(_) => Responsible::Operator,
            // Either the code is spent or the consent was not used: the person must start again in both cases.
            Self::Store(error) if !error.is_transient() => Responsible::Operator,
            Self::AlreadyUsed { .. } => Responsible::Nobody,
            _ => Responsible::CompanyAdministrator,
        }
    }

    /// Time to wait before starting again, if known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

impl AuthenticateError {
    /// Whether the same call may succeed later without intervention.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    /// Who must act.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::Store(error) => error.responsible(),
            Self::ShutDown => Responsible::Nobody,
            _ => Responsible::Developer,
        }
    }
}

impl ImportError {
    /// Whether the same call may succeed later without intervention.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    /// Who must act.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::Implausible(_) => Responsible::Developer,
            Self::Ended => Responsible::CompanyAdministrator,
            Self::ChangedSince => Responsible::Operator,
            Self::Store(error) => error.responsible(),
            Self::NewerOptIn | Self::ShutDown => Responsible::Nobody,
        }
    }
}

impl LinkError {
    /// Whether the same link may work later without intervention.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    /// Time to wait before trying the same link again; present if [`is_transient`](Self::is_transient).
    pub fn retry_after(&self) -> Option<Duration> {
        self.is_transient().then_some(STORE_AWAY)
    }

    /// Who must act.
    pub fn responsible(&self) -> Responsible {
        match self {
            Self::Store(error) => error.responsible(),
            Self::ShutDown => Responsible::Nobody,
            _ => Responsible::CompanyAdministrator,
        }
    }
}

impl StoreError {
    /// Whether the same call may succeed later without intervention.
    pub fn is_transient(&self) -> bool {
        self.kind() == StoreErrorKind::Unavailable
    }

    /// Who must act.
    pub fn responsible(&self) -> Responsible {
        match self.kind() {
            StoreErrorKind::Unavailable => Responsible::Nobody,
            StoreErrorKind::Corrupt | StoreErrorKind::Misconfigured | StoreErrorKind::Rejected => Responsible::Operator,
            StoreErrorKind::Pruned { .. } => Responsible::Developer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::{
        error::{ErrorKind, ImplausibleTokens, MalformedCallback, OptInRefused, Unavailable, chain},
        events::{EventId, Evidence},
        machine::CauseKind,
        status::Cause,
    };

    fn store(kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind)
    }

    /// A log shows an error with its causes.
    fn repeats_no_cause(mut error: &(dyn Error + 'static)) {
        while let Some(cause) = error.source() {
            assert!(!error.to_string().contains(&cause.to_string()), "{}", chain(error));
            error = cause;
        }
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
            repeats_no_cause(&error);
            let said = (error.responsible(), error.needs_reauthorization(), error.is_transient(), error.retry_after());
            assert_eq!(said, (who, reauthorization, transient, retry_after), "{error:?}");
            let kind = match who {
                CompanyAdministrator => ErrorKind::Reauthorize,
                Operator => ErrorKind::Operator,
                _ => ErrorKind::Retry,
            };
            assert_eq!(error.kind(), kind, "{error:?}");
            assert_eq!(error.to_string().contains("operator"), who == Operator, "{error}");
        }
    }

    #[test]
    fn each_error_of_a_connect_link_says_who_must_act() {
        use Responsible::{CompanyAdministrator, Nobody, Operator};
        for (error, who, retry_after) in [
            (LinkError::Unknown, CompanyAdministrator, None),
            (LinkError::Used, CompanyAdministrator, None),
            (LinkError::Expired, CompanyAdministrator, None),
            (LinkError::RemovedSince, CompanyAdministrator, None),
            (LinkError::RefusedByHost(OptInRefused::new("no")), CompanyAdministrator, None),
            (LinkError::Store(store(StoreErrorKind::Unavailable)), Nobody, Some(STORE_AWAY)),
            (LinkError::Store(store(StoreErrorKind::Corrupt)), Operator, None),
            (LinkError::ShutDown, Nobody, None),
        ] {
            repeats_no_cause(&error);
            let said = (error.responsible(), error.retry_after(), error.is_transient());
            assert_eq!(said, (who, retry_after, retry_after.is_some()), "{error:?}");
        }
    }

    #[test]
    fn each_error_of_a_consent_and_of_the_store_says_who_must_act() {
        use Responsible::{CompanyAdministrator, Developer, Nobody, Operator};
        use StoreErrorKind::{Corrupt, Misconfigured, Rejected, Unavailable};
        let (evidence, wait) = (Evidence::default, Duration::from_secs(7));
        let person = |error: &CallbackError| !error.is_transient() && !matches!(error, CallbackError::ShutDown);
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
            (CallbackError::AlreadyUsed { company: "acme".parse().unwrap(), return_to: None }, Nobody, false),
        ] {
            repeats_no_cause(&error);
            assert_eq!((error.responsible(), error.is_transient()), (who, transient), "{error:?}");
            let kind = match who {
                Operator => ErrorKind::Operator,
                _ if person(&error) => ErrorKind::Person,
                _ => ErrorKind::Retry,
            };
            assert_eq!(error.kind(), kind, "{error:?}");
        }
        for (error, who, transient) in [
            (AuthenticateError::InvalidReturnTo, Developer, false),
            (AuthenticateError::Store(store(Unavailable)), Nobody, true),
            (AuthenticateError::Store(store(Misconfigured)), Operator, false),
            (AuthenticateError::ShutDown, Nobody, false),
        ] {
            repeats_no_cause(&error);
            assert_eq!((error.responsible(), error.is_transient()), (who, transient), "{error:?}");
            let kind = if who == Nobody { ErrorKind::Retry } else { ErrorKind::Operator };
            assert_eq!(error.kind(), kind, "{error:?}");
        }
        for (error, who, transient, kind) in [
            (ImportError::Implausible(ImplausibleTokens::Empty), Developer, false, ErrorKind::Operator),
            (ImportError::Ended, CompanyAdministrator, false, ErrorKind::Reauthorize),
            (ImportError::ChangedSince, Operator, false, ErrorKind::Operator),
            (ImportError::NewerOptIn, Nobody, false, ErrorKind::Operator),
            (ImportError::Store(store(Unavailable)), Nobody, true, ErrorKind::Retry),
            (ImportError::Store(store(Corrupt)), Operator, false, ErrorKind::Operator),
            (ImportError::ShutDown, Nobody, false, ErrorKind::Retry),
        ] {
            repeats_no_cause(&error);
            assert_eq!((error.responsible(), error.is_transient()), (who, transient), "{error:?}");
            assert_eq!(error.kind(), kind, "{error:?}");
        }
        let gap = StoreErrorKind::Pruned { up_to: EventId::START };
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
}
