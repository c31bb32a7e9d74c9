//! The fake UPS as a process.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use batchsuite_auth::http::{HttpClient as _, ReqwestClient};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// Killed on drop.
#[derive(Debug)]
pub struct UpsProcess {
    address: SocketAddr,
    client_secret: String,
    http: ReqwestClient,
    _child: Child,
}

impl UpsProcess {
    /// The client's id at this UPS.
    pub const CLIENT_ID: &str = "service";

    /// Starts `program`, the binary `fake-ups`, with these users.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(program: &Path, access_lifetime: Duration, users: impl IntoIterator<Item = String>) -> Self {
        let client_secret = format!("secret-{:032x}", rand::random::<u128>());
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--access-lifetime", &access_lifetime.as_secs().to_string()]);
        command.args(["--client-id", Self::CLIENT_ID, "--client-secret", &client_secret]);
        command.args(["--redirect-uri", "http://localhost:3000/callback"]);
        for user in users {
            command.args(["--user", &format!("{user}:first-password")]);
        }
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("fake-ups starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next_line().await.expect("the output of fake-ups").expect("a line");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        // Its output is no longer read, and it writes nothing more.
        let address = address.unwrap_or_else(|| panic!("no address: {line}"));
        let http = ReqwestClient::builder().allow_loopback_http().build().expect("a client");
        Self { address, client_secret, http, _child: child }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The client's secret at this UPS.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// Calls a control of this UPS.
    ///
    /// # Panics
    /// If it refuses.
    pub async fn control(&self, switch: &str, input: Value) -> Value {
        let request = http::Request::post(format!("http://{}/__fake/{switch}", self.address));
        let (status, answer) = self.send(request, input.to_string()).await;
        assert_eq!(status, 200, "{switch}: {answer}");
        answer
    }

    /// The number of requests at the refresh endpoint, by outcome.
    pub async fn refreshes(&self) -> Value {
        let request = http::Request::get(format!("http://{}/__fake/requests", self.address));
        self.send(request, String::new()).await.1["refresh"].take()
    }

    /// The status and the JSON of the answer to a request.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send(&self, request: http::request::Builder, body: String) -> (u16, Value) {
        let answer = self.http.send(request.body(body.into_bytes()).expect("a request")).await;
        let answer = answer.expect("the UPS answers");
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
    }
}

/// A binary built together with this one.
///
/// # Panics
/// If there is none of this name.
pub fn sibling(name: &str) -> PathBuf {
    let program = env::current_exe().expect("the path of this program").with_file_name(name);
    assert!(fs::exists(&program).is_ok_and(|there| there), "{} is missing", program.display());
    program
}
