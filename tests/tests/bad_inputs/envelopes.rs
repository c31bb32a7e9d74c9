//! Pairs in a damaged envelope: a pair that has arrived is kept, whatever surrounds it.

use std::{io::Write as _, net::Ipv4Addr, time::Duration};

use batchsuite_auth::{
    events::EventKind,
    fake_ups::{Answer, Endpoint},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    steps::{Ups, assert_failed_exchange, assert_unanswered},
    world::{Setup, World, assert_authenticated},
};

const PAIR: &str = r#"{"access_token":"an-access-token","refresh_token":"a-refresh-token","token_type":"Bearer","expires_in":"3599","refresh_token_expires_in":"5183999"}"#;

/// The end of the server's connection after its bytes.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
    /// The connection stays open until the client closes it.
    Silence,
}

/// Answers each connection with the same bytes.
struct Server {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(bytes: impl Into<Vec<u8>>, end: End) -> Self {
        let bytes = bytes.into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, bytes.clone(), end));
            }
        });
        Self { url, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, bytes: Vec<u8>, end: End) {
    let mut request = Vec::new();
    // The form comes last in a request, and is never empty here.
    while !request.windows(4).any(|end| end == b"\r\n\r\n") || request.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    stream.write_all(&bytes).await.unwrap();
    match end {
        End::Close => {}
        End::Reset => stream.set_zero_linger().unwrap(),
        End::Silence => while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {},
    }
}

/// A short deadline, so that silence costs little time.
fn impatient(setup: &mut Setup) {
    setup.policy.request_deadline = Duration::from_secs(1);
}

/// Asserts that the tokens of [`PAIR`] are stored and served.
async fn assert_pair_kept(world: &World, odd: usize, what: &str) {
    let token = world.token().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(token.expose_secret() == "an-access-token", "{what}");
    let stored = world.look().await.tokens.unwrap();
    assert!(stored.1.as_deref() == Some("a-refresh-token"), "{what}: the refresh token was lost");
    assert_authenticated(&world.status().await);
    assert_eq!(world.count(EventKind::OddAnswer).await, odd, "{what}");
    assert_eq!(world.count(EventKind::RefreshUnanswered).await, 0, "{what}");
}

/// Asserts that these bytes on the wire yield a pair, at both endpoints.
async fn assert_pair_on_the_wire(bytes: impl Into<Vec<u8>>, end: End) {
    let bytes = bytes.into();
    let what = format!("{:?} {end:?}", String::from_utf8_lossy(&bytes));
    let server = Server::start(bytes, end).await;
    let refreshed = World::with(impatient).await.opted_in().await;
    refreshed.advance(2 * 3600);
    refreshed.http.send_to(&server.url);
    assert_pair_kept(&refreshed, 0, &what).await;
    let exchanged = World::with(impatient).await;
    let back = exchanged.back().await;
    exchanged.http.send_to(&server.url);
    exchanged.callback(&back).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert_pair_kept(&exchanged, 0, &what).await;
}

