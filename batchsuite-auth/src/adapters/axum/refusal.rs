//! Refusals, worded for the person, with their status.

use std::time::Duration;

use http::StatusCode;

use crate::{
    error::{AuthenticateError, CallbackError, LinkError, OptInRefused, chain},
    ids::CompanyId,
    store::{StoreError, StoreErrorKind},
};

/// Why a person's request is refused. As a response: a plain page that repeats nothing from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The status of the response.
    pub status: StatusCode,
    /// The refusal as a heading.
    pub title: &'static str,
    /// The cause and the next step, in plain text.
    pub words: String,
    /// Time until the same request may succeed: the response's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The company, if this browser may know it.
    pub company: Option<CompanyId>,
    /// The company's page, as the next step.
    pub way_on: Option<String>,
}

/// The reason given if the host denies permission at the callback.
pub(super) const NO_MORE: &str = "You may not authenticate this company any more.";
/// The reason given while the host cannot check permissions.
pub(super) const CANNOT_ASK: &str = "The application\u{2019}s own data cannot be reached.";

/// The reason given if the host cannot check permissions after the exchange: the code is spent.
pub(super) const CANNOT_CONFIRM: &str =
    "The application\u{2019}s own data could not be reached, so the new authorization was not kept.";

const MAKER_NO_MORE: &str = "The person who made this link may not authenticate the company any more.";
const UNCHANGED: &str = "An authorization that the company had before is as it was.";

/// How a person starts again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Again {
    Button,
    NewLink,
}

impl Again {
    fn words(self) -> &'static str {
        match self {
            Self::Button => "Start again with Authenticate.",
            Self::NewLink => "Ask your colleague for a new link.",
        }
    }
}

impl Refusal {
    pub(super) fn new(status: StatusCode, title: &'static str, words: impl Into<String>) -> Self {
        Self { status, title, words: words.into(), retry_after: None, company: None, way_on: None }
    }

    fn later(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    fn start_again(words: &str, again: Again) -> Self {
        let words = format!("{words} {} {UNCHANGED}", again.words());
        Self::new(StatusCode::BAD_REQUEST, "Start again", words)
    }

    pub(super) fn denied() -> Self {
        let words = "You may not authenticate this company. Nothing was changed.";
        Self::new(StatusCode::FORBIDDEN, "Not allowed", words)
    }

    pub(super) fn hidden() -> Self {
        let words = "There is no such page, or it is not yours to see.";
        Self::new(StatusCode::NOT_FOUND, "Not found", words)
    }

    pub(super) fn unavailable() -> Self {
        let words = format!("{CANNOT_ASK} Nothing was changed. Try again in a while.");
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available now", words);
        refusal.later(Some(Duration::from_secs(1)))
    }

    pub(super) fn of_another_page() -> Self {
        let words =
            "This request does not come from a page of this application. Nothing was changed. Open the page again.";
        Self::new(StatusCode::FORBIDDEN, "Not from this application", words)
    }

    pub(super) fn method_not_allowed() -> Self {
        let words = "This address cannot be used that way. Nothing was changed.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Not possible", words)
    }

