//! What has arrived of an answer that never ends is there for whoever wants it.

use std::time::Duration;

use batchsuite_auth::http::{HttpClient, HttpErrorKind, Received};

use crate::server::{Server, assert_kind, client, refresh};
use crate::tls::Authority;

const PAIR: &str = r#"{"access_token":"one","refresh_token":"two"}"#;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
    Silence,
}

/// Asserts that an answer is unanswered, and that what arrived of it is in the request's [`Received`].
async fn assert_received(framed: &str, end: End) {
    let bytes = framed.to_owned();
    let server = Server::start(move |mut connection, _| {
        let bytes = bytes.clone();
        async move {
            connection.request().await;
            connection.write(bytes.as_bytes()).await;
            match end {
                End::Close => {}
                End::Reset => connection.reset(),
                End::Silence => connection.hold().await,
            }
        }
    })
    .await;
    let client = client().connect_timeout(Duration::from_millis(900)).deadline(Duration::from_secs(1)).build().unwrap();
    let received = Received::default();
    let mut request = refresh(server.url());
    request.extensions_mut().insert(received.clone());

    let outcome = client.send(request).await;

    assert_kind(outcome, HttpErrorKind::Unanswered);
    let part = received.take().unwrap_or_else(|| panic!("{framed:?} {end:?}: nothing"));
    assert_eq!((part.status().as_u16(), part.body().as_slice()), (201, PAIR.as_bytes()), "{framed:?} {end:?}");
    assert_eq!(part.headers()["x-kept"], "yes");
    assert!(received.take().is_none());
}

#[tokio::test]
async fn what_arrived_before_the_end_that_never_came_is_kept() {
    let head = "HTTP/1.1 201 Created\r\nx-kept: yes\r\n";
    let length = PAIR.len();
    let too_long = format!("{head}content-length: {}\r\n\r\n{PAIR}", length + 1);
    let no_last_chunk = format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{PAIR}\r\n");
    let half_a_chunk = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{PAIR}", length + 100);
    let no_chunk = format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{PAIR}\r\nnot a size\r\n");
    for framed in [&too_long, &no_last_chunk, &half_a_chunk, &no_chunk] {
        for end in [End::Close, End::Reset, End::Silence] {
            assert_received(framed, end).await;
        }
    }
    let until_the_end = format!("{head}\r\n{PAIR}");
    assert_received(&until_the_end, End::Reset).await;
    assert_received(&until_the_end, End::Silence).await;
}

#[tokio::test]
async fn tls_that_ends_without_close_notify_leaves_what_arrived() {
    let authority = Authority::new();
    let server = authority
        .server_with("localhost", |mut connection| async move {
            connection.request().await;
            connection.write(format!("HTTP/1.1 201 Created\r\n\r\n{PAIR}").as_bytes()).await;
            // Dropped as it is: no close_notify.
        })
        .await;
    let client = client().root_certificate(authority.pem()).build().unwrap();
    let received = Received::default();
    let mut request = refresh(format!("https://localhost:{}/", server.port()));
    request.extensions_mut().insert(received.clone());

    let outcome = client.send(request).await;

    assert_kind(outcome, HttpErrorKind::Unanswered);
    assert_eq!(received.take().unwrap().body(), PAIR.as_bytes());
}

#[tokio::test]
async fn more_than_the_cap_is_cut_and_what_fits_is_kept() {
    let body = format!("{PAIR}{}", " ".repeat(70_000));
    let server = Server::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let received = Received::default();
    let mut request = refresh(server.url());
    request.extensions_mut().insert(received.clone());

    let outcome = client().build().unwrap().send(request).await;

    assert_kind(outcome, HttpErrorKind::Unanswered);
    let part = received.take().unwrap();
    assert_eq!(part.body().len(), 64 * 1024);
    assert!(part.body().starts_with(PAIR.as_bytes()));
}
