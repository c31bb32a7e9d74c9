//! The adapters: each page and refusal of a browser's trip, and each outcome of a client's request.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn, from_fn_with_state},
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use batchsuite_auth::{
    ActorId, BatchSuiteAuth, Client, ClientAuthentication, CompanyId,
    adapters::{
        axum::{Host, Outcome, Permission, Routes, Visitor, trip_cookie},
        reqwest_middleware::AccessTokenMiddleware,
        tower::AccessTokenLayer,
    },
    browser::cookies,
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Times},
    http::ReqwestClient,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{
    Exchange, FlakyStore, Gate, HOUR, Moment, Process, Secrets, Verb, acme, ada, company, log::Log,
};
use http::request::Parts;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::{Layer as _, ServiceExt as _, service_fn};
use url::Url;

const CLIENT_SECRET: &str = "another+client/secret=%42&of the adapters";

/// What could be seen besides the log and the pages, as `Debug` prints it.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    fn show(&self, shown: &impl fmt::Debug) {
        self.0.lock().unwrap().push(format!("{shown:?} {shown:#?}"));
    }

    /// An error, with all its sources, as a log would print it.
    fn show_error(&self, error: &(dyn Error + 'static)) {
        for error in std::iter::successors(Some(error), |&error| error.source()) {
            self.show(&error);
            self.0.lock().unwrap().push(error.to_string());
        }
    }
}

/// A host that logs each outcome and the headers of each response.
struct Office(Shown);

impl Host for Office {
    async fn visitor(&self, request: &mut Parts) -> Visitor {
        match cookies(&request.headers, "who").next() {
            Some("nobody-knows") => Visitor::Unavailable,
            name => name.and_then(|name| ActorId::new(name).ok()).into(),
        }
    }

    async fn may_authenticate(&self, actor: &ActorId, _: &CompanyId) -> Permission {
        (*actor == ada()).into()
    }

    async fn answer(&self, _: &Parts, outcome: Outcome) -> Response {
        self.0.show(&outcome);
        outcome.into_response()
    }
}

/// The service, its browsers and its clients.
struct Walk {
    ups: FakeUps,
    process: Process,
    secrets: Secrets,
    shown: Shown,
    address: std::net::SocketAddr,
    pages: Vec<String>,
}

/// A browser's cookies.
type Cookies = BTreeMap<String, String>;

fn signed_in() -> Cookies {
    Cookies::from([("who".to_owned(), ada().to_string())])
}

