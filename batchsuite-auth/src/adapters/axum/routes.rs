//! The routes and their handlers.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, RawPathParams, Request, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use url::Url;

use super::{
    host::{Host, Outcome, Permission, Rights, Visitor},
    pages::no_store,
    refusal::{Again, Refusal},
};
use crate::{
    authenticator::BatchSuiteAuth,
    browser::{BrowserSecrets, LinkSecrets, is_same_origin, is_visit},
    consent::{OptedIn, Trip},
    error::CallbackError,
    ids::{ActorId, CompanyId},
    secret::{BrowserSecret, LinkToken},
};

/// The default path for Authenticate.
const START: &str = "/companies/{company}/authenticate";

/// The routes of a trip to UPS.com and back, with the default paths. [`Routes`] lists them and can change them.
pub fn router<S>(auth: BatchSuiteAuth, host: impl Host) -> Router<S> {
    Routes::new(auth, host).router()
}

/// The routes of a trip to UPS.com and back.
///
/// | method and path | effect |
/// |---|---|
/// | `POST /companies/{company}/authenticate` | begins a trip for the signed-in person: 303 to UPS.com |
/// | `GET` at the path of the redirect URI | completes the trip: 303 to the company's page |
/// | `POST` at a path chosen by the host, if [connect links](Self::connect_links) are enabled | makes a link for the signed-in person |
/// | `GET` and `POST` at a path chosen by the host plus the link's token | shows the page with the button; begins the colleague's trip |
///
/// Merge them into the host's router; do not nest them, because the callback's path is registered at UPS.
///
/// # Cross-site requests
/// A request that begins a trip or makes a link must come from a page of the host itself, as stated by the browser
/// ([`is_same_origin`]). Otherwise another site could make a person's browser press Authenticate and send the person to
/// UPS.com, where they might agree. A host that checks its own CSRF token in each form can say so
/// ([`csrf_checked_by_host`](Self::csrf_checked_by_host)). A connect link can only be followed from its own page.
pub struct Routes<H> {
    auth: BatchSuiteAuth,
    host: H,
    start: String,
    links: Option<(String, String)>,
    is_csrf_checked: bool,
}

impl<H> fmt::Debug for Routes<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("start", &self.start).field("links", &self.links).finish_non_exhaustive()
    }
}

impl<H: Host> Routes<H> {
    /// The default routes.
    pub fn new(auth: BatchSuiteAuth, host: H) -> Self {
        Self { auth, host, start: START.to_owned(), links: None, is_csrf_checked: false }
    }

    /// The path for Authenticate; it must contain `{company}`.
    #[must_use]
    pub fn start(mut self, path: impl Into<String>) -> Self {
        self.start = path.into();
        self
    }

    /// Enables [connect links](BatchSuiteAuth::connect_link). A POST to `make`, a path that contains `{company}`, makes
    /// a link. A link's page is `page` plus one segment, the link's token.
    ///
    /// Off by default, because a link lets a person without an account at the host authenticate a company.
    #[must_use]
    pub fn connect_links(mut self, make: impl Into<String>, page: impl Into<String>) -> Self {
        self.links = Some((make.into(), page.into()));
        self
    }

    /// States that the host checks its own CSRF token in each form before these routes are reached. `Sec-Fetch-Site`
    /// and `Origin` are then not checked when a trip begins or a link is made.
    #[must_use]
    pub fn csrf_checked_by_host(mut self) -> Self {
        self.is_csrf_checked = true;
        self
    }

    /// The router, for merging into the host's router.
    ///
    /// # Panics
    /// If a path is not a valid axum path, or lacks `{company}`.
    pub fn router<S>(self) -> Router<S> {
        let Self { auth, host, start, links, is_csrf_checked } = self;
        let host = Arc::new(host);
        let auth = auth.with_opt_in_check(Rights(Arc::clone(&host)));
        let callback = auth.redirect_uri().path().to_owned();
        let mut link_page = auth.redirect_uri().clone();
        link_page.set_query(None);
        link_page.set_path(links.as_ref().map_or("", |(_, page)| page));
        let shared = Arc::new(Shared { auth, host, link_page, is_csrf_checked });

        // The path registered at UPS is literal, whatever characters it contains.
        let mut router = Router::new()
            .without_v07_checks()
            .route(&of_company(start), post(begin::<H>))
            .route(&callback, get(complete::<H>).head(only_get::<H>).fallback(only_get::<H>));
        if let Some((make, page)) = links {
            let page = format!("{}/{{token}}", page.trim_end_matches('/'));
            router = router
                .route(&of_company(make), post(make_link::<H>))
                .route(&page, get(open_link::<H>).post(follow_link::<H>));
        }
        router.with_state(shared)
    }
}

