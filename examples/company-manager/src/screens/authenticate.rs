//! Authenticate: to UPS.com and back.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use batchsuite_auth::{
    CompanyId, NewOptIn, OptInCheck, OptedIn,
    error::{AuthenticateError, CallbackError, OptInRefused, chain},
    store::StoreErrorKind,
};
use http::{HeaderMap, StatusCode, header};
use maud::{Markup, html};

use super::{layout::csrf_field, refusal::Refusal};
use crate::{
    access::{Id, SignedIn, Visitor},
    app::App,
    directory::{Company, Directory},
    sessions::Message,
};

/// The button that starts the trip.
pub(crate) fn button(visitor: &Visitor, company: &Company) -> Markup {
    form(visitor, company, "Authenticate", false)
}

/// The same where there is no need to: the company is authenticated.
pub(crate) fn button_again(visitor: &Visitor, company: &Company) -> Markup {
    form(visitor, company, "Authenticate again", true)
}

fn form(visitor: &Visitor, company: &Company, label: &str, is_secondary: bool) -> Markup {
    html! {
        form method="post" action={ "/companies/" (company.id) "/authenticate" } {
            (csrf_field(visitor))
            button.secondary[is_secondary] type="submit" aria-label={ (label) " " (company.name) " at UPS.com" } { (label) }
        }
    }
}

/// Sends the browser to UPS.com.
pub(crate) async fn authenticate(
    State(app): State<App>,
    signed_in: SignedIn,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (company, _) = signed_in.administered_company(&app, &id).await?;
    let known = app.auth.trip_cookie().secrets(&headers);
    let consent = app.auth.authenticate(&company.id, &signed_in.person.id).browser_secret(known.first().cloned());
    let trip = consent.return_to(company_page(&company.id)).await.map_err(|error| cannot_begin(error, &company.id))?;
    app.trips.begin(&trip, company.id, app.clock.now());

    let mut response = Redirect::to(trip.url.as_str()).into_response();
    response.headers_mut().append(header::SET_COOKIE, trip.set_cookie());
    Ok(response)
}

/// Takes the browser back from UPS.com, and sends it on to an address without a secret.
pub(crate) async fn callback(
    State(app): State<App>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Some(signed_in) = visitor.signed_in() else {
        return Ok(Redirect::to("/login?why=start-again").into_response());
    };
    let query = query.unwrap_or_default();
    let company = app.trips.company(&query);
    // Before anything is sent to UPS: the right may have been withdrawn since the trip began.
    if let Some(company) = &company
        && !may_authenticate(&app, &signed_in, company).await?
    {
        return Err(lost_right());
    }
    let browser = app.auth.trip_cookie().secrets(&headers);

    let (company, return_to, message) = match app.auth.callback(&signed_in.person.id, &query, &browser).await {
        Ok(OptedIn { company, refresh_expires_at, return_to, .. }) => {
            (company, return_to, Message::Authenticated { refresh_expires_at })
        }
        // A reload, a second tab, the back button: nothing is wrong.
        Err(CallbackError::AlreadyUsed { company, return_to }) => (company, return_to, Message::CameBackAgain),
        Err(error) => return Err(refused(&error, company.as_ref())),
    };
    signed_in.leave(&app, company.clone(), message).await?;
    Ok(Redirect::to(&return_to.unwrap_or_else(|| company_page(&company))).into_response())
}

/// Lets an opt-in count only if the person who brought it still administers the company: the exchange takes its time, and
/// another instance of this application may have sent the browser on its way. For `BatchSuiteAuthBuilder::opt_in_check`.
#[derive(Clone, Debug)]
pub struct MayAuthenticate {
    /// Knows who administers what.
    pub directory: Arc<dyn Directory>,
}

#[async_trait]
impl OptInCheck for MayAuthenticate {
    async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused> {
        let person = self.directory.person(opt_in.actor).await;
        let company = self.directory.company(opt_in.company).await;
        match (person, company) {
            (Ok(Some(person)), Ok(Some(company))) if company.is_administered_by(&person) => Ok(()),
            _ => Err(OptInRefused::new("you may not authenticate this company any more")),
        }
    }
}

async fn may_authenticate(app: &App, signed_in: &SignedIn, company: &CompanyId) -> Result<bool, Refusal> {
    Ok(app.directory.company(company).await?.is_some_and(|company| signed_in.administers(&company)))
}