    fn shutting_down() -> Self {
        let words = "The application is being restarted. Try again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available now", words)
    }

    fn by_host(refused: &OptInRefused, again: Again) -> Self {
        let reason = match (refused.reason(), again) {
            (CANNOT_ASK, _) => return Self::unavailable(),
            (CANNOT_CONFIRM, _) => {
                let words = format!("{CANNOT_CONFIRM} {} {UNCHANGED}", again.words());
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available now", words);
            }
            (NO_MORE, Again::NewLink) => MAKER_NO_MORE,
            (reason, _) => reason,
        };
        let words = format!("{reason} {UNCHANGED}");
        Self::new(StatusCode::FORBIDDEN, "Not allowed", words)
    }

    /// The refusal of a return from UPS.com.
    pub(super) fn of_callback(error: &CallbackError, again: Again) -> Self {
        let start_again = |words: &str| Self::start_again(words, again);
        match error {
            CallbackError::Declined => {
                let words = "The authorization was declined at UPS.com. If that was a mistake, start again.";
                Self::new(StatusCode::BAD_REQUEST, "Declined", format!("{words} {} {UNCHANGED}", again.words()))
            }
            CallbackError::Expired => start_again("Too much time has passed since you went to UPS.com."),
            CallbackError::UnknownState => start_again("This return from UPS.com was used already, or is unknown."),
            CallbackError::AlreadyUsed { .. } => start_again("You came back from UPS.com with this before."),
            CallbackError::OtherBrowser => {
                start_again("This trip to UPS.com began in another browser. Finish it there, or start again here.")
            }
            CallbackError::NoBrowserSecret => start_again(
                "Your browser sent no cookie of this trip to UPS.com: it began in another browser or under another address of \
                 this site, or yours refuses cookies. Finish it there, or start again here.",
            ),
            CallbackError::OtherActor => {
                start_again("Somebody else began this trip to UPS.com. Sign in as that person, or start again.")
            }
            CallbackError::RemovedSince => {
                let words = "The authorization was removed while you were at UPS.com, so the new one was not kept.";
                Self::new(StatusCode::BAD_REQUEST, "Start again", format!("{words} {}", again.words()))
            }
            CallbackError::ClientChanged => {
                start_again("This application\u{2019}s UPS client was changed while you were at UPS.com.")
            }
            CallbackError::SignInFailed(_) => start_again("UPS.com could not complete the sign-in."),
            CallbackError::CodeRefused(_) => {
                start_again("UPS did not accept the return, perhaps because it came late.")
            }
            CallbackError::RefusedByHost(refused) => Self::by_host(refused, again),
            CallbackError::Unanswered(_) => {
                let words = "UPS did not answer, so the company could not be authenticated.";
                let words = format!("{words} {} {UNCHANGED}", again.words());
                Self::new(StatusCode::BAD_GATEWAY, "UPS did not answer", words)
            }
            CallbackError::Unavailable { .. } => {
                let again = match again {
                    Again::Button => "Start again in a while.",
                    Again::NewLink => "In a while, ask your colleague for a new link.",
                };
                let words = format!("UPS cannot be reached at this moment. {again} {UNCHANGED}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "UPS cannot be reached", words).later(error.retry_after())
            }
            CallbackError::Misconfigured(_) => {
                let words = "UPS refuses this application\u{2019}s own configuration. An operator must look.";
                Self::new(StatusCode::BAD_GATEWAY, "An operator must look", format!("{words} {UNCHANGED}"))
            }
            CallbackError::Store(error) if error.kind() == StoreErrorKind::Corrupt => {
                tracing::error!(error = %chain(error), "what was stored of a trip to UPS.com cannot be read");
                start_again("What was stored of this trip to UPS.com cannot be read.")
            }
            CallbackError::Store(error) => error.into(),
            CallbackError::ShutDown => Self::shutting_down(),
            CallbackError::Malformed(_) => start_again("This is not a valid return from UPS.com."),
        }
    }
}

impl From<&CallbackError> for Refusal {
    fn from(error: &CallbackError) -> Self {
        Self::of_callback(error, Again::Button)
    }
}

impl From<&AuthenticateError> for Refusal {
    fn from(error: &AuthenticateError) -> Self {
        match error {
            AuthenticateError::Store(error) => error.into(),
            AuthenticateError::ShutDown => Self::shutting_down(),
            AuthenticateError::InvalidReturnTo => {
                tracing::error!(%error, "a trip to UPS.com could not begin");
                let words = "The trip to UPS.com could not begin. Nothing was changed. A developer must look.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Not begun", words)
            }
        }
    }
}

impl From<&LinkError> for Refusal {
    fn from(error: &LinkError) -> Self {
        let gone = |words: &str| {
            let words = format!("{words} {}", Again::NewLink.words());
            Self::new(StatusCode::GONE, "This link leads no further", words)
        };
        match error {
            LinkError::Unknown => {
                let words = format!("This link is unknown, or too old. {}", Again::NewLink.words());
                Self::new(StatusCode::NOT_FOUND, "Unknown link", words)
            }
            LinkError::Used => gone("This link was used already: it works once."),
            LinkError::Expired => gone("This link is too old."),
            LinkError::RemovedSince => gone("The company\u{2019}s authorization was removed after this link was made."),
            LinkError::RefusedByHost(refused) if refused.reason() == CANNOT_ASK => Self::unavailable(),
            LinkError::RefusedByHost(_) => Self::new(StatusCode::FORBIDDEN, "Not allowed", MAKER_NO_MORE),
            LinkError::Store(error) => error.into(),
            LinkError::ShutDown => Self::shutting_down(),
        }
    }
}

impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Self {
        tracing::error!(error = %chain(error), "the opt-ins cannot be reached");
        match error.kind() {
            StoreErrorKind::Unavailable => {
                let words = "The authorizations cannot be reached. Try again in a while; none is lost.";
                let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available now", words);
                refusal.later(Some(Duration::from_secs(1)))
            }
            _ => {
                let words = "The stored authorizations cannot be used. An operator must look; none is lost.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "An operator must look", words)
            }
        }
    }
}