fn of_company(path: String) -> String {
    assert!(path.contains("{company}"), "the path must have {{company}} in it: {path}");
    path
}

/// The state shared by all routes.
struct Shared<H> {
    auth: BatchSuiteAuth,
    host: Arc<H>,
    /// The base URL of links, without the token.
    link_page: Url,
    is_csrf_checked: bool,
}

type Answer<T> = Result<T, Outcome>;

impl<H: Host> Shared<H> {
    async fn answered(&self, request: &Parts, answer: Answer<Response>) -> Response {
        match answer {
            Ok(response) => response,
            Err(outcome) => self.host.answer(request, outcome).await,
        }
    }

    /// The person who pressed the button and the company, if that person may authenticate it.
    async fn presser(&self, request: &mut Parts) -> Answer<(ActorId, CompanyId)> {
        if !self.is_csrf_checked && !is_same_origin(&request.headers, self.auth.redirect_uri()) {
            return Err(Outcome::Refused(Refusal::of_another_page()));
        }
        let actor = match self.host.visitor(request).await {
            Visitor::Actor(actor) => actor,
            Visitor::SignedOut => return Err(Outcome::SignedOut),
            Visitor::Unavailable => return Err(Outcome::Refused(Refusal::unavailable())),
        };
        let company = parameter(request, "company").await.and_then(|id| CompanyId::new(id).ok());
        let company = company.ok_or_else(|| Outcome::Refused(Refusal::hidden()))?;
        match self.host.may_authenticate(&actor, &company).await {
            Permission::Granted => Ok((actor, company)),
            Permission::Denied => Err(Outcome::Refused(Refusal::denied())),
            Permission::Hidden => Err(Outcome::Refused(Refusal::hidden())),
            Permission::Unavailable => Err(Outcome::Refused(Refusal::unavailable())),
        }
    }

    fn refused(&self, refusal: Refusal, company: Option<CompanyId>) -> Outcome {
        let way_on = company.as_ref().and_then(|company| self.host.company_page(company));
        Outcome::Refused(Refusal { company, way_on, ..refusal })
    }

    async fn begin(&self, request: &mut Parts) -> Answer<Response> {
        let (actor, company) = self.presser(request).await?;
        let known = self.auth.trip_cookie().secrets(&request.headers);
        let mut consent = self.auth.authenticate(&company, &actor).browser_secret(known.first().cloned());
        if let Some(path) = self.host.company_page(&company) {
            consent = consent.return_to(path);
        }
        match consent.await {
            Ok(trip) => Ok(to_ups(&trip)),
            Err(error) => Err(self.refused(Refusal::from(&error), Some(company))),
        }
    }

    /// Completes the return of a browser that followed a link, or of a signed-in person.
    async fn complete(&self, request: &mut Parts) -> Outcome {
        let query = request.uri.query().unwrap_or_default().to_owned();
        let cookie = self.auth.trip_cookie();
        let (browser, links) = (cookie.secrets(&request.headers), cookie.links(&request.headers));
        if !links.is_empty() {
            match self.auth.company_of_return(&query, &links.secrets()).await {
                Ok(None) => {}
                Ok(Some(_)) => {
                    let came_back = self.auth.callback_of_link(&query, &links).await;
                    return self.came_back(came_back, None, Again::NewLink).await;
                }
                Err(error) => return Outcome::Refused(Refusal::from(&error)),
            }
        }
        let actor = match self.host.visitor(request).await {
            Visitor::Actor(actor) => actor,
            Visitor::SignedOut => return Outcome::SignedOut,
            Visitor::Unavailable => return Outcome::Refused(Refusal::unavailable()),
        };
        let came_back = self.auth.callback(&actor, &query, &browser).await;
        let company = match &came_back {
            Err(_) => self.company_to_show(&actor, &query, &browser).await,
            Ok(_) => None,
        };
        self.came_back(came_back, company, Again::Button).await
    }

    /// The company of the trip, unless it is hidden from this person, who need not be the one who began the trip.
    async fn company_to_show(&self, actor: &ActorId, query: &str, browser: &BrowserSecrets) -> Option<CompanyId> {
        let company = self.auth.company_of_return(query, browser).await.ok().flatten()?;
        match self.host.may_authenticate(actor, &company).await {
            Permission::Granted | Permission::Denied => Some(company),
            Permission::Hidden | Permission::Unavailable => None,
        }
    }

    async fn came_back(
        &self,
        came_back: Result<OptedIn, CallbackError>,
        company: Option<CompanyId>,
        again: Again,
    ) -> Outcome {
        match came_back {
            Ok(done) => {
                let company_name = self.host.company_name(&done.company).await;
                match again {
                    Again::Button => Outcome::Authenticated { done, company_name },
                    Again::NewLink => Outcome::AuthenticatedByLink { done, company_name },
                }
            }
            Err(CallbackError::AlreadyUsed { company, return_to }) => Outcome::CameAgain { company, return_to },
            Err(error) => self.refused(Refusal::of_callback(&error, again), company),
        }
    }