fn company_page(company: &CompanyId) -> String {
    format!("/companies/{company}")
}

fn lost_right() -> Refusal {
    let words = "You may not authenticate this company any more. Nothing was changed.";
    Refusal::new(StatusCode::FORBIDDEN, "Not allowed", words)
}

fn cannot_begin(error: AuthenticateError, company: &CompanyId) -> Refusal {
    let refusal = match error {
        AuthenticateError::Store(error) => Refusal::from(error),
        AuthenticateError::ShutDown => shutting_down(),
        error => {
            tracing::error!(error = %chain(&error), "a trip to UPS.com could not begin");
            let words = "The trip to UPS.com could not begin. Nothing was changed. Try again.";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Not begun", words)
        }
    };
    refusal.with_way_on(company_page(company), "Back to the company")
}

/// What came back from UPS.com in words for the person who came back. Nothing of the address is repeated.
fn refused(error: &CallbackError, company: Option<&CompanyId>) -> Refusal {
    const UNCHANGED: &str = "An authorization that the company had before is as it was.";
    let bad_return = |title, words: String| Refusal::new(StatusCode::BAD_REQUEST, title, words);
    let start_again = |words: &str| bad_return("Start again", format!("{words} {UNCHANGED}"));
    let refusal = match error {
        CallbackError::Declined => bad_return(
            "Declined",
            format!("The authorization was declined at UPS.com. If that was a mistake, start again. {UNCHANGED}"),
        ),
        CallbackError::Expired => {
            start_again("Too much time has passed since you went to UPS.com. Start again with Authenticate.")
        }
        CallbackError::UnknownState => {
            start_again("This return from UPS.com was used already, or is unknown. Start again with Authenticate.")
        }
        CallbackError::OtherBrowser => start_again(
            "This trip to UPS.com began in another browser. Finish it there, or start again here with Authenticate.",
        ),
        CallbackError::NoBrowserSecret => start_again(
            "Your browser sent no cookie of this trip to UPS.com: it began in another browser, or yours refuses cookies. \
             Finish it there, or start again here with Authenticate.",
        ),
        CallbackError::OtherActor => start_again(
            "Somebody else began this trip to UPS.com. Sign in as that person, or start again with Authenticate.",
        ),
        CallbackError::RemovedSince => start_again(
            "The authorization was removed while you were at UPS.com, so the new one was not kept. Start again.",
        ),
        CallbackError::ClientChanged => start_again(
            "This application’s UPS client was changed while you were at UPS.com. Start again with Authenticate.",
        ),
        CallbackError::SignInFailed(_) => {
            start_again("UPS.com could not complete the sign-in. Try again with Authenticate.")
        }
        CallbackError::CodeRefused(_) => {
            start_again("UPS did not accept the return, perhaps because it came late. Start again with Authenticate.")
        }
        // By [`MayAuthenticate`], the one check there is.
        CallbackError::RefusedByHost(_) => return lost_right(),
        CallbackError::Unanswered(_) => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "UPS did not answer",
            format!("UPS did not answer, so the company could not be authenticated. Start again. {UNCHANGED}"),
        ),
        CallbackError::Unavailable { .. } => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UPS cannot be reached",
            format!("UPS cannot be reached at this moment. Start again in a while. {UNCHANGED}"),
        ),
        CallbackError::Misconfigured(_) => Refusal::new(
            StatusCode::BAD_GATEWAY,
            "An operator must look",
            format!("UPS refuses this application’s own configuration. An operator must look. {UNCHANGED}"),
        ),
        CallbackError::Store(error) if error.kind() == StoreErrorKind::Corrupt => {
            tracing::error!(error = %chain(error), "what was stored of a trip to UPS.com cannot be read");
            start_again("What was stored of this trip to UPS.com cannot be read. Start again with Authenticate.")
        }
        CallbackError::Store(error) => Refusal::from(error.clone()),
        CallbackError::ShutDown => shutting_down(),
        _ => start_again("This is not a valid return from UPS.com. Start again with Authenticate."),
    };
    let href = company.map_or("/companies".to_owned(), company_page);
    refusal.with_way_on(href, "Start again from the company").with_retry_after(error.retry_after())
}

fn shutting_down() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Not available now", "The application is being restarted. Try again.")
}