/// Asserts that this body yields a pair, at both endpoints.
async fn assert_pair_in(body: &[u8], odd: usize, change: impl Fn(Answer) -> Answer) {
    let what = String::from_utf8_lossy(body);
    let answer = change(Answer::status(200).with_bytes(body));
    let refreshed = World::refresh_due().await;
    refreshed.next(Endpoint::Refresh, answer.clone());
    assert_pair_kept(&refreshed, odd, &what).await;
    let exchanged = World::new().await;
    exchanged.next(Endpoint::Token, answer);
    assert_pair_kept(&exchanged.opted_in().await, odd, &what).await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn a_whole_object_followed_by_anything_is_a_pair_and_told() {
    for rest in
        ["\0", "\0\0\0\0", " // served by node 7", "<!-- node 7 -->", "}", ",", "\u{feff}", "{\"refresh_token\":\"x\"}"]
    {
        assert_pair_in(format!("{PAIR}{rest}").as_bytes(), 1, |answer| answer).await;
    }
    assert_pair_in(format!("\0\0{PAIR}").as_bytes(), 1, |answer| answer).await;
    assert_pair_in(&[PAIR.as_bytes(), b"\xff\xfe\x80"].concat(), 1, |answer| answer).await;
    assert_pair_in(&[PAIR.as_bytes(), &[b'x'; 100_000]].concat(), 1, |answer| answer).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_after_its_object_was_whole_is_a_pair() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let length = PAIR.len();
    let framed = [
        format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{PAIR}\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{PAIR}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{PAIR}\r\nzz\r\n"),
        format!("{head}content-length: {}\r\n\r\n{PAIR}", length + 1),
        format!("{head}content-length: 1000000\r\n\r\n{PAIR}\n"),
        format!("{head}\r\n{PAIR}"),
    ];
    let cases = framed.iter().flat_map(|framed| [End::Close, End::Reset, End::Silence].map(|end| (framed, end)));
    join_all(cases.map(|(framed, end)| assert_pair_on_the_wire(framed.as_bytes(), end))).await;
    let packed = gzip(PAIR.as_bytes());
    let without_its_checksum = [head.as_bytes(), b"\r\n", &packed[..packed.len() - 8]].concat();
    assert_pair_on_the_wire(without_its_checksum, End::Reset).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_within_its_object_stays_unanswered() {
    let head = "HTTP/1.1 200 OK\r\n";
    let pair = &PAIR[..PAIR.len() - 1];
    let refusal = r#"{"response":{"errors":[{"code":"10400","message":"Invalid Refresh Token"}]}}"#;
    let lone = r#"{"access_token":"an-access-token","expires_in":"3599"}"#;
    for (status, body) in [("200 OK", pair), ("200 OK", refusal), ("400 Bad Request", refusal), ("200 OK", lone)] {
        let head = head.replace("200 OK", status);
        let bytes = format!("{head}content-length: {}\r\n\r\n{body}", body.len() + 1);
        let server = Server::start(bytes, End::Close).await;
        let world = World::refresh_due().await;
        world.http.send_to(&server.url);
        assert_unanswered(&world, Ups::DidNotRotate, body).await;
        let world = World::authenticated().await;
        world.token().await.unwrap();
        let server = Server::start(format!("{head}content-length: 9999\r\n\r\n{body}"), End::Reset).await;
        world.http.send_to(&server.url);
        let error = assert_failed_exchange(&world, body).await;
        assert!(matches!(error, batchsuite_auth::error::CallbackError::Unanswered(_)), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn gzip_labelled_or_not_is_a_pair() {
    let packed = gzip(PAIR.as_bytes());
    assert_pair_in(&packed, 0, |answer| answer).await;
    assert_pair_in(&packed, 0, |answer| answer.with_header("content-encoding", "gzip")).await;
    assert_pair_in(PAIR.as_bytes(), 0, |answer| answer.with_header("content-encoding", "gzip")).await;
    assert_pair_in(&gzip(&packed), 0, |answer| answer.with_header("content-encoding", "gzip, gzip")).await;
    let odd = gzip(format!("{PAIR}\0").as_bytes());
    assert_pair_in(&odd, 1, |answer| answer).await;
}

#[tokio::test]
async fn utf_16_is_a_pair_with_or_without_its_mark() {
    for text in [PAIR.to_owned(), format!("\u{feff}{PAIR}")] {
        for bytes in [u16::to_be_bytes, u16::to_le_bytes] {
            let body: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            assert_pair_in(&body, 0, |answer| answer).await;
        }
    }
}

#[tokio::test]
async fn a_head_that_is_not_as_it_should_be_does_not_cost_the_pair() {
    let many: String = (0..101).map(|number| format!("x-number-{number}: {number}\r\n")).collect();
    for headers in ["x-folded: one\r\n two\r\n", "x-blank : one\r\n", "x blank: one\r\n", "nothing\r\n", &many] {
        let length = PAIR.len();
        let bytes = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{PAIR}");
        assert_pair_on_the_wire(bytes, End::Close).await;
    }
}

#[tokio::test]
async fn framing_that_is_odd_does_not_cost_the_pair() {
    let (length, hexadecimal) = (PAIR.len(), format!("{:x}", PAIR.len()));
    let many: String = (0..1000).map(|number| format!("x-{number}: {number}\r\n")).collect();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let each: String = PAIR.chars().map(|character| format!("1;a=\"b\"\r\n{character}\r\n")).collect();
    for bytes in [
        // Chunk extensions.
        format!("{chunked}{each}0;end\r\n\r\n"),
        // Trailers.
        format!("{chunked}{hexadecimal}\r\n{PAIR}\r\n0\r\nx-check: 1\r\n\r\n"),
        // Leading zeros.
        format!("{chunked}0000{hexadecimal}\r\n{PAIR}\r\n0\r\n\r\n"),
        // An invalid chunk size.
        format!("{chunked}{hexadecimal}\r\n{PAIR}\r\nx\r\n\r\n"),
        // An invalid trailer.
        format!("{chunked}{hexadecimal}\r\n{PAIR}\r\n0\r\n\u{1}\r\n\r\n"),
        // The same length twice.
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncontent-length: {length}\r\n\r\n{PAIR}"),
        // Both chunked and a length.
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{hexadecimal}\r\n{PAIR}\r\n0\r\n\r\n"
        ),
        // Interim answers.
        format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{PAIR}"),
        // Line feeds only.
        format!("HTTP/1.1 200 OK\ncontent-length: {length}\n\n{PAIR}"),
        // Empty lines first.
        format!("\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{PAIR}"),
        // HTTP/1.0.
        format!("HTTP/1.0 200 OK\r\n\r\n{PAIR}"),
        // No reason.
        format!("HTTP/1.1 200\r\ncontent-length: {length}\r\n\r\n{PAIR}"),
        // An odd reason.
        format!("HTTP/1.1 200 \u{e9}\u{1f69a}\r\ncontent-length: {length}\r\n\r\n{PAIR}"),
        // 1,000 headers.
        format!("HTTP/1.1 200 OK\r\n{many}content-length: {length}\r\n\r\n{PAIR}"),
        // A long header.
        format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: {length}\r\n\r\n{PAIR}", "y".repeat(100_000)),
        // An odd value.
        format!("HTTP/1.1 200 OK\r\nx: \u{1}\u{e9}\r\ncontent-length: {length}\r\n\r\n{PAIR}"),
        // An odd type.
        format!("HTTP/1.1 200 OK\r\ncontent-type: \u{e9}/\r\ncontent-length: {length}\r\n\r\n{PAIR}"),
        // A second answer.
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{PAIR}HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"
        ),
    ] {
        assert_pair_on_the_wire(bytes, End::Close).await;
    }
}

#[tokio::test]
async fn no_coding_is_asked_for_and_gzip_errors_are_read() {
    let body = gzip(br#"{"response":{"errors":[{"code":"10499","message":"Computer says no"}]}}"#);
    let world = World::refresh_due().await;
    world.next(Endpoint::Refresh, Answer::status(400).with_bytes(body));

    world.token().await.unwrap_err();

    let evidence = world.last(EventKind::Misconfigured).await.evidence.unwrap();
    assert_eq!(evidence.message.as_deref(), Some("Computer says no"));
    assert_eq!(world.http.exchanges()[1].accept_encoding.as_deref(), Some("identity"));
}
