use std::net::TcpListener;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use batchsuite_auth::http::{HttpClient, HttpErrorKind, ReqwestClient};

use crate::server::{Server, answer, assert_kind, client, refresh};

const SOON: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_secs(20);

/// Threads of the runtime that is stopped. More than one: the timer and the socket are then seen by different ones.
const WORKERS: usize = 2;

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

    let outcome = client.send(refresh(server.url())).await;

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

        let outcome = client.send(refresh(server.url())).await;

        assert_kind(outcome, HttpErrorKind::Unanswered);
    }
}

#[test]
fn an_answer_that_has_arrived_beats_the_deadline() {
    for _ in 0..10 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
        // The server is on a thread of its own: it goes on while the client's process stands still.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let standstill = Arc::new(Barrier::new(WORKERS + 1));
        let server = std::thread::spawn({
            let (standstill, runtime) = (standstill.clone(), runtime.handle().clone());
            move || paused_while_answering(listener, &runtime, &standstill)
        });
        let client = client().connect_timeout(SOON / 4).deadline(SOON / 2).build().unwrap();

        let outcome = runtime.block_on(runtime.spawn(async move { client.send(refresh(url)).await })).unwrap();

        assert_eq!(outcome.unwrap().body(), b"in time");
        server.join().unwrap();
    }
}

/// Reads a request, stops every worker of `runtime`, answers, and lets them go on when the client's deadline has passed.
fn paused_while_answering(listener: TcpListener, runtime: &tokio::runtime::Handle, standstill: &Arc<Barrier>) {
    use std::io::{Read, Write};

    let (mut stream, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"spent-at-most-once") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
    }
    for _ in 0..WORKERS {
        let standstill = standstill.clone();
        runtime.spawn(async move {
            standstill.wait();
            standstill.wait();
        });
    }
    standstill.wait();
    stream.write_all(&answer("200 OK", "", b"in time")).unwrap();
    // Nobody writes: this is the wait until the client's deadline is over.
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.read(&mut [0]).unwrap_err();
    standstill.wait();
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
