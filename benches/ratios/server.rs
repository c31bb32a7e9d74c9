//! Servers, each in a process of its own, so that its processor time and memory are separate from the clients'. Each
//! process runs this program again.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{Request, header},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use batchsuite_auth::fake_ups::{FakeUps, FakeUpsState};
use batchsuite_benches::companies;
use clap::ValueEnum;
use tokio::net::TcpListener;
use url::Url;

/// The path of UPS's endpoint for refresh tokens.
pub(crate) const REFRESH: &str = "/security/v1/oauth/refresh";

/// The latency of [`Role::DistantUps`]: about that of a network and a distant server.
pub(crate) const DISTANCE: Duration = Duration::from_millis(20);

/// The latency of [`Role::SlowUps`]: about that of UPS.
pub(crate) const SLOW: Duration = Duration::from_millis(200);

/// The number of concurrent clients.
pub(crate) const CLIENTS: usize = 16;

/// The kind of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Answers every refresh with a new pair in UPS's format and checks nothing.
    Ups,
    /// The same after [`DISTANCE`].
    DistantUps,
    /// The same after [`SLOW`], with tokens as long as UPS's.
    SlowUps,
    /// The service of `fake-ups`, with [`CLIENTS`] opt-ins. It prints their refresh tokens.
    FakeUps,
    /// The same answer of `fake-ups`, byte by byte, to every request.
    Constant,
}

/// A running server. Dropping it ends the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The refresh tokens that the server printed.
    pub(crate) refresh_tokens: Vec<String>,
}

impl Server {
    /// Starts a server.
    pub(crate) fn start(role: Role) -> Self {
        let name = role.to_possible_value().expect("every role has a name").get_name().to_owned();
        let mut child = Command::new(std::env::current_exe().expect("this program's path"))
            .args(["--serve", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let mut refresh_tokens = Vec::new();
        let told = BufReader::new(child.stdout.take().expect("its output is piped"));
        for line in told.lines().map_while(Result::ok) {
            match line.strip_prefix(LISTENING).map(|address| address.parse().expect("an address")) {
                Some(address) => return Self { child, address, refresh_tokens },
                None => refresh_tokens.push(line),
            }
        }
        panic!("the server {name} does not listen");
    }

    pub(crate) fn url(&self) -> Url {
        Url::parse(&format!("http://{}/", self.address)).expect("a URL")
    }

    /// The resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line with the resident memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The processor time used so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server runs");
        let nanoseconds = threads.map(|thread| {
            // "<nanoseconds on a processor> <nanoseconds waiting> <times>"
            let path = thread.expect("a thread").path().join("schedstat");
            let told = fs::read_to_string(path).expect("the thread's time");
            told.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LISTENING: &str = "listening on ";

/// Serves until the parent process ends or closes the pipe.
pub(crate) fn serve(role: Role) {
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(serving(role)).expect("the server runs");
}

async fn serving(role: Role) -> io::Result<()> {
    match role {
        Role::Ups => axum::serve(listen().await?, ups(Duration::ZERO, companies::answer)).await,
        Role::DistantUps => axum::serve(listen().await?, ups(DISTANCE, companies::answer)).await,
        Role::SlowUps => axum::serve(listen().await?, ups(SLOW, companies::long_answer)).await,
        Role::FakeUps => {
            let ups = fake_ups();
            for _ in 0..CLIENTS {
                println!("{}", opt_in(&ups).await);
            }
            fake_ups::serve(listen().await?, Arc::new(ups), std::future::pending()).await
        }
        Role::Constant => {
            let ups = fake_ups();
            let refresh_token = opt_in(&ups).await;
            let answer = ask(&ups, REFRESH, &format!("grant_type=refresh_token&refresh_token={refresh_token}"));
            axum::serve(listen().await?, constant(answer.into())).await
        }
    }
}

async fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{LISTENING}{}", listener.local_addr()?);
    Ok(listener)
}

fn ups(distance: Duration, body: fn() -> Vec<u8>) -> Router {
    let answer = move || async move {
        if !distance.is_zero() {
            tokio::time::sleep(distance).await;
        }
        ([(header::CONTENT_TYPE, "application/json")], body())
    };
    Router::new().route(REFRESH, post(answer))
}

fn constant(body: Bytes) -> Router {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Router::new().route(REFRESH, post(|| async move { (headers, body) }))
}

fn fake_ups() -> FakeUpsState {
    // The cost of RSA is not measured here.
    FakeUps::builder().unsigned_access_tokens().build().expect("the settings fit")
}

/// Opts in like a person with a browser and returns the first refresh token.
async fn opt_in(ups: &FakeUpsState) -> String {
    let trip = [("client_id", FakeUps::CLIENT_ID), ("redirect_uri", FakeUps::REDIRECT_URI), ("response_type", "code")];
    let trip = Url::parse_with_params("http://localhost/security/v1/oauth/authorize", trip).expect("a URL");
    let query = ups.consent(&trip, FakeUps::USER).await;
    let mut form = url::form_urlencoded::Serializer::new(query);
    form.append_pair("grant_type", "authorization_code").append_pair("redirect_uri", FakeUps::REDIRECT_URI);
    let answer = ask(ups, "/security/v1/oauth/token", &form.finish());
    let answer = String::from_utf8(answer).expect("JSON");
    text(&answer, "refresh_token").expect("a refresh token").to_owned()
}

fn ask(ups: &FakeUpsState, path: &str, form: &str) -> Vec<u8> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, FORM)
        .header(header::AUTHORIZATION, basic())
        .body(form.as_bytes().to_vec())
        .expect("a request");
    let response = ups.respond(&request).response;
    assert!(response.status().is_success(), "{path}: {}", response.status());
    response.into_body()
}

/// The media type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The client's id and secret.
pub(crate) fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", FakeUps::CLIENT_ID, FakeUps::CLIENT_SECRET)))
}

/// The text of a field in an answer.
pub(crate) fn text<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split_once('"')?.0)
}
