//! The adapter's questions to the host, and the outcomes that it reports.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use axum::response::Response;
use http::request::Parts;
use url::Url;

use super::refusal::{CANNOT_ASK, CANNOT_CONFIRM, NO_MORE, Refusal};
use crate::{
    clock::Timestamp,
    consent::{NewOptIn, OptInCheck, OptedIn},
    error::OptInRefused,
    ids::{ActorId, CompanyId},
};

/// The application around the routes: its people, their permissions, and the design of its pages.
///
/// Two methods are required; the others have plain defaults. An `impl` may use `async fn`.
pub trait Host: Send + Sync + 'static {
    /// The person who sent this request, from the request's session. Axum's extractors can be run on `request`.
    fn visitor(&self, request: &mut Parts) -> impl Future<Output = Visitor> + Send;

    /// Whether this person may authenticate this company. Asked when a trip begins; when a connect link is made, opened
    /// and followed; at the callback before anything is sent to UPS; and again before the opt-in is stored.
    fn may_authenticate(&self, actor: &ActorId, company: &CompanyId) -> impl Future<Output = Permission> + Send;

    /// The company's page, as a path on the host: the browser's destination after the callback. An id in it must be
    /// percent-encoded: [`CompanyId::path_segment`]. By default there is none, and a plain page is shown.
    fn company_page(&self, company: &CompanyId) -> Option<String> {
        let _ = company;
        None
    }

    /// The company's display name. Default: its id.
    fn company_name(&self, company: &CompanyId) -> impl Future<Output = String> + Send {
        std::future::ready(company.to_string())
    }

    /// The response for an outcome, in the host's own design. Default:
    /// [`Outcome::into_response`](axum::response::IntoResponse), which a host can also call for outcomes that it does
    /// not handle itself.
    fn answer(&self, request: &Parts, outcome: Outcome) -> impl Future<Output = Response> + Send {
        let _ = request;
        std::future::ready(axum::response::IntoResponse::into_response(outcome))
    }
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Visitor {
    /// This person is signed in.
    Actor(ActorId),
    /// Nobody is signed in.
    SignedOut,
    /// Unknown, because the host's sessions are unavailable. Answered with 503; nothing is used up.
    Unavailable,
}

impl From<Option<ActorId>> for Visitor {
    fn from(actor: Option<ActorId>) -> Self {
        actor.map_or(Self::SignedOut, Self::Actor)
    }
}

/// Whether a person may authenticate a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permission {
    /// The person may.
    Granted,
    /// The person may not: 403.
    Denied,
    /// The person may not, and must not learn whether the company exists: 404.
    Hidden,
    /// Unknown, because the host's data is unavailable. Answered with 503. No consent is used up, except after the
    /// exchange with UPS: then the new opt-in is not kept, and the person must start again.
    Unavailable,
}

impl From<bool> for Permission {
    fn from(is_granted: bool) -> Self {
        if is_granted { Self::Granted } else { Self::Denied }
    }
}

/// The outcome of a request.
#[derive(Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// The company is authenticated. Default: a redirect to [`OptedIn::return_to`] (the [company's
    /// page](Host::company_page)), or a plain page.
    #[non_exhaustive]
    Authenticated {
        /// The completed opt-in.
        done: OptedIn,
        /// The company's name.
        company_name: String,
    },
    /// The company is authenticated, in a browser that followed a connect link, where nobody is signed in. Default: a
    /// plain page.
    #[non_exhaustive]
    AuthenticatedByLink {
        /// The completed opt-in.
        done: OptedIn,
        /// The company's name.
        company_name: String,
    },
    /// A repeated return from UPS.com: a reload, a second tab or the back button. It is harmless. Default: like
    /// [`Authenticated`](Self::Authenticated), without stating that the company is authenticated.
    #[non_exhaustive]
    CameAgain {
        /// The company.
        company: CompanyId,
        /// The company's page.
        return_to: Option<String>,
    },
    /// Nobody is signed in to begin or complete this. Default: a page with status 401 that says so. (A return from
    /// UPS.com stays open: the person who began it can sign in, go back and reload within ten minutes.)
    SignedOut,
    /// The request failed. Default: a page with the reason.
    Refused(Refusal),
    /// A connect link was made, for the signed-in person to pass on. Default: a page with its URL. Keep the URL out of
    /// logs and caches; `Debug` omits it.
    #[non_exhaustive]
    LinkMade {
        /// The link's URL.
        address: Url,
        /// The company.
        company: CompanyId,
        /// The company's name.
        company_name: String,
        /// When the link expires.
        expires_at: Timestamp,
    },
    /// A connect link was opened, without being used. Default: a page that names the company and has the button, which
    /// is a form without fields that posts to its own URL. Any page is sent with `Referrer-Policy: strict-origin`; a
    /// middleware must not replace that by `no-referrer`, with which browsers post the form with `Origin: null`.
    #[non_exhaustive]
    LinkOpened {
        /// The company.
        company: CompanyId,
        /// The company's name.
        company_name: String,
        /// The sources that a `form-action` directive must allow: [`form_action`](crate::BatchSuiteAuth::form_action).
        form_action: String,
    },
}

/// Omits the address of a connect link.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut of_company = |name, done: &OptedIn, company_name: &str| {
            f.debug_struct(name).field("done", done).field("company_name", &company_name).finish()
        };
        match self {
            Self::Authenticated { done, company_name } => of_company("Authenticated", done, company_name),
            Self::AuthenticatedByLink { done, company_name } => of_company("AuthenticatedByLink", done, company_name),
            Self::CameAgain { company, return_to } => {
                f.debug_struct("CameAgain").field("company", company).field("return_to", return_to).finish()
            }
            Self::SignedOut => f.write_str("SignedOut"),
            Self::Refused(refusal) => f.debug_tuple("Refused").field(refusal).finish(),
            Self::LinkMade { company, expires_at, .. } => {
                let mut shown = f.debug_struct("LinkMade");
                shown.field("company", company).field("expires_at", expires_at).finish_non_exhaustive()
            }
            Self::LinkOpened { company, .. } => {
                f.debug_struct("LinkOpened").field("company", company).finish_non_exhaustive()
            }
        }
    }
}

/// Asks [`Host::may_authenticate`] again at the callback.
pub(super) struct Rights<H>(pub(super) Arc<H>);

impl<H> fmt::Debug for Rights<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rights")
    }
}

impl<H: Host> Rights<H> {
    async fn ask(&self, company: &CompanyId, actor: &ActorId, unknown: &'static str) -> Result<(), OptInRefused> {
        match self.0.may_authenticate(actor, company).await {
            Permission::Granted => Ok(()),
            Permission::Denied | Permission::Hidden => Err(OptInRefused::new(NO_MORE)),
            Permission::Unavailable => Err(OptInRefused::new(unknown)),
        }
    }
}

#[async_trait]
impl<H: Host> OptInCheck for Rights<H> {
    async fn before_sending(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        self.ask(company, actor, CANNOT_ASK).await
    }

    async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused> {
        self.ask(opt_in.company, opt_in.actor, CANNOT_CONFIRM).await
    }
}