    async fn make_link(&self, request: &mut Parts) -> Outcome {
        let (actor, company) = match self.presser(request).await {
            Ok(presser) => presser,
            Err(outcome) => return outcome,
        };
        match self.auth.connect_link(&company, &actor).await {
            Ok(link) => Outcome::LinkMade {
                address: link.address(&self.link_page),
                company_name: self.host.company_name(&company).await,
                company,
                expires_at: link.expires_at,
            },
            Err(error) => self.refused(Refusal::from(&error), Some(company)),
        }
    }

    async fn open_link(&self, token: &LinkToken, links: &LinkSecrets) -> Outcome {
        match self.auth.open_link(token, links).await {
            Ok(link) => Outcome::LinkOpened {
                company_name: self.host.company_name(&link.company).await,
                company: link.company,
                form_action: self.auth.form_action(),
            },
            Err(error) => Outcome::Refused(Refusal::from(&error)),
        }
    }

    async fn follow_link(&self, request: &mut Parts) -> Answer<Response> {
        if !is_same_origin(&request.headers, self.auth.redirect_uri()) {
            return Err(Outcome::Refused(Refusal::of_another_page()));
        }
        let links = self.auth.trip_cookie().links(&request.headers);
        match self.auth.follow_link(&token(request).await, &links).await {
            Ok(trip) => Ok(to_ups(&trip)),
            Err(error) => Err(Outcome::Refused(Refusal::from(&error))),
        }
    }
}

fn to_ups(trip: &Trip) -> Response {
    let mut response = no_store(Redirect::to(trip.url.as_str()).into_response());
    let headers = response.headers_mut();
    if let Some(address) = headers.get_mut(header::LOCATION) {
        // It contains the state.
        address.set_sensitive(true);
    }
    headers.append(header::SET_COOKIE, trip.set_cookie());
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn parameter(request: &mut Parts, name: &str) -> Option<String> {
    let parameters = RawPathParams::from_request_parts(request, &()).await.ok()?;
    parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

async fn token(request: &mut Parts) -> LinkToken {
    LinkToken::new(parameter(request, "token").await.unwrap_or_default())
}

type Route<H> = State<Arc<Shared<H>>>;

async fn begin<H: Host>(State(shared): Route<H>, request: Request) -> Response {
    let mut request = request.into_parts().0;
    let answer = shared.begin(&mut request).await;
    shared.answered(&request, answer).await
}

async fn complete<H: Host>(State(shared): Route<H>, request: Request) -> Response {
    let mut request = request.into_parts().0;
    if !is_visit(&Method::GET, &request.headers) {
        // The browser repeats the request when the person navigates to the page.
        return no_store(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    let outcome = shared.complete(&mut request).await;
    no_store(shared.host.answer(&request, outcome).await)
}

async fn only_get<H: Host>(State(shared): Route<H>, request: Request) -> Response {
    let request = request.into_parts().0;
    let outcome = Outcome::Refused(Refusal::method_not_allowed());
    let mut response = shared.host.answer(&request, outcome).await;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

async fn make_link<H: Host>(State(shared): Route<H>, request: Request) -> Response {
    let mut request = request.into_parts().0;
    let outcome = shared.make_link(&mut request).await;
    no_store(shared.host.answer(&request, outcome).await)
}

async fn open_link<H: Host>(State(shared): Route<H>, request: Request) -> Response {
    let mut request = request.into_parts().0;
    let (token, cookie) = (token(&mut request).await, shared.auth.trip_cookie());
    let links = cookie.links(&request.headers);
    let outcome = shared.open_link(&token, &links).await;
    let is_open = matches!(outcome, Outcome::LinkOpened { .. });
    let mut response = no_store(shared.host.answer(&request, outcome).await);
    if is_open {
        // The address is a secret. Under `no-referrer`, the form would be posted with `Origin: null` (Fetch), and
        // browsers without `Sec-Fetch-Site` could not say where it comes from.
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    }
    if is_open && links.of(&token).is_none() {
        // The browser needs the cookie before the button is pressed, so that pressing it twice works.
        let set_cookie = cookie.header_of_link(&token, &BrowserSecret::random());
        response.headers_mut().append(header::SET_COOKIE, set_cookie);
    }
    response
}

async fn follow_link<H: Host>(State(shared): Route<H>, request: Request) -> Response {
    let mut request = request.into_parts().0;
    let answer = shared.follow_link(&mut request).await;
    shared.answered(&request, answer).await
}
