//! What surely was not sent is told apart from what may have been.

use std::net::TcpListener;
use std::time::Duration;

use batchsuite_auth::http::{HttpClient, HttpErrorKind};

use crate::server::{Server, assert_kind, client, refresh};

#[tokio::test]
async fn connection_refused_is_not_sent() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let outcome = client().build().unwrap().send(refresh(format!("http://{free}/"))).await;

    assert_kind(outcome, HttpErrorKind::Connect);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_sent() {
    let client = client().connect_timeout(Duration::from_secs(2)).build().unwrap();

    let outcome = client.send(refresh("https://no-such-host.invalid/")).await;

    assert_kind(outcome, HttpErrorKind::Connect);
}

#[tokio::test]
async fn a_reset_after_the_request_is_unanswered() {
    let server = Server::start(|mut connection, _| async move {
        connection.request().await;
        connection.reset();
    })
    .await;

    let outcome = client().build().unwrap().send(refresh(server.url())).await;

    assert_kind(outcome, HttpErrorKind::Unanswered);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_reset_in_the_middle_of_the_request_is_unanswered() {
    let server = Server::start(|mut connection, _| async move {
        connection.read_exactly(16).await;
        connection.reset();
    })
    .await;
    let mut request = refresh(server.url());
    *request.body_mut() = vec![b'a'; 8 * 1024 * 1024];

    let outcome = client().build().unwrap().send(request).await;

    assert_kind(outcome, HttpErrorKind::Unanswered);
    assert_eq!((server.connections(), server.requests()), (1, 0));
}

#[tokio::test]
async fn an_answer_cut_short_is_unanswered() {
    for cut in ["", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n{\"access_token\":"]
    {
        let server = Server::start(move |mut connection, _| async move {
            connection.request().await;
            connection.write(cut.as_bytes()).await;
        })
        .await;

        let outcome = client().build().unwrap().send(refresh(server.url())).await;

        assert_kind(outcome, HttpErrorKind::Unanswered);
    }
}
