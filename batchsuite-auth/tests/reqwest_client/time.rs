use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use batchsuite_auth::http::{HttpClient, HttpError, HttpErrorKind, ReqwestClient, TimeLimits};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::server::{Server, answer, assert_kind, client, refresh};
use crate::tls::Authority;

/// What the client must do before, it does in time on a busy machine too.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(10);

/// Waits for what the client's own deadline must end long before.
async fn ended_by_the_client<T>(exchange: impl Future<Output = T>) -> T {
    tokio::time::timeout(LATE, exchange).await.expect("the client's deadline did not end it")
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_not_sent() {
    let server = Server::start(|mut connection, _| async move { connection.hold().await }).await;
    let client = client().connect_timeout(SOON).deadline(LATE).build().unwrap();

    let outcome = client.send(refresh(format!("https://127.0.0.1:{}/", server.port()))).await;

    assert_kind(outcome, HttpErrorKind::Connect);
    assert_eq!((server.connections(), server.requests()), (1, 0));
}

#[tokio::test]
async fn a_listener_that_never_accepts_a_handshake_is_not_sent() {
    // The backlog takes the connection, nobody ever serves it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = client().connect_timeout(SOON).deadline(LATE).build().unwrap();

    let outcome = client.send(refresh(format!("https://127.0.0.1:{port}/"))).await;

    assert_kind(outcome, HttpErrorKind::Connect);
}

#[tokio::test]
async fn silence_after_the_request_is_unanswered_at_the_deadline() {
    let server = Server::start(|mut connection, _| async move {
        connection.request().await;
        connection.hold().await;
    })
    .await;
    let client = client().connect_timeout(SOON / 2).deadline(SOON).build().unwrap();

    let outcome = ended_by_the_client(client.send(refresh(server.url()))).await;

    assert_kind(outcome, HttpErrorKind::Unanswered);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn one_byte_at_a_time_is_ended_by_the_deadline() {
    let in_the_head = "HTTP/1.1 200 OK\r\nx-slow: ";
    let in_the_body = "HTTP/1.1 200 OK\r\n\r\n";
    for head in [in_the_head, in_the_body] {
        let server = Server::start(move |mut connection, _| async move {
            connection.request().await;
            connection.write(head.as_bytes()).await;
            connection.drip(b"a", Duration::from_millis(10)).await;
        })
        .await;
        let client = client().connect_timeout(SOON / 2).deadline(SOON).build().unwrap();

        let outcome = ended_by_the_client(client.send(refresh(server.url()))).await;

        assert_kind(outcome, HttpErrorKind::Unanswered);
    }
}

#[test]
fn an_answer_that_has_arrived_beats_the_deadline() {
    // So long that it takes several turns between the connection's task and the caller's to get it out of the socket.
    let body = vec![b'a'; 60 * 1024];
    // On a busy machine the deadline may be over before the pause begins: then it is another try's turn.
    let in_time = (0..20).filter_map(|_| answered_during_a_pause(&body));

    let outcomes: Vec<_> = in_time.take(3).collect();

    assert_eq!(outcomes.len(), 3, "the pause never began in time");
    for outcome in outcomes {
        assert_eq!(outcome.unwrap().body(), &body);
    }
}

/// What comes of a request whose answer arrives during a pause over its deadline; `None`: the deadline was over before.
fn answered_during_a_pause(body: &[u8]) -> Option<Result<http::Response<Vec<u8>>, HttpError>> {
    let paused = PausedProcess::new();
    let (listener, url) = listen("http");
    let client = client().connect_timeout(SOON / 2).deadline(SOON).build().unwrap();
    let begun = Instant::now();
    let outcome = paused.spawn(async move { client.send(refresh(url)).await });

    let (mut stream, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"spent-at-most-once") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            return None;
        }
        request.extend_from_slice(&buffer[..read]);
    }
    let mut is_in_time = false;
    paused.during(|| {
        is_in_time = begun.elapsed() < SOON;
        if is_in_time {
            stream.write_all(&answer("200 OK", "", body)).unwrap();
            pass(SOON * 3 / 2, &stream);
        }
    });
    is_in_time.then(|| paused.wait(outcome))
}

