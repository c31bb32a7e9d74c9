//! Instances of the program on ports of their own, behind one public URL; and a browser that goes to any of them.

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Mutex, time::Duration};

use batchsuite_auth::fake_ups::FakeUps;
use batchsuite_store::keyring::{KeySet, Keyring, StaticKeySource};
use company_manager::sessions::SessionId;
use reqwest::{Client, Method, StatusCode, header, redirect::Policy};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStdout},
    time::timeout,
};
use url::{Url, form_urlencoded};

use crate::{process::command, stage::Stage};

pub(crate) const PASSWORD: &str = "canary-sign-in-password";
pub(crate) const KEYS: &str = "2026-11:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Where everything is kept, and a UPS: both outlive the instances.
pub(crate) struct Site {
    pub(crate) stage: Stage,
    pub(crate) ups: FakeUps,
    pub(crate) public_url: Url,
}

impl Site {
    pub(crate) async fn new() -> Self {
        // Where the proxy would be that gives requests to the instances; here the browser does.
        let public_url = Url::parse("http://localhost:8000/").unwrap();
        let ups = FakeUps::builder().redirect_uri(public_url.join("/oauth/ups/callback").unwrap()).start().await;
        Self { stage: Stage::new().await, ups, public_url }
    }

    /// What an instance is told, with these variables in place of the usual ones; an empty one is not set.
    pub(crate) fn variables(&self, others: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut variables = BTreeMap::from(
            [
                ("LISTEN", "127.0.0.1:0"),
                ("UPS_BASE_URL", self.ups.base_url().as_str()),
                ("UPS_CLIENT_ID", self.ups.client_id()),
                ("UPS_CLIENT_SECRET", self.ups.client_secret()),
                ("PUBLIC_URL", self.public_url.as_str()),
                ("DEMO_PASSWORD", PASSWORD),
                ("RUST_LOG", "warn"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        variables.extend(self.stage.variables().map(|(name, value)| (name.to_owned(), value)));
        variables.extend(others.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        variables.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    pub(crate) async fn start(&self) -> Instance {
        self.start_with(&[]).await
    }

    pub(crate) async fn start_with(&self, others: &[(&str, &str)]) -> Instance {
        self.start_in(".".as_ref(), others).await
    }

    /// Starts an instance in a directory.
    pub(crate) async fn start_in(&self, directory: &Path, others: &[(&str, &str)]) -> Instance {
        // Free at this moment, and nobody else is given it so soon.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let mut variables = self.variables(others);
        variables.push(("LISTEN".to_owned(), address.clone()));
        let mut child = command(&[]).current_dir(directory).envs(variables).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains(Stage::LAST_WORDS) {
            let line = timeout(Duration::from_secs(60), stdout.read_line(&mut said)).await;
            assert!(line.expect("it says where it is").unwrap() > 0, "it ended: {said}");
        }
        Instance { address, said, child, _stdout: stdout }
    }

    /// The lines with which an instance that cannot work ends.
    pub(crate) async fn refusal(&self, others: &[(&str, &str)]) -> String {
        let ended = command(&[]).envs(self.variables(others)).output();
        let output = timeout(Duration::from_secs(60), ended).await.expect("it ends").unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn browser(&self) -> Browser {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        let host = self.public_url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        Browser { client, host, cookies: Mutex::default() }
    }

    /// A browser that was signed in at `instance`.
    pub(crate) async fn signed_in(&self, instance: &Instance, name: &str) -> Browser {
        let browser = self.browser();
        assert!(browser.sign_in(instance, name, PASSWORD).await);
        browser
    }
}

/// The program; it ends with its handle.
pub(crate) struct Instance {
    address: String,
    pub(crate) said: String,
    child: Child,
    /// Kept open, so that it can go on talking.
    _stdout: BufReader<ChildStdout>,
}

impl Instance {
    /// Ends it as an operator does.
    pub(crate) async fn end(mut self) {
        let id = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let status = timeout(Duration::from_secs(60), self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Ends it as a power cut does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A browser: it keeps cookies, and does not follow redirects by itself.
pub(crate) struct Browser {
    client: Client,
    host: String,
    cookies: Mutex<BTreeMap<String, String>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) async fn sign_in(&self, instance: &Instance, name: &str, password: &str) -> bool {
        self.get(instance, "/login").await;
        let answer = self.post(instance, "/login", &[("sign_in_name", name), ("password", password)]).await;
        answer.status == StatusCode::SEE_OTHER
    }

    pub(crate) async fn get(&self, instance: &Instance, path: &str) -> Answer {
        self.send(instance, Method::GET, path, String::new()).await
    }

    /// Posts a form with the session's CSRF token.
    pub(crate) async fn post(&self, instance: &Instance, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        form.append_pair("csrf_token", &SessionId::from_cookie(&self.cookie("session")).unwrap().csrf_token());
        self.send(instance, Method::POST, path, form.finish()).await
    }

    pub(crate) fn cookie(&self, name: &str) -> String {
        self.cookies.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    async fn send(&self, instance: &Instance, method: Method, path: &str, form: String) -> Answer {
        let cookies: Vec<String> =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self
            .client
            .request(method, format!("http://{}{path}", instance.address))
            .header(header::HOST, &self.host)
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.unwrap();
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        let location = answer.headers().get(header::LOCATION).map(|location| location.to_str().unwrap().to_owned());
        Answer { status: answer.status(), location: location.unwrap_or_default(), body: answer.text().await.unwrap() }
    }
}

pub(crate) async fn keyring(keys: &str) -> Keyring {
    Keyring::load(StaticKeySource::new(KeySet::parse(keys).unwrap())).await.unwrap()
}

/// The paths of the companies that a page links to, in its order.
pub(crate) fn companies_on(page: &str) -> Vec<String> {
    let links = page.split("href=\"/companies/").skip(1).filter_map(|rest| rest.split('"').next());
    let mut paths: Vec<String> = links.filter(|id| id.len() == 36).map(|id| format!("/companies/{id}")).collect();
    paths.dedup();
    paths
}