impl Walk {
    async fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let redirect_uri = format!("http://{address}/oauth/ups/callback");
        let ups = FakeUps::builder().client("adapters-client", CLIENT_SECRET).redirect_uri(redirect_uri).start().await;
        let client = Client::new("adapters-client", CLIENT_SECRET);
        let client = client.with_authentication(ClientAuthentication::PkceWithSecret);
        let http = Arc::new(Gate::before(ReqwestClient::builder().allow_loopback_http().build().unwrap()));
        let store = Arc::new(FlakyStore::over(MemoryStore::with_clock(ups.clock())));
        let process = Process::start(&ups, client, store, http, |builder| builder.without_keeper());
        let (secrets, shown) = (Secrets::default(), Shown::default());
        secrets.add("client secret", CLIENT_SECRET);
        let app = app(process.auth.clone(), &shown);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { ups, process, secrets, shown, address, pages: Vec::new() }
    }

    /// Sends a browser's request, keeps its cookies, and returns the response's `Location` and body.
    async fn send(&mut self, cookies: &mut Cookies, method: &str, path: &str) -> (String, String) {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in &*cookies {
            request += &format!("cookie: {name}={value}\r\n");
        }
        if method == "POST" {
            request += "sec-fetch-site: same-origin\r\ncontent-length: 0\r\n";
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let values = |name| head.lines().filter_map(move |line| line.strip_prefix(name));
        for cookie in values("set-cookie: ") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if let Some((link, _)) = value.split_once('.') {
                self.secrets.add("connect link", link);
            }
            self.secrets.add("cookie", value.rsplit('.').next().unwrap());
            cookies.insert(name.to_owned(), value.to_owned());
        }
        self.pages.push(body.to_owned());
        (values("location: ").next().unwrap_or_default().to_owned(), body.to_owned())
    }

    /// Goes to UPS.com, where a person agrees; the callback's path and query.
    async fn agree(&self, (location, _): (String, String)) -> String {
        let url = Url::parse(&location).unwrap();
        self.secrets.add_parameters(url.query().unwrap(), &[("state", "state")]);
        let query = self.ups.consent(&url, FakeUps::USER).await;
        self.secrets.add_parameters(&query, &[("code", "authorization code")]);
        format!("/oauth/ups/callback?{query}")
    }

    async fn press(&mut self, cookies: &mut Cookies) -> String {
        let departure = self.send(cookies, "POST", "/companies/acme/authenticate").await;
        self.agree(departure).await
    }

    /// Every refusal of a return from UPS.com, and its success.
    async fn trips(&mut self) {
        let mut ada = signed_in();
        self.send(&mut ada, "GET", "/").await;
        let callback = self.press(&mut ada).await;
        for cookies in [signed_in(), Cookies::new(), Cookies::from([("who".to_owned(), "nobody-knows".to_owned())])] {
            self.send(&mut cookies.clone(), "GET", &callback).await;
            self.send(&mut cookies.clone(), "POST", "/companies/acme/authenticate").await;
        }
        let mut other = ada.clone();
        other.insert("who".to_owned(), "bob".to_owned());
        self.send(&mut other, "GET", &callback).await;
        for strange in ["%FF", "&code=another", "&error=server_error", "&iss=https://evil.example"] {
            self.send(&mut ada, "GET", &format!("{callback}{strange}")).await;
        }
        for method in ["HEAD", "POST", "OPTIONS"] {
            self.send(&mut ada, method, &callback).await;
        }
        let faults = [
            Fault::Answer(Answer::status(400).with_body("no: {code} {refresh_token}")),
            Fault::InvalidClient,
            Fault::Unavailable,
            Fault::DropAnswer,
        ];
        for fault in faults {
            let callback = self.press(&mut ada).await;
            self.ups.fault(Endpoint::Token, fault, Times::Once);
            for _ in 0..2 {
                self.send(&mut ada, "GET", &callback).await;
            }
            self.ups.clock().advance(HOUR);
        }
        for verb in [Verb::Load, Verb::PutConsent, Verb::UseConsent, Verb::Connect] {
            self.process.store.fail_once(verb, Moment::After);
            let departure = self.send(&mut ada, "POST", "/companies/acme/authenticate").await;
            if !departure.0.is_empty() {
                let callback = self.agree(departure).await;
                self.send(&mut ada, "GET", &callback).await;
            }
            self.process.store.mend(verb);
        }
        let callback = self.press(&mut ada).await;
        for _ in 0..2 {
            let (_, page) = self.send(&mut ada, "GET", &callback).await;
            assert!(page.contains("is authenticated"), "{page}");
        }
    }

    /// A link that is made, opened, followed, followed again, and completed.
    async fn links(&mut self) {
        let (_, page) = self.send(&mut signed_in(), "POST", "/companies/acme/connect-link").await;
        let from = page.find("/connect/").expect("an address");
        let link = page[from..].split('<').next().unwrap().to_owned();
        self.secrets.add("connect link", &link["/connect/".len()..]);
        // This page is there to show it.
        let page = self.pages.pop().unwrap().replace(&link, "");
        self.pages.push(page);
        let mut colleague = Cookies::new();
        self.send(&mut Cookies::new(), "HEAD", &link).await;
        self.send(&mut Cookies::new(), "GET", &format!("{link}x")).await;
        self.send(&mut colleague, "GET", &link).await;
        let departure = self.send(&mut colleague, "POST", &link).await;
        self.send(&mut colleague, "POST", &link).await;
        self.send(&mut Cookies::new(), "POST", &link).await;
        let callback = self.agree(departure).await;
        self.send(&mut Cookies::new(), "GET", &callback).await;
        for _ in 0..2 {
            let (_, page) = self.send(&mut colleague, "GET", &callback).await;
            assert!(page.contains("is authenticated"), "{page}");
        }
        self.send(&mut colleague, "GET", &link).await;
    }

    /// Each outcome of a request: an answer, one or two 401s, a redirect, no company, no token, no network.
    async fn clients(&mut self) {
        let auth = self.process.auth.clone();
        let builder = reqwest::Client::builder().no_proxy();
        let by_reqwest = AccessTokenMiddleware::new(auth.clone()).client(builder).unwrap().build();
        let plain = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let inner = service_fn(move |request: http::Request<Vec<u8>>| {
            let plain = plain.clone();
            async move { plain.execute(request.try_into()?).await.map(http::Response::from) }
        });
        let by_tower = AccessTokenLayer::new(auth).layer(inner);
        self.shown.show(&by_reqwest);
        let url = self.ups.base_url().join("api/track/v1/details/1Z999AA10123456784").unwrap();
        let send = async |shown: &Shown, company: Option<CompanyId>| {
            let mut request = http::Request::get(url.as_str()).header("transId", "1").header("transactionSrc", "tests");
            let mut other = by_reqwest.get(url.clone()).header("transId", "1").header("transactionSrc", "tests");
            if let Some(company) = company {
                request = request.extension(company.clone());
                other = other.with_extension(company);
            }
            match by_tower.clone().oneshot(request.body(Vec::new()).unwrap()).await {
                Ok(answer) => shown.show(&answer),
                Err(error) => shown.show_error(&error),
            }
            match other.send().await {
                Ok(answer) => shown.show(&answer),
                Err(error) => shown.show_error(&error),
            }
        };
        let away = Answer::status(307).with_header("location", "http://127.0.0.1:1/away");
        for answer in [Answer::status(200), Answer::status(401), away, Answer::status(500)] {
            self.ups.fault(Endpoint::Track, answer, Times::UntilCleared);
            send(&self.shown, Some(acme())).await;
            self.ups.clear_faults(Endpoint::Track);
            self.ups.clock().advance(HOUR);
        }
        for company in [None, Some(company("stranger")), Some(acme())] {
            send(&self.shown, company).await;
        }
        self.ups.change_password(FakeUps::USER);
        send(&self.shown, Some(acme())).await;
        let error = self.process.auth.access_token(&acme()).await.unwrap_err();
        self.shown.show(&(&error).into_response());
        self.ups.go_offline().await;
        send(&self.shown, Some(acme())).await;
    }
}

