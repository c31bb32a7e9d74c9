//! What comes back is taken as it is, up to 64 KiB.

use std::io::Write;

use batchsuite_auth::http::{HttpClient, HttpErrorKind};

use crate::server::{Server, answer, assert_kind, client, refresh};

const CAP: usize = 64 * 1024;

/// What the system's own buffers may take beside the cap.
const BUFFERS: usize = 1024 * 1024;

#[tokio::test]
async fn a_body_up_to_the_cap_is_accepted() {
    let body = vec![b'a'; CAP];
    let server = Server::answering(answer("200 OK", "", &body)).await;

    let answer = client().build().unwrap().send(refresh(server.url())).await.unwrap();

    assert_eq!(answer.body(), &body);
}

#[tokio::test]
async fn one_byte_over_the_cap_is_unanswered_however_it_is_framed() {
    let body = vec![b'a'; CAP + 1];
    let chunked =
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10001\r\n", &*body, b"\r\n0\r\n\r\n"].concat();
    for bytes in [answer("200 OK", "", &body), chunked] {
        let server = Server::answering(bytes).await;

        let outcome = client().build().unwrap().send(refresh(server.url())).await;

        assert_kind(outcome, HttpErrorKind::Unanswered);
    }
}

#[tokio::test]
async fn a_10_mb_body_is_cut_at_the_cap() {
    const BODY: usize = 10 * 1024 * 1024;
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{BODY:x}\r\n"),
        "HTTP/1.1 200 OK\r\nx-padding: ".to_owned(),
    ] {
        let server = Server::start(move |mut connection, _| {
            let head = head.clone();
            async move {
                connection.request().await;
                connection.write(head.as_bytes()).await;
                assert!(!connection.write(&vec![b'a'; BODY]).await, "the client took it all");
            }
        })
        .await;

        let outcome = client().build().unwrap().send(refresh(server.url())).await;

        assert_kind(outcome, HttpErrorKind::Unanswered);
        assert!(server.written() < CAP + BUFFERS, "{} bytes left the server", server.written());
    }
}

#[tokio::test]
async fn a_content_length_that_lies_is_not_believed() {
    for (length, expected) in [("2", Some(b"{}".as_slice())), ("64", None), ("18446744073709551615", None)] {
        let server = Server::start(move |mut connection, _| async move {
            connection.request().await;
            connection.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes()).await;
            connection.write(b"{} and more").await;
        })
        .await;

        let outcome = client().build().unwrap().send(refresh(server.url())).await;

        match expected {
            Some(body) => assert_eq!(outcome.unwrap().body(), body),
            None => drop(assert_kind(outcome, HttpErrorKind::Unanswered)),
        }
    }
}

#[tokio::test]
async fn no_encoding_is_asked_for() {
    let server = Server::start(|mut connection, _| async move {
        let request = connection.request().await.unwrap();
        connection.write(&answer("200 OK", "", request.as_bytes())).await;
    })
    .await;

    let answer = client().build().unwrap().send(refresh(server.url())).await.unwrap();

    let seen = String::from_utf8(answer.into_body()).unwrap().to_ascii_lowercase();
    assert!(!seen.contains("accept-encoding"), "{seen}");
}

#[tokio::test]
async fn a_gzip_bomb_stays_packed() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![0; 10 * 1024 * 1024]).unwrap();
    let bomb = packer.finish().unwrap();
    let server = Server::answering(answer("200 OK", "content-encoding: gzip\r\n", &bomb)).await;

    let answer = client().build().unwrap().send(refresh(server.url())).await.unwrap();

    assert_eq!(answer.body(), &bomb);
    assert_eq!(answer.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn no_encoding_is_undone() {
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let server =
            Server::answering(answer("200 OK", &format!("content-encoding: {encoding}\r\n"), b"as it came")).await;

        let answer = client().build().unwrap().send(refresh(server.url())).await.unwrap();

        assert_eq!(answer.body(), b"as it came", "{encoding}");
    }
}
