//! Authenticate: the button, the permission to press it, and the page afterwards. The library's adapter does the trip
//! itself.

use std::sync::Arc;

use async_trait::async_trait;
use axum::response::{IntoResponse, Redirect, Response};
use batchsuite_auth::{
    ActorId, CompanyId, NewOptIn, OptInCheck,
    adapters::axum::{Host, Outcome, Permission, Visitor as Caller},
    error::OptInRefused,
};
use http::{Method, request::Parts};
use maud::{Markup, html};

use super::{connect_link, layout::csrf_field, refusal::Refusal};
use crate::{
    access::{SignedIn, Visitor, is_authenticated},
    app::App,
    directory::{Company, Directory, DirectoryError, Role},
    sessions::Message,
};

/// The button that starts the trip; `is_again` is for a company that is authenticated already.
pub(crate) fn button(visitor: &Visitor, company: &Company, is_again: bool) -> Markup {
    let label = if is_again { "Authenticate again" } else { "Authenticate" };
    html! {
        form method="post" action={ "/companies/" (company.id) "/authenticate" } {
            (csrf_field(visitor))
            button.secondary[is_again] type="submit" aria-label={ (label) " " (company.name) " at UPS.com" } { (label) }
        }
    }
}

/// This application as the [`Host`] of the library's routes.
pub(crate) struct Trips(pub(crate) App);

impl Host for Trips {
    async fn visitor(&self, request: &mut Parts) -> Caller {
        Visitor::of(request).person().map(|person| person.id.clone()).into()
    }

    async fn may_authenticate(&self, actor: &ActorId, company: &CompanyId) -> Permission {
        match administers(&*self.0.directory, actor, company).await {
            Ok(Some((_, true))) => Permission::Granted,
            // An admin user sees only authenticated companies.
            Ok(Some((Role::AdminUser, _))) => {
                self.0.auth.status(company).await.map_or(Permission::Unavailable, |known| {
                    if is_authenticated(&known.status) { Permission::Denied } else { Permission::Hidden }
                })
            }
            Ok(_) => Permission::Hidden,
            Err(_) => Permission::Unavailable,
        }
    }

    fn company_page(&self, company: &CompanyId) -> Option<String> {
        Some(format!("/companies/{company}"))
    }

    async fn company_name(&self, company: &CompanyId) -> String {
        let known = self.0.directory.company(company).await.ok().flatten();
        known.map_or_else(|| "a company".to_owned(), |known| known.name.as_str().to_owned())
    }

    async fn answer(&self, request: &Parts, outcome: Outcome) -> Response {
        let visitor = Visitor::of(request);
        match (outcome, visitor.signed_in()) {
            (Outcome::Authenticated { done, .. }, Some(signed_in)) => {
                let message = Message::Authenticated { refresh_expires_at: done.refresh_expires_at };
                told(&self.0, &signed_in, done.company, message).await.into_response()
            }
            // A harmless repetition: a reload, a second tab or the back button.
            (Outcome::CameAgain { company, .. }, Some(signed_in)) => {
                told(&self.0, &signed_in, company, Message::CameBackAgain).await.into_response()
            }
            (Outcome::SignedOut, _) => {
                let why = if request.method == Method::GET { "?why=start-again" } else { "" };
                Redirect::to(&format!("/login{why}")).into_response()
            }
            (Outcome::Refused(refused), _) => Refusal::from(refused).into_response(),
            (outcome, _) => connect_link::answer(&visitor, outcome),
        }
    }
}

/// What people have to know before they go to UPS.com.
pub(crate) fn before_you_go() -> Markup {
    html! {
        details.before {
            summary { "Before you go to UPS.com" }
            ul {
                li { "If you have several UPS.com accounts, sign out of UPS.com first: it signs you in with the last one without asking." }
                li { "Use the account that holds the shipper number. A CampusShip id cannot authorize." }
                li { "Add all shipper accounts to that UPS.com profile before you authorize." }
            }
        }
    }
}

/// Redirects to the company's page with a message.
async fn told(app: &App, signed_in: &SignedIn, company: CompanyId, message: Message) -> Result<Redirect, Refusal> {
    let page = Redirect::to(&format!("/companies/{company}"));
    signed_in.leave(app, company, message).await.map(|()| page)
}

/// The person's role, and whether this person administers the company.
async fn administers(
    directory: &dyn Directory,
    actor: &ActorId,
    company: &CompanyId,
) -> Result<Option<(Role, bool)>, DirectoryError> {
    let known = directory.person(actor).await?.zip(directory.company(company).await?);
    Ok(known.map(|(person, company)| (person.role, company.is_administered_by(&person))))
}

/// The same rule for opt-ins outside of these routes, for `BatchSuiteAuthBuilder::opt_in_check`.
#[derive(Clone, Debug)]
pub struct MayAuthenticate {
    /// Knows the administrators of each company.
    pub directory: Arc<dyn Directory>,
}

#[async_trait]
impl OptInCheck for MayAuthenticate {
    async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused> {
        let may = administers(&*self.directory, opt_in.actor, opt_in.company).await;
        let may = may.is_ok_and(|known| known.is_some_and(|(_, administers)| administers));
        may.then_some(()).ok_or_else(|| OptInRefused::new("You may not authenticate this company any more."))
    }
}