#[test]
fn a_connection_that_became_ready_during_a_pause_is_not_used() {
    // On a busy machine the time to connect may be over before the pause begins: then it is another try's turn.
    assert!((0..20).any(|_| is_paused_while_it_connects()), "the pause never began in time");
}

fn is_paused_while_it_connects() -> bool {
    let paused = PausedProcess::new();
    let authority = Authority::new();
    let (listener, url) = listen("https");
    let client = ReqwestClient::builder().root_certificate(authority.pem()).connect_timeout(SOON).build().unwrap();
    let outcome = paused.spawn(async move { client.send(refresh(url)).await });

    let (mut stream, _) = listener.accept().unwrap();
    let mut server = rustls::ServerConnection::new(authority.server_config("localhost", |_| {})).unwrap();
    while !server.wants_write() {
        if !server.read_tls(&mut stream).is_ok_and(|read| read > 0) {
            return false;
        }
        server.process_new_packets().unwrap();
    }
    paused.during(|| {
        while server.wants_write() {
            server.write_tls(&mut stream).unwrap();
        }
        pass(SOON * 3 / 2, &stream);
    });

    assert_kind(paused.wait(outcome), HttpErrorKind::Connect);
    while server.read_tls(&mut stream).is_ok_and(|read| read > 0) {
        assert_eq!(server.process_new_packets().unwrap().plaintext_bytes_to_read(), 0, "the request was sent");
    }
    true
}

/// A runtime whose every worker can be made to stand still, as a stopped process does.
struct PausedProcess(Runtime);

impl PausedProcess {
    /// More than one: the timer and the socket are then seen by different ones.
    const WORKERS: usize = 2;

    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(builder.worker_threads(Self::WORKERS).enable_all().build().unwrap())
    }

    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.spawn(task)
    }

    fn wait<T>(&self, task: JoinHandle<T>) -> T {
        self.0.block_on(task).unwrap()
    }

    /// Does `meanwhile` while nothing in the runtime moves.
    fn during(&self, meanwhile: impl FnOnce()) {
        let standstill = Arc::new(Barrier::new(Self::WORKERS + 1));
        for _ in 0..Self::WORKERS {
            let standstill = standstill.clone();
            self.0.spawn(async move {
                standstill.wait();
                standstill.wait();
            });
        }
        standstill.wait();
        meanwhile();
        standstill.wait();
    }
}

fn listen(scheme: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("{scheme}://localhost:{}/", listener.local_addr().unwrap().port());
    (listener, url)
}

/// Lets `time` pass, on a stream that nobody writes to.
fn pass(time: Duration, stream: &TcpStream) {
    stream.set_read_timeout(Some(time)).unwrap();
    stream.peek(&mut [0]).unwrap_err();
    stream.set_read_timeout(None).unwrap();
}

#[test]
fn time_outs_that_contradict_the_lease_or_each_other_are_refused() {
    let seconds = Duration::from_secs;
    for (connect, deadline, accepted) in
        [(5, 20, true), (5, 50, true), (5, 51, false), (20, 20, false), (21, 20, false), (0, 20, false)]
    {
        let built = ReqwestClient::builder().connect_timeout(seconds(connect)).deadline(seconds(deadline)).build();

        assert_eq!(built.is_ok(), accepted, "{connect} s of {deadline} s");
    }
}

/// A refresh that may be sent for `limit` from now on.
fn refresh_within(limit: Duration, url: &str) -> http::Request<Vec<u8>> {
    let mut request = refresh(url);
    request.extensions_mut().insert(TimeLimits::new(LATE).with_send_within(limit));
    request
}

