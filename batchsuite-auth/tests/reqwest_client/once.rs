//! A request is sent at most once, and to nobody else.

use batchsuite_auth::http::{HttpClient, HttpErrorKind};
use tokio::sync::mpsc;

use crate::server::{Server, answer, assert_kind, client, refresh};

#[tokio::test]
async fn redirects_are_answers_and_nothing_reaches_the_other_host() {
    for status in [301, 302, 303, 307, 308] {
        let other = Server::answering(answer("200 OK", "", b"{}")).await;
        let ups =
            Server::answering(answer(&format!("{status} Moved"), &format!("location: {}\r\n", other.url()), b"")).await;

        let answer = client().build().unwrap().send(refresh(ups.url())).await.unwrap();

        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["location"], other.url());
        assert_eq!((ups.requests(), other.connections()), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_closes_after_the_second_request_gets_it_once() {
    let server = Server::start(|mut connection, _| async move {
        connection.request().await;
        connection.write(&answer("200 OK", "", b"{}")).await;
        connection.request().await;
    })
    .await;
    let client = client().build().unwrap();
    client.send(refresh(server.url())).await.unwrap();

    let outcome = client.send(refresh(server.url())).await;

    assert_kind(outcome, HttpErrorKind::Unanswered);
    assert_eq!((server.connections(), server.requests()), (1, 2));
}

#[tokio::test]
async fn a_kept_connection_that_closed_while_idle_loses_nothing() {
    let (closed, mut wait_closed) = mpsc::unbounded_channel();
    let server = Server::start(move |mut connection, _| {
        let closed = closed.clone();
        async move {
            connection.request().await;
            connection.write(&answer("200 OK", "", b"{}")).await;
            drop(connection);
            closed.send(()).unwrap();
        }
    })
    .await;
    let client = client().build().unwrap();
    client.send(refresh(server.url())).await.unwrap();
    wait_closed.recv().await.unwrap();

    let outcome = client.send(refresh(server.url())).await;

    assert_eq!(outcome.unwrap().status(), 200);
    assert_eq!((server.connections(), server.requests()), (2, 2));
}

#[tokio::test]
async fn no_failure_after_the_send_is_retried() {
    for failure in ["close", "reset", "not http", "503"] {
        let server = Server::start(move |mut connection, _| async move {
            connection.request().await;
            match failure {
                "reset" => connection.reset(),
                "not http" => drop(connection.write(b"SMTP 220\r\n\r\n").await),
                "503" => drop(connection.write(&answer("503 Service Unavailable", "retry-after: 0\r\n", b"")).await),
                _ => {}
            }
        })
        .await;

        let outcome = client().build().unwrap().send(refresh(server.url())).await;

        assert_eq!(outcome.map(|answer| answer.status().as_u16()).ok(), (failure == "503").then_some(503), "{failure}");
        assert_eq!((server.connections(), server.requests()), (1, 1), "{failure}");
    }
}
