//! What every test here needs: the application with a fake UPS, and browsers without JavaScript.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
};
use batchsuite_auth::{
    BatchSuiteAuth, CompanyId, Policy,
    clock::{Clock as _, Timestamp},
    fake_ups::{Endpoint, FakeUps},
    status::Status,
    test_util::ManualClock,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{Process, findings::Scene};
use company_manager::{
    MayAuthenticate, Parts, Proxies, Site, app_behind,
    demo::{self, ADMIN_USER, COMPANY_ADMIN, UPS_USER},
    directory::{Directory, MemoryDirectory, Person},
    sessions::{MemorySessions, SessionId},
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use tower::ServiceExt;
use url::{Url, form_urlencoded};

pub(crate) const PUBLIC_URL: &str = "http://127.0.0.1:3000/";
pub(crate) const PASSWORD: &str = "canary-sign-in-password";
pub(crate) const TRACKING_NUMBER: &str = "1Z999AA10123456784";

pub(crate) struct World {
    pub(crate) ups: FakeUps,
    pub(crate) auth: BatchSuiteAuth,
    store: MemoryStore,
    pub(crate) directory: Arc<MemoryDirectory>,
    sessions: Arc<MemorySessions>,
    pub(crate) company_admin: Person,
    pub(crate) app: Router,
    pub(crate) public_url: Url,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::at(PUBLIC_URL).await
    }

    pub(crate) async fn at(public_url: &str) -> Self {
        let public_url = Url::parse(public_url).unwrap();
        let redirect_uri = public_url.join("/oauth/ups/callback").unwrap();
        let ups = FakeUps::builder().redirect_uri(redirect_uri.as_str()).start().await;
        let directory = Arc::new(MemoryDirectory::new());
        let (company_admin, _) = demo::seed(&directory, &PASSWORD.into(), &PASSWORD.into()).await.unwrap();
        let store = MemoryStore::with_clock(ups.clock());
        let auth = ups
            .authenticator()
            .http(ups.in_process())
            .store(store.clone())
            .without_keeper()
            .opt_in_check(MayAuthenticate { directory: directory.clone() })
            .build()
            .unwrap();
        let sessions = Arc::new(MemorySessions::new());
        let mut world = Self { ups, auth, store, directory, sessions, company_admin, app: Router::new(), public_url };
        world.app = world.instance();
        world
    }

    /// Where findings about a company are produced.
    pub(crate) fn scene(&self, company: CompanyId) -> Scene<'_> {
        Scene::new(&self.ups, Arc::new(self.store.clone()), None, company)
    }

    /// The application is this process from now on.
    pub(crate) fn runs(&mut self, process: &Process) {
        self.auth = process.auth.clone();
        self.app = self.instance();
    }

    /// Another instance of the application, with the same people, sessions and opt-ins, and nothing else.
    pub(crate) fn instance(&self) -> Router {
        self.instance_behind(Proxies::NONE)
    }

    pub(crate) fn instance_behind(&self, proxies: Proxies) -> Router {
        let parts = Parts {
            auth: self.auth.clone(),
            directory: self.directory.clone(),
            sessions: self.sessions.clone(),
            http: Arc::new(self.ups.in_process()),
            clock: Arc::new(self.ups.clock()),
            site: Site {
                public_url: self.public_url.clone(),
                ups_base_url: self.ups.base_url(),
                ups_hops: vec!["https://www.ups.com".into()],
                demo_ups: None,
            },
        };
        app_behind(proxies, parts).unwrap()
    }

    pub(crate) fn clock(&self) -> ManualClock {
        self.ups.clock()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// What a program has beside its pages: it looks after the opt-ins by itself.
    pub(crate) fn keeper(&self) -> BatchSuiteAuth {
        self.keeper_with(|_| {})
    }

    pub(crate) fn keeper_with(&self, change: impl FnOnce(&mut Policy)) -> BatchSuiteAuth {
        let mut policy = Policy::default();
        policy.keeper_interval = Duration::from_millis(20);
        change(&mut policy);
        let keeper = self.ups.authenticator().http(self.ups.in_process()).store(self.store.clone());
        keeper.policy(policy).build().unwrap()
    }

    pub(crate) fn browser(&self) -> Browser {
        let host = self.public_url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        Browser { app: self.app.clone(), host, cookies: Mutex::default(), other_cookies: Vec::new() }
    }

    pub(crate) async fn company_admin(&self) -> Browser {
        self.signed_in(COMPANY_ADMIN).await
    }

    pub(crate) async fn admin_user(&self) -> Browser {
        self.signed_in(ADMIN_USER).await
    }

    async fn signed_in(&self, name: &str) -> Browser {
        let browser = self.browser();
        browser.get("/login").await;
        let answer = browser.post("/login", &[("sign_in_name", name), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        browser
    }

    /// The companies of the company admin, by name.
    pub(crate) async fn companies(&self) -> Vec<CompanyId> {
        let page = self.directory.companies_of(&self.company_admin.id, None, 10).await.unwrap();
        page.items.into_iter().map(|company| company.id).collect()
    }

    /// A company of somebody else.
    pub(crate) async fn others_company(&self) -> CompanyId {
        let somebody = self.directory.sign_in("somebody.else").await.unwrap().unwrap().0;
        self.directory.companies_of(&somebody.id, None, 1).await.unwrap().items[0].id.clone()
    }

    /// The way to UPS.com, and what UPS.com sends back: the callback's path and query.
    pub(crate) async fn trip(&self, browser: &Browser, company: &CompanyId) -> String {
        format!("/oauth/ups/callback?{}", self.ups.consent(&self.depart(browser, company).await, UPS_USER).await)
    }

    /// Presses Authenticate; where the browser is sent.
    pub(crate) async fn depart(&self, browser: &Browser, company: &CompanyId) -> Url {
        let answer = browser.post(&format!("/companies/{company}/authenticate"), &[]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        Url::parse(answer.location()).unwrap()
    }

    pub(crate) async fn authenticate(&self, browser: &Browser, company: &CompanyId) {
        let callback = self.trip(browser, company).await;
        assert_eq!(browser.get(&callback).await.status, StatusCode::SEE_OTHER);
    }

    pub(crate) async fn is_authenticated(&self, company: &CompanyId) -> bool {
        matches!(self.auth.status(company).await.unwrap().status, Status::Authenticated { .. })
    }

    /// The end of the company's refresh token, as pages show it.
    pub(crate) async fn refresh_expires(&self, company: &CompanyId) -> String {
        match self.auth.status(company).await.unwrap().status {
            Status::Authenticated { refresh_expires_at: Some(at), .. } => at.format("%Y-%m-%d %H:%M:%S").to_string(),
            status => panic!("{status:?}"),
        }
    }

    /// How many codes reached UPS.
    pub(crate) fn exchanges(&self) -> u64 {
        self.ups.requests().total(Endpoint::Token)
    }
}

/// A browser: it keeps cookies, and does not follow redirects by itself.
pub(crate) struct Browser {
    pub(crate) app: Router,
    host: String,
    pub(crate) cookies: Mutex<BTreeMap<String, String>>,
    /// Those of other applications of the same host, before ours.
    pub(crate) other_cookies: Vec<&'static [u8]>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |location| location.to_str().unwrap())
    }
}

impl Browser {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, String::new()).await
    }

    /// Posts a form with the session's CSRF token.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        if let Some(session) = self.session() {
            form.append_pair("csrf_token", &session.csrf_token());
        }
        self.send(Method::POST, path, form.finish()).await
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        let cookies = self.cookies.lock().unwrap();
        let cookie = cookies.get("session").or_else(|| cookies.get("__Host-session"));
        cookie.and_then(|value| SessionId::from_cookie(value))
    }

    pub(crate) async fn send(&self, method: Method, path: &str, form: String) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        self.request(request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"), form).await
    }

    pub(crate) async fn request(&self, mut request: http::request::Builder, body: String) -> Answer {
        let mut all: Vec<Vec<u8>> = self.other_cookies.iter().map(|other| other.to_vec()).collect();
        all.extend(self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}").into_bytes()));
        request = request.header(header::COOKIE, all.join(&b"; "[..]));
        let request = request.body(Body::from(body)).unwrap();
        let (parts, body) = self.app.clone().oneshot(request).await.unwrap().into_parts();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            let mut cookies = self.cookies.lock().unwrap();
            if value.is_empty() {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}