#[tokio::test]
async fn a_request_that_comes_late_to_its_connection_is_not_sent() {
    let server = Server::answering(answer("200 OK", "", b"{}")).await;

    // To a new connection.
    let new = client().build().unwrap();
    assert_kind(new.send(refresh_within(Duration::ZERO, &server.url())).await, HttpErrorKind::Late);
    assert_eq!((server.connections(), server.requests()), (1, 0));

    // To a kept one, and then in time again.
    let kept = client().build().unwrap();
    kept.send(refresh_within(LATE, &server.url())).await.unwrap();
    assert_kind(kept.send(refresh_within(Duration::ZERO, &server.url())).await, HttpErrorKind::Late);
    assert_eq!((server.connections(), server.requests()), (2, 1), "the kept one was offered");
    kept.send(refresh_within(LATE, &server.url())).await.unwrap();
    assert_eq!(server.requests(), 2);
    // Without a body there is nothing to ask for at the last moment.
    let mut empty = refresh_within(Duration::ZERO, &server.url());
    empty.body_mut().clear();
    assert_kind(kept.send(empty).await, HttpErrorKind::Late);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_request_with_limits_is_the_same_on_the_wire() {
    let (sent, mut arrives) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut connection, _| {
        let sent = sent.clone();
        async move {
            while let Some(request) = connection.request().await {
                sent.send(request).unwrap();
                connection.write(&answer("200 OK", "", b"{}")).await;
            }
        }
    })
    .await;
    let client = client().build().unwrap();

    client.send(refresh(server.url())).await.unwrap();
    client.send(refresh_within(LATE, &server.url())).await.unwrap();

    let (plain, limited) = (arrives.recv().await.unwrap(), arrives.recv().await.unwrap());
    assert!(limited.contains("content-length: 57\r\n"), "{limited}");
    assert_eq!(plain, limited);
}

#[tokio::test]
async fn a_request_whose_time_is_over_while_it_connects_is_not_sent() {
    let authority = Authority::new();
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server_config("localhost", |_| {}));
    let server = Server::start(move |connection, _| {
        let acceptor = acceptor.clone();
        async move {
            // The handshake takes longer than the request may wait, and less than the connection may take.
            tokio::time::sleep(SOON / 2).await;
            if let Ok(mut connection) = connection.upgrade(|stream| acceptor.accept(stream)).await {
                connection.request().await;
            }
        }
    })
    .await;
    let client = ReqwestClient::builder().root_certificate(authority.pem()).build().unwrap();

    let outcome = client.send(refresh_within(SOON / 4, &format!("https://localhost:{}/", server.port()))).await;

    assert_kind(outcome, HttpErrorKind::Late);
    assert_eq!((server.connections(), server.requests()), (1, 0));
}

#[tokio::test]
async fn the_caller_may_set_a_shorter_deadline_and_no_longer_one() {
    let server = Server::start(|mut connection, _| async move {
        connection.request().await;
        connection.hold().await;
    })
    .await;
    for (own, of_the_request) in [(LATE, SOON / 2), (SOON, LATE), (SOON, Duration::ZERO)] {
        let client = client().connect_timeout(SOON / 4).deadline(own).build().unwrap();
        let mut request = refresh(server.url());
        request.extensions_mut().insert(TimeLimits::new(of_the_request));

        assert_kind(ended_by_the_client(client.send(request)).await, HttpErrorKind::Unanswered);
    }
}

#[test]
fn time_outs_of_any_length_are_refused_or_work() {
    let edges = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::answering(answer("200 OK", "", b"{}")));
    for edge in edges {
        for builder in
            [client().connect_timeout(edge), client().deadline(edge), client().connect_timeout(edge).deadline(edge)]
        {
            let Ok(client) = builder.build() else { continue };
            // Sent or not, within the time that it has: it is no panic, and no wait without end.
            let _ = runtime.block_on(ended_by_the_client(client.send(refresh(server.url()))));
        }
    }
}
