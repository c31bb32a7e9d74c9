//! What the adapter asks the host, and what it tells the host.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use axum::response::Response;
use http::request::Parts;
use url::Url;

use super::refusal::{CANNOT_ASK, Refusal};
use crate::{
    clock::Timestamp,
    consent::{NewOptIn, OptInCheck, OptedIn},
    error::OptInRefused,
    ids::{ActorId, CompanyId},
};

/// The application around the routes: who its people are, what they may do, and how its pages look.
///
/// Two questions must be answered; everything else has a plain default. `async fn` may be written in an `impl`.
pub trait Host: Send + Sync + 'static {
    /// Who sent this request: the person of its session. Axum's extractors can be run on `request`.
    fn visitor(&self, request: &mut Parts) -> impl Future<Output = Visitor> + Send;

    /// Whether this person may authenticate this company. Asked when a trip begins, when a connect link is made, opened and
    /// followed, at the callback before anything is sent to UPS, and once more before the opt-in is stored.
    fn may_authenticate(&self, actor: &ActorId, company: &CompanyId) -> impl Future<Output = Permission> + Send;

    /// The page of a company, as a path of the host's own: where a browser goes after the callback. By default there is none,
    /// and a plain page is shown.
    fn company_page(&self, company: &CompanyId) -> Option<String> {
        let _ = company;
        None
    }

    /// The name of a company, for pages that people read. By default its id.
    fn company_name(&self, company: &CompanyId) -> impl Future<Output = String> + Send {
        std::future::ready(company.to_string())
    }

    /// The answer to a request, in the host's own design. By default [`Outcome::into_response`](axum::response::IntoResponse),
    /// also useful for the outcomes that a host does not care about.
    fn answer(&self, request: &Parts, outcome: Outcome) -> impl Future<Output = Response> + Send {
        let _ = request;
        std::future::ready(axum::response::IntoResponse::into_response(outcome))
    }
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Visitor {
    /// This person is signed in.
    Actor(ActorId),
    /// Nobody is signed in.
    SignedOut,
    /// Cannot be told now: the host's sessions cannot be reached. Answered with 503; nothing is used up.
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
    /// Yes.
    Granted,
    /// No: 403.
    Denied,
    /// No, and the person must not learn whether there is such a company: 404.
    Hidden,
    /// Cannot be told now: the host's data cannot be reached. Answered with 503; no consent is used up.
    Unavailable,
}

impl From<bool> for Permission {
    fn from(is_granted: bool) -> Self {
        if is_granted { Self::Granted } else { Self::Denied }
    }
}

/// What a request led to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The company is authenticated. By default a redirect to [`OptedIn::return_to`] (the
    /// [company's page](Host::company_page)), or a plain page.
    #[non_exhaustive]
    Authenticated {
        /// The opt-in.
        done: OptedIn,
        /// The company's name.
        company_name: String,
    },
    /// The company is authenticated, in a browser that followed a connect link: nobody is signed in there. By default a plain
    /// page.
    #[non_exhaustive]
    AuthenticatedByLink {
        /// The opt-in.
        done: OptedIn,
        /// The company's name.
        company_name: String,
    },
    /// The same return came before: a reload, a second tab, the back button. Nothing is wrong. By default like
    /// [`Authenticated`](Self::Authenticated), without its claim.
    #[non_exhaustive]
    CameAgain {
        /// Which company.
        company: CompanyId,
        /// The company's page.
        return_to: Option<String>,
    },
    /// Nobody is signed in who could begin or complete this. By default a page with status 401 that says so. (The return from
    /// UPS.com is still open: whoever began it can sign in, go back, and reload within ten minutes.)
    SignedOut,
    /// It did not work. By default a page with the reason.
    Refused(Refusal),
    /// A connect link was made, for the person who asked for it to pass on. By default a page with the address. Keep it from
    /// logs and caches.
    #[non_exhaustive]
    LinkMade {
        /// The address.
        address: Url,
        /// Which company.
        company: CompanyId,
        /// The company's name.
        company_name: String,
        /// Until when it can be followed.
        expires_at: Timestamp,
    },
    /// A connect link was opened, which uses nothing up. By default a page that names the company, with the button: a form
    /// without fields that posts to its own address.
    #[non_exhaustive]
    LinkOpened {
        /// Which company.
        company: CompanyId,
        /// The company's name.
        company_name: String,
        /// What a `form-action` directive must allow: [`form_action`](crate::BatchSuiteAuth::form_action).
        form_action: String,
    },
}

/// Asks the host at the callback as well.
pub(super) struct Rights<H>(pub(super) Arc<H>);

impl<H> fmt::Debug for Rights<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rights")
    }
}

impl<H: Host> Rights<H> {
    async fn ask(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        match self.0.may_authenticate(actor, company).await {
            Permission::Granted => Ok(()),
            Permission::Denied | Permission::Hidden => {
                Err(OptInRefused::new("You may not authenticate this company any more."))
            }
            Permission::Unavailable => Err(OptInRefused::new(CANNOT_ASK)),
        }
    }
}

#[async_trait]
impl<H: Host> OptInCheck for Rights<H> {
    async fn before_sending(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        self.ask(company, actor).await
    }

    async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused> {
        self.ask(opt_in.company, opt_in.actor).await
    }
}