fn app(auth: BatchSuiteAuth, shown: &Shown) -> Router {
    let routes = Routes::new(auth.clone(), Office(shown.clone()));
    shown.show(&routes);
    let shown = shown.clone();
    Router::new()
        .route("/", get(async || Html("the page with the button")))
        .layer(from_fn_with_state(auth, trip_cookie))
        .merge(routes.connect_links("/companies/{company}/connect-link", "/connect").router())
        .layer(from_fn(move |request: Request<Body>, next: Next| {
            let shown = shown.clone();
            async move {
                let response = next.run(request).await;
                shown.show(response.headers());
                response
            }
        }))
}

#[tokio::test]
async fn no_secret_is_ever_seen_on_a_page_of_the_adapters_or_in_what_a_client_tells() {
    let log = Log::captured();
    let before = log.text().len();
    let mut walk = Walk::begin().await;
    walk.trips().await;
    walk.links().await;
    walk.clients().await;
    for (what, secret) in walk.process.http.exchanges().iter().flat_map(Exchange::secrets) {
        walk.secrets.add(what, secret);
    }

    let kinds = [
        "PKCE verifier",
        "access token",
        "authorization code",
        "client secret",
        "client secret, as Basic",
        "connect link",
        "cookie",
        "refresh token",
        "state",
    ];
    assert_eq!(walk.secrets.kinds(), kinds, "every kind of secret came up");
    let shown = walk.shown.0.lock().unwrap().clone();
    assert!(walk.pages.len() > 40 && shown.len() > 100, "{} {}", walk.pages.len(), shown.len());
    let shown = shown.join("\n");
    for outcome in
        ["Authenticated {", "AuthenticatedByLink", "SignedOut", "LinkMade", "LinkOpened", "Refused", "Sensitive"]
    {
        assert!(shown.contains(outcome), "{outcome} came up");
    }
    for (place, text) in
        [("the log", log.text().split_off(before)), ("what Debug shows", shown), ("the pages", walk.pages.join("\n"))]
    {
        let seen = walk.secrets.seen_in(&text);
        assert!(seen.is_empty(), "in {place}: {} times\n{}", seen.len(), seen[..seen.len().min(20)].join("\n"));
    }
}
