//! The forms of the example application.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version, password_hash::SaltString};
use axum::{
    Router,
    body::{Body, to_bytes},
};
use batchsuite_auth::{ActorId, BatchSuiteAuth, CompanyId, clock::Clock as _, fake_ups::FakeUps, status::Status};
use batchsuite_store::MemoryStore;
use company_manager::{
    MayAuthenticate, Parts, Site, app,
    directory::{
        AccessKey, Company, CompanyName, Directory as _, MemoryDirectory, Person, Role, Settings, StoredAccessKey,
    },
    sessions::{MemorySessions, SessionId, Sessions as _},
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use tower::ServiceExt as _;
use url::Url;

use crate::{
    input::{Options, parts},
    runtime,
};

const PUBLIC_URL: &str = "http://127.0.0.1:3000/";
/// Must be escaped where a page repeats it.
const MARKUP: &[u8] = b"<fuzz";
const ACCESS_KEY: &str = "CANARYACCESSKEY0123456789";

/// Input: options, then the body of a form. The options: a digit selects the form; `t` prepends the session's CSRF
/// token to the body, `f` the token of another session; `a` an anonymous visitor; `u` another person, who is not an
/// admin of the company; `j` the content type `text/plain`.
///
/// - No body makes the application fail: every answer is a page, a redirect, or a refusal (4xx).
/// - A redirect leads to a page of the application; only Authenticate may lead to UPS.
/// - Without the session's own token, and for anonymous visitors, nothing changes: neither the company's settings, name
///   and access key, nor its opt-in, nor the number of companies. Other people can only add companies of their own.
/// - With the token, settings stay within their bounds and change only through their form, and the opt-in ends only
///   with `confirm=yes`. The company's name, its admins and the state of its access key never change.
/// - Pages show markup only escaped, and never the access key unless the form itself contained it.
pub fn form_bodies(data: &[u8]) {
    let [options, body] = parts::<2>(data);
    runtime().block_on(async {
        let mut world = match WORLD.with(|world| world.take()) {
            Some(world) if world.others < MOST_COMPANIES => world,
            _ => World::new().await.into(),
        };
        world.prepare().await;
        if let Some(kept) = world.post(Options(options), body).await {
            world.forget(kept.companies).await;
        }
        WORLD.with(|place| place.replace(Some(world)));
    });
}

thread_local! {
    /// Created once per thread. It is not dropped with the thread, because its runtime may be gone by then.
    static WORLD: &'static RefCell<Option<Box<World>>> = Box::leak(Box::default());
}

/// The forms by digit.
const FORMS: [(u8, &str); 10] = [
    (b'0', "/login"),
    (b'1', "/logout"),
    (b'2', "/companies/new"),
    (b'3', "/companies/ID/settings"),
    (b'4', "/companies/ID/access-key"),
    (b'5', "/companies/ID/authenticate"),
    (b'6', "/companies/ID/remove-auth"),
    (b'7', "/companies/ID/track"),
    (b'8', "/oauth/ups/callback"),
    (b'9', "/nowhere"),
];
/// A larger world is replaced: a directory in memory never forgets a company.
const MOST_COMPANIES: usize = 1000;
/// The password of both people.
const PASSWORD: &str = "fuzz-password";

/// A hash of the password with argon2's lowest cost, which is not under test here.
fn password_hash() -> String {
    let params = Params::new(8, 1, 1, None).unwrap_or_else(|error| panic!("{error}"));
    let salt = SaltString::encode_b64(b"salt of the fuzz").unwrap_or_else(|error| panic!("{error}"));
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(PASSWORD.as_bytes(), &salt);
    hash.unwrap_or_else(|error| panic!("{error}")).to_string()
}

/// The application, signed-in people, and an authenticated company.
struct World {
    auth: BatchSuiteAuth,
    ups: FakeUps,
    directory: Arc<MemoryDirectory>,
    sessions: Arc<MemorySessions>,
    app: Router,
    /// The company's admin, and the admin of another company.
    people: [(Person, SessionId); 2],
    company: CompanyId,
    others: usize,
}

/// The data that a form may change.
#[derive(Debug, PartialEq)]
struct Kept {
    name: CompanyName,
    admins: BTreeSet<ActorId>,
    settings: Settings,
    access_key: StoredAccessKey,
    is_authenticated: bool,
    companies: usize,
}

impl World {
    async fn new() -> Self {
        let public_url = url(PUBLIC_URL);
        let site = Site { public_url, ups_base_url: url("http://127.0.0.1:9/"), ups_hops: Vec::new(), demo_ups: None };
        let ups = FakeUps::builder().redirect_uri(site.redirect_uri()).start().await;
        let directory = Arc::new(MemoryDirectory::new());
        let people = ["company.admin", "somebody.else"]
            .map(|name| (directory.add_person(name, Role::CompanyAdmin, password_hash()), SessionId::random()));
        let name = CompanyName::new("Fuzz & Sons").unwrap_or_else(|| panic!("no name"));
        let company = directory.add_company(name, &people[0].0.id).await.unwrap_or_else(|error| panic!("{error}"));
        let auth =
            ups.authenticator().http(ups.in_process()).store(MemoryStore::with_clock(ups.clock())).without_keeper();
        let auth = auth.opt_in_check(MayAuthenticate { directory: directory.clone() }).build();
        let auth = auth.unwrap_or_else(|error| panic!("{error}"));
        let sessions = Arc::new(MemorySessions::new());
        let app = app(Parts {
            auth: auth.clone(),
            directory: directory.clone(),
            sessions: sessions.clone(),
            http: Arc::new(ups.in_process()),
            clock: Arc::new(ups.clock()),
            site,
        });
        let app = app.unwrap_or_else(|error| panic!("{error}"));
        Self { auth, ups, directory, sessions, app, people, company, others: 0 }
    }

    /// Restores the state that an input starts from: people signed in, all settings saved, an access key, the company
    /// authenticated.
    async fn prepare(&self) {
        let (person, _) = &self.people[0];
        for (person, session) in &self.people {
            let begun = self.sessions.begin(session.hash(), person.id.clone(), self.ups.clock().now()).await;
            begun.unwrap_or_else(|error| panic!("{error}"));
        }
        let settings = Settings {
            pod_retention_years: 3,
            batch_track: true,
            custom_billing: true,
            batch_rate: false,
            minimum_quality_score: 50,
        };
        let set = self.directory.save_settings(&self.company, settings).await;
        set.unwrap_or_else(|error| panic!("{error}"));
        let key = AccessKey::new(ACCESS_KEY).unwrap_or_else(|| panic!("no key"));
        self.directory.save_access_key(&self.company, key).await.unwrap_or_else(|error| panic!("{error}"));
        if !self.is_authenticated().await {
            let trip =
                self.auth.authenticate(&self.company, &person.id).await.unwrap_or_else(|error| panic!("{error}"));
            let query = self.ups.consent(&trip.url, FakeUps::USER).await;
            let done = self.auth.callback(&person.id, &query, &trip.browser_secret).await;
            done.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    async fn is_authenticated(&self) -> bool {
        let status = self.auth.status(&self.company).await.unwrap_or_else(|error| panic!("{error}"));
        matches!(status.status, Status::Authenticated { .. })
    }

    async fn kept(&self) -> Kept {
        let company = self.directory.company(&self.company).await.unwrap_or_else(|error| panic!("{error}"));
        let company = company.unwrap_or_else(|| panic!("the company is gone"));
        let mut companies = 0;
        for (person, _) in &self.people {
            let page =
                self.directory.companies_of(&person.id, None, 100).await.unwrap_or_else(|error| panic!("{error}"));
            companies += page.items.len();
        }
        let Company { name, admins, settings, access_key, .. } = company;
        Kept { name, admins, settings, access_key, is_authenticated: self.is_authenticated().await, companies }
    }

    async fn post(&self, options: Options<'_>, body: &[u8]) -> Option<Kept> {
        let form = FORMS.iter().position(|form| options.has(form.0))?;
        let before = self.kept().await;
        let session = match options {
            _ if options.has(b'a') => None,
            _ if options.has(b'u') => Some(&self.people[1].1),
            _ => Some(&self.people[0].1),
        };
        let is_allowed = options.has(b't') && !options.has(b'a');
        let token = match session {
            _ if options.has(b'f') => SessionId::random().csrf_token(),
            Some(session) if options.has(b't') => session.csrf_token(),
            _ => String::new(),
        };
        let written =
            if token.is_empty() { body.to_vec() } else { [b"csrf_token=", token.as_bytes(), b"&", body].concat() };
        let path = FORMS[form].1.replace("ID", self.company.as_str());
        let (status, headers, page) = self.answer(&path, session, options, &written).await;
        assert!(status.is_success() || status.is_redirection() || status.is_client_error(), "{path}: {status}: {page}");
        assert!(!page.as_bytes().windows(MARKUP.len()).any(|bytes| bytes == MARKUP), "{path} shows markup: {page}");
        let typed = FORMS[form].0 != b'4' && String::from_utf8_lossy(body).contains(ACCESS_KEY);
        assert!(typed || !page.contains(ACCESS_KEY), "{path} shows the access key");
        if let Some(location) = headers.get(header::LOCATION) {
            let location = location.to_str().unwrap_or_else(|error| panic!("{error}"));
            let is_own = location.starts_with('/') && !location.starts_with("//") && !location.contains('\\');
            let is_ups = FORMS[form].0 == b'5' && location.starts_with(self.ups.base_url().as_str());
            assert!(is_own || is_ups, "{path} leads to {location}");
        }
        let after = self.kept().await;
        let is_theirs = is_allowed && !options.has(b'f') && !(options.has(b'u') && FORMS[form].0 != b'2');
        if is_theirs {
            may_change(FORMS[form].0, &written, &before, &after)
        } else {
            assert_eq!(after, before, "{path}: {status}")
        }
        Some(after)
    }

    /// Withdraws added companies from their admins.
    async fn forget(&mut self, companies: usize) {
        for (person, _) in self.people.iter().filter(|_| companies > 1) {
            let page =
                self.directory.companies_of(&person.id, None, 100).await.unwrap_or_else(|error| panic!("{error}"));
            for added in page.items.iter().filter(|company| company.id != self.company) {
                self.directory.withdraw(&added.id, &person.id);
                self.others += 1;
            }
        }
    }

    async fn answer(
        &self,
        path: &str,
        session: Option<&SessionId>,
        options: Options<'_>,
        body: &[u8],
    ) -> (StatusCode, HeaderMap, String) {
        let content_type = if options.has(b'j') { "text/plain" } else { "application/x-www-form-urlencoded" };
        let mut request = Request::builder().method(Method::POST).uri(path).header(header::HOST, "127.0.0.1:3000");
        request = request.header(header::CONTENT_TYPE, content_type);
        if let Some(session) = session {
            request = request.header(header::COOKIE, format!("session={}", session.expose_secret()));
        }
        let request = request.body(Body::from(body.to_vec())).unwrap_or_else(|error| panic!("{error}"));
        let Ok(answer) = self.app.clone().oneshot(request).await;
        let (parts, body) = answer.into_parts();
        let page = to_bytes(body, usize::MAX).await.unwrap_or_else(|error| panic!("{error}"));
        (parts.status, parts.headers, String::from_utf8_lossy(&page).into_owned())
    }
}

/// Checks the changes of a form with the right token.
fn may_change(form: u8, written: &[u8], before: &Kept, after: &Kept) {
    let confirms = url::form_urlencoded::parse(written).any(|(name, value)| name == "confirm" && value == "yes");
    let settings = &after.settings;
    assert!(settings.pod_retention_years <= Settings::MOST_RETENTION_YEARS);
    assert!(settings.minimum_quality_score <= Settings::MOST_QUALITY_SCORE);
    assert!(after.is_authenticated || form == b'6' && confirms, "the opt-in has ended");
    assert!((before.companies..=before.companies + usize::from(form == b'2')).contains(&after.companies));
    assert!(form == b'3' || settings == &before.settings);
    assert_eq!((&after.name, &after.admins, after.access_key), (&before.name, &before.admins, before.access_key));
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{error}"))
}
