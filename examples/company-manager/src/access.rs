//! Identifies the visitor, and decides what they may see and do.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path, Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use batchsuite_auth::{
    CompanyId,
    status::{CompanyStatus, Status},
};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use url::form_urlencoded;
use uuid::Uuid;

use crate::{
    app::App,
    directory::{Company, DirectoryError, Person, Role},
    screens::refusal::Refusal,
    sessions::{Flash, Message, SessionId},
};

/// The sender of a request: the browser's session id, if any, and the person, if that session is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    session: Option<SessionId>,
    person: Option<Person>,
}

impl Visitor {
    pub(crate) fn new(session: Option<SessionId>, person: Option<Person>) -> Self {
        Self(Arc::new(Inner { session, person }))
    }

    /// The visitor found by [`visitor`].
    pub(crate) fn of(request: &Parts) -> Self {
        request.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::new(None, None))
    }

    pub(crate) fn session(&self) -> Option<&SessionId> {
        self.0.session.as_ref()
    }

    pub(crate) fn person(&self) -> Option<&Person> {
        self.0.person.as_ref()
    }

    /// The person and their session, if signed in.
    pub(crate) fn signed_in(&self) -> Option<SignedIn> {
        let (person, session) = (self.0.person.clone()?, self.0.session.clone()?);
        Some(SignedIn { visitor: self.clone(), person, session })
    }

    pub(crate) fn csrf_token(&self) -> String {
        self.session().map(SessionId::csrf_token).unwrap_or_default()
    }

    pub(crate) fn accepts(&self, csrf_token: &str) -> bool {
        self.session().is_some_and(|session| session.accepts(csrf_token))
    }
}

/// Identifies the visitor once per request, and turns every refusal into a page for them.
pub(crate) async fn visitor(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let (visitor, mut response) = match who(&app, request.headers()).await {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor.clone());
            (visitor, next.run(request).await)
        }
        Err(error) => (Visitor::new(None, None), Refusal::from(error).into_response()),
    };
    match response.extensions_mut().remove::<Refusal>() {
        Some(refusal) => {
            // A 405 names the allowed methods (RFC 9110 §15.5.6).
            let allow = response.headers_mut().remove(header::ALLOW);
            let mut page = refusal.page(&visitor);
            page.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
            page
        }
        None => response,
    }
}

/// If several cookies can be a session's, the first signed-in one, or else the first one.
async fn who(app: &App, headers: &HeaderMap) -> Result<Visitor, DirectoryError> {
    let sessions = app.cookies.sessions(headers);
    for session in &sessions {
        if let Some(id) = app.sessions.resume(session.hash(), app.clock.now()).await?
            && let Some(person) = app.directory.person(&id).await?
        {
            return Ok(Visitor::new(Some(session.clone()), Some(person)));
        }
    }
    Ok(Visitor::new(sessions.into_iter().next(), None))
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// A signed-in person. Others are redirected to the sign-in page, and from a page back to it afterwards.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) visitor: Visitor,
    pub(crate) person: Person,
    session: SessionId,
}

impl SignedIn {
    /// The company and its status, if this person may see it.
    ///
    /// An unknown company, another person's company and, for an admin user, a company that is not authenticated give
    /// the same refusal, so that nobody can tell them apart.
    pub(crate) async fn company(&self, app: &App, id: &str) -> Result<(Company, CompanyStatus), Refusal> {
        let id = Uuid::parse_str(id).map_err(|_| Refusal::no_such_page())?;
        let company = app.directory.company(&CompanyId::from(id)).await?.ok_or_else(Refusal::no_such_page)?;
        if self.person.role == Role::CompanyAdmin && !company.admins.contains(&self.person.id) {
            return Err(Refusal::no_such_page());
        }
        let status = app.auth.status(&company.id).await?;
        if self.person.role == Role::AdminUser && !is_authenticated(&status.status) {
            return Err(Refusal::no_such_page());
        }
        Ok((company, status))
    }

    /// The company, if this person may see it *and* administers its authorization and access key.
    pub(crate) async fn administered_company(&self, app: &App, id: &str) -> Result<(Company, CompanyStatus), Refusal> {
        let (company, status) = self.company(app, id).await?;
        if self.administers(&company) { Ok((company, status)) } else { Err(Refusal::company_admins_only()) }
    }

    /// Whether this person administers the company's authorization and access key.
    pub(crate) fn administers(&self, company: &Company) -> bool {
        company.is_administered_by(&self.person)
    }

    /// Leaves a message for the company's page.
    pub(crate) async fn leave(&self, app: &App, company: CompanyId, message: Message) -> Result<(), Refusal> {
        Ok(app.sessions.leave_flash(self.session.hash(), Flash { company, message }).await?)
    }

    /// Takes the message for the company's page.
    pub(crate) async fn take(&self, app: &App, company: &CompanyId) -> Result<Option<Message>, Refusal> {
        Ok(app.sessions.take_flash(self.session.hash(), company).await?)
    }
}

pub(crate) fn is_authenticated(status: &Status) -> bool {
    matches!(status, Status::Authenticated { .. })
}

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Ok(visitor) = Visitor::from_request_parts(parts, state).await;
        match visitor.signed_in() {
            Some(signed_in) => Ok(signed_in),
            _ if parts.method == Method::GET && parts.uri.path() != "/" => {
                // Only the path: the query may contain secrets.
                let next = form_urlencoded::byte_serialize(parts.uri.path().as_bytes()).collect::<String>();
                Err(Redirect::to(&format!("/login?next={next}")).into_response())
            }
            _ => Err(Redirect::to("/login").into_response()),
        }
    }
}

/// The `{id}` of a path; an `{id}` that is not valid text counts as unknown.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| Refusal::no_such_page())
    }
}

/// A form of the application, or a refusal if the request body is not one.
#[derive(Debug)]
pub(crate) struct Form<T>(pub(crate) T);

impl<T, S> axum::extract::FromRequest<S> for Form<T>
where
    T: serde::de::DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let form = axum::Form::<T>::from_request(request, state).await;
        form.map(|axum::Form(form)| Self(form)).map_err(|_| {
            let words = "A field of the form is missing or damaged. Nothing was changed. Open the page again.";
            Refusal::new(StatusCode::BAD_REQUEST, "Form not understood", words)
        })
    }
}
