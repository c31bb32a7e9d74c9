//! The fake UPS as a server.

use std::{fmt::Write as _, iter::zip, time::Duration};

use batchsuite_benches::{
    measure::{Pace, nanoseconds, timed},
    report,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};

use crate::server::{CLIENTS, FORM, REFRESH, Role, Server, basic, text};

/// Measures the rows of this group.
pub(crate) fn measure(pace: Pace) {
    // One thread, so that the clients cost little beside the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    report::note(
        "fake-ups: the library of examples/fake-ups, which is all that its program serves with; access tokens unsigned",
    );
    beside_axum(&runtime, pace);
    memory(&runtime, pace);
}

fn beside_axum(runtime: &Runtime, pace: Pace) {
    let [mut fake, mut constant] = [Role::FakeUps, Role::Constant].map(|role| Crowd::at(runtime, role));
    let mut ours = |operations| [fake.timed(runtime, operations)];
    let mut reference = |operations| [constant.timed(runtime, operations)];
    let [[ours], [reference]] = pace.with_batches(5).medians_of([&mut ours, &mut reference]);
    report::ratio("fake/axum", ours, reference);
    let [ours, reference] = [fake, constant].map(|crowd| nanoseconds(crowd.processor_time, crowd.timed));
    report::note(format_args!(
        "processor time of the server alone, a request: fake-ups {:.1} µs, constant {:.1} µs: {:.2}",
        ours / 1e3,
        reference / 1e3,
        ours / reference,
    ));
}

/// Requests before the first reading of the memory, and between the two readings.
const WARM_UP: u64 = 10_000;
const REQUESTS: u64 = 1_000_000;

fn memory(runtime: &Runtime, pace: Pace) {
    let part = pace.of(1, 10);
    let mut crowd = Crowd::at(runtime, Role::FakeUps);
    crowd.send(runtime, Load::Mixed, WARM_UP);
    let before = crowd.server.memory();
    crowd.send(runtime, Load::Mixed, REQUESTS / part);
    let after = crowd.server.memory();
    if part > 1 {
        report::note(format_args!("fake/memory: {} requests, and their growth {part} times", REQUESTS / part));
    }
    report::note(format_args!("fake-ups: {:.1} MiB resident after {WARM_UP} requests", mebibytes(before)));
    report::ratio("fake/memory", after.saturating_sub(before) as f64 * part as f64, 64.0 * 1024.0 * 1024.0);
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// The clients of a server. Each has its own connection, and its own opt-in if the server has opt-ins.
struct Crowd {
    server: Server,
    clients: Vec<Client>,
    /// The number of timed refreshes, and the server's processor time for them.
    timed: u64,
    processor_time: Duration,
}

impl Crowd {
    fn at(runtime: &Runtime, role: Role) -> Self {
        let server = Server::start(role);
        let mut refresh_tokens = server.refresh_tokens.clone();
        // A constant server accepts any token.
        refresh_tokens.resize(CLIENTS, "x".repeat(64));
        let clients = refresh_tokens.into_iter().map(|token| runtime.block_on(Client::new(&server, token))).collect();
        Self { server, clients, timed: 0, processor_time: Duration::ZERO }
    }

    /// Times this many refreshes.
    fn timed(&mut self, runtime: &Runtime, operations: u64) -> Duration {
        let before = self.server.processor_time();
        let taken = timed(|| self.send(runtime, Load::Refreshes, operations));
        self.processor_time += self.server.processor_time() - before;
        self.timed += operations;
        taken
    }

    /// Sends this many requests from all clients concurrently.
    fn send(&mut self, runtime: &Runtime, load: Load, operations: u64) {
        let clients = self.clients.len() as u64;
        let working: Vec<_> = zip(self.clients.drain(..), 0..)
            .map(|(mut client, number)| {
                let share = operations / clients + u64::from(number < operations % clients);
                runtime.spawn(async move {
                    for number in 0..share {
                        client.send(load, number).await;
                    }
                    client
                })
            })
            .collect();
        self.clients
            .extend(working.into_iter().map(|client| runtime.block_on(client).expect("the client's task ends")));
    }
}

/// The requests of a client.
#[derive(Clone, Copy)]
enum Load {
    /// Refreshes, each with the refresh token of the previous answer.
    Refreshes,
    /// Of every ten requests, seven are such refreshes, two call the API, and one refreshes with a spent token.
    Mixed,
}

/// Hand-written HTTP/1.1: the lightest client possible.
struct Client {
    stream: TcpStream,
    head: String,
    refresh_token: String,
    spent_refresh_token: String,
    access_token: String,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    async fn new(server: &Server, refresh_token: String) -> Self {
        let stream = TcpStream::connect(server.address).await.expect("a connection");
        stream.set_nodelay(true).expect("a setting");
        let mut client = Self {
            stream,
            head: format!("HTTP/1.1\r\nhost: {}\r\n", server.address),
            refresh_token,
            spent_refresh_token: String::new(),
            access_token: String::new(),
            request: String::new(),
            answer: Vec::new(),
        };
        client.refresh().await;
        client
    }

    async fn send(&mut self, load: Load, number: u64) {
        match (load, number % 10) {
            (Load::Mixed, 3 | 6) => self.track().await,
            (Load::Mixed, 9) => self.refresh_with_a_spent_token().await,
            _ => self.refresh().await,
        }
    }

    async fn refresh(&mut self) {
        write_refresh(&mut self.request, &self.head, &self.refresh_token);
        let answer = exchange(&mut self.stream, &self.request, &mut self.answer, 200).await;
        let token = |name| text(answer, name).expect("a token").to_owned();
        self.access_token = token("access_token");
        self.spent_refresh_token = std::mem::replace(&mut self.refresh_token, token("refresh_token"));
    }

    async fn refresh_with_a_spent_token(&mut self) {
        write_refresh(&mut self.request, &self.head, &self.spent_refresh_token);
        exchange(&mut self.stream, &self.request, &mut self.answer, 400).await;
    }

    async fn track(&mut self) {
        let Self { head, access_token, request, .. } = self;
        *request = format!(
            "GET /api/track/v1/details/1Z999AA10123456784 {head}authorization: Bearer {access_token}\r\n\
             transId: t-1\r\ntransactionSrc: bench\r\n\r\n",
        );
        exchange(&mut self.stream, request, &mut self.answer, 200).await;
    }
}

fn write_refresh(request: &mut String, head: &str, refresh_token: &str) {
    // Tokens need no escaping.
    let form = format!("grant_type=refresh_token&refresh_token={refresh_token}");
    request.clear();
    let _ = write!(
        request,
        "POST {REFRESH} {head}authorization: {}\r\ncontent-type: {FORM}\r\ncontent-length: {}\r\n\r\n{form}",
        basic(),
        form.len(),
    );
}

/// Sends a request, reads the answer, checks its status and returns its body.
async fn exchange<'a>(stream: &mut TcpStream, request: &str, answer: &'a mut Vec<u8>, status: u16) -> &'a str {
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    answer.clear();
    let (body, length) = loop {
        assert!(stream.read_buf(answer).await.expect("an answer") > 0, "an answer");
        let read = std::str::from_utf8(answer).expect("text");
        let Some((head, _)) = read.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let (_, length) = head.split_once("content-length: ").expect("the body's length");
        let length: usize = length.lines().next().and_then(|line| line.parse().ok()).expect("a number");
        break (head.len() + 4, length);
    };
    while answer.len() < body + length {
        assert!(stream.read_buf(answer).await.expect("the rest") > 0, "the rest");
    }
    std::str::from_utf8(&answer[body..]).expect("text")
}
