use batchsuite_auth::http::{HttpClient, HttpErrorKind, ReqwestClient};

use crate::server::{Server, answer, assert_kind, client, refresh};

#[tokio::test]
async fn plain_http_is_refused_before_anything_is_sent() {
    let server = Server::answering(answer("200 OK", "", b"{}")).await;
    let client = ReqwestClient::builder().build().unwrap();

    let outcome = client.send(refresh(server.url())).await;

    assert_kind(outcome, HttpErrorKind::Request);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn plain_http_to_loopback_is_sent_where_asked_for() {
    let server = Server::answering(answer("200 OK", "retry-after: 7\r\nerrorcode: 10400\r\n", b"{}")).await;

    let answer = client().build().unwrap().send(refresh(server.url())).await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(answer.headers()["errorcode"], "10400");
    assert_eq!(answer.body(), b"{}");
}

#[tokio::test]
async fn localhost_is_this_machine() {
    let server = Server::answering(answer("200 OK", "", b"{}")).await;

    let outcome = client().build().unwrap().send(refresh(format!("http://localhost:{}/", server.port()))).await;

    assert_eq!(outcome.unwrap().status(), 200);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn the_request_arrives_as_it_was_given() {
    let server = Server::start(|mut connection, _| async move {
        let request = connection.request().await.unwrap();
        connection.write(&answer("200 OK", "", request.as_bytes())).await;
    })
    .await;

    let answer = client().build().unwrap().send(refresh(server.url())).await.unwrap();

    let seen = String::from_utf8(answer.into_body()).unwrap();
    assert!(seen.starts_with("POST /security/v1/oauth/refresh HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("authorization: Basic Y2xpZW50OnNlY3JldA==\r\n"), "{seen}");
    assert!(seen.contains(concat!("user-agent: batchsuite-auth/", env!("CARGO_PKG_VERSION"), "\r\n")), "{seen}");
    assert!(seen.ends_with("\r\n\r\ngrant_type=refresh_token&refresh_token=spent-at-most-once"), "{seen}");
}
