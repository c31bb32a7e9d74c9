//! A host whose sessions are cookies with a name, and whose directory is a set.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    extract::{Path, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{Html, Response},
    routing::get,
};
use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId,
    adapters::axum::{Host, Permission, Routes, Visitor, trip_cookie},
    browser::cookies,
    fake_ups::{Endpoint, FakeUps},
    status::Status,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{Hold, company};
use http::{Method, header, request::Parts};
use tokio::net::TcpListener;
use url::Url;

use crate::browser::{Browser, Page};

/// The host's data, shared with the test.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) administrators: Mutex<BTreeSet<(String, String)>>,
    /// The host's database does not answer.
    pub(crate) is_away: AtomicBool,
    /// Only the host's access rights are unavailable.
    pub(crate) are_rights_away: AtomicBool,
    /// The host has company pages.
    pub(crate) has_pages: AtomicBool,
    /// `Origin` and `Referer` of each form.
    pub(crate) senders: Mutex<Vec<(String, String)>>,
    /// Holds for the responses to the next forms.
    held_answers: Mutex<VecDeque<Hold>>,
}

struct Example(Arc<Facts>);

impl Host for Example {
    async fn visitor(&self, request: &mut Parts) -> Visitor {
        if self.0.is_away.load(Relaxed) {
            return Visitor::Unavailable;
        }
        cookies(&request.headers, "who").next().and_then(|name| ActorId::new(name).ok()).into()
    }

    async fn may_authenticate(&self, actor: &ActorId, company: &CompanyId) -> Permission {
        if self.0.is_away.load(Relaxed) || self.0.are_rights_away.load(Relaxed) {
            return Permission::Unavailable;
        }
        let is_stranger = !["ada", "bob"].contains(&actor.as_str());
        if company.as_str() == "hidden" || is_stranger {
            return Permission::Hidden;
        }
        self.0.administrators.lock().unwrap().contains(&(actor.to_string(), company.to_string())).into()
    }

    fn company_page(&self, company: &CompanyId) -> Option<String> {
        self.0.has_pages.load(Relaxed).then(|| format!("/companies/{}", company.path_segment()))
    }

    async fn company_name(&self, company: &CompanyId) -> String {
        format!("<{company}> & Sons")
    }
}

async fn page(Path(company): Path<String>) -> Html<String> {
    let form = format!("<form method=\"post\" action=\"/companies/{company}/authenticate\">");
    Html(format!("<p>the page of {company}</p>{form}<button>Authenticate</button></form>"))
}

/// Holds the response to a form that was handled.
async fn hold_answer(State(facts): State<Arc<Facts>>, request: Request, next: Next) -> Response {
    let is_form = request.method() == Method::POST;
    if is_form {
        let header = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        facts.senders.lock().unwrap().push((header(header::ORIGIN), header(header::REFERER)));
    }
    let answer = next.run(request).await;
    let hold = if is_form { facts.held_answers.lock().unwrap().pop_front() } else { None };
    if let Some(hold) = hold {
        hold.pass().await;
    }
    answer
}

/// The host and its UPS.
pub(crate) struct World {
    pub(crate) ups: FakeUps,
    pub(crate) auth: BatchSuiteAuth,
    pub(crate) facts: Arc<Facts>,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ups = FakeUps::builder().redirect_uri(format!("http://{address}/oauth/ups/callback")).start().await;
        let store = MemoryStore::with_clock(ups.clock());
        let auth = ups.authenticator().store(store).without_keeper().build().unwrap();
        let facts = Arc::new(Facts::default());
        facts.has_pages.store(true, Relaxed);
        for name in ["acme", "other"] {
            facts.administrators.lock().unwrap().insert(("ada".to_owned(), name.to_owned()));
        }
        let routes = Routes::new(auth.clone(), Example(facts.clone()));
        let routes = routes.connect_links("/companies/{company}/connect-link", "/connect");
        let app = Router::new()
            .route("/companies/{company}", get(page))
            .layer(from_fn_with_state(auth.clone(), trip_cookie))
            .merge(routes.router())
            .layer(from_fn_with_state(Arc::clone(&facts), hold_answer));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { ups, auth, facts, address }
    }

    /// A browser without a signed-in person.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    /// A browser in which Ada is signed in.
    pub(crate) fn ada(&self) -> Browser {
        let browser = self.browser();
        browser.keep("who", "ada");
        browser
    }

    /// Follows a redirect to UPS.com, consents there, and returns the callback's path and query.
    pub(crate) async fn come_back(&self, departure: &Page) -> String {
        assert_eq!(departure.status, 303, "{departure:?}");
        let url = Url::parse(departure.location()).unwrap();
        format!("/oauth/ups/callback?{}", self.ups.consent(&url, FakeUps::USER).await)
    }

    /// Presses Authenticate and comes back from UPS.com.
    pub(crate) async fn trip(&self, browser: &Browser, company: &str) -> String {
        self.come_back(&browser.press(&format!("/companies/{company}/authenticate")).await).await
    }

    /// Makes a link and returns its path.
    pub(crate) async fn link(&self, company: &str) -> String {
        let page = self.ada().press(&format!("/companies/{company}/connect-link")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let address = format!("http://{}/connect/", self.address);
        let from = page.body.find(&address).expect("an address");
        let token = page.body[from + address.len()..].split('<').next().unwrap();
        assert_eq!(token.len(), 43);
        format!("/connect/{token}")
    }

    pub(crate) async fn is_authenticated(&self, name: &str) -> bool {
        matches!(self.auth.status(&company(name)).await.unwrap().status, Status::Authenticated { .. })
    }

    /// Holds the response to the next form.
    pub(crate) fn hold_next_answer(&self) -> Hold {
        let hold = Hold::default();
        self.facts.held_answers.lock().unwrap().push_back(hold.clone());
        hold
    }

    /// The number of codes that reached UPS.
    pub(crate) fn exchanges(&self) -> u64 {
        self.ups.requests().total(Endpoint::Token)
    }
}
