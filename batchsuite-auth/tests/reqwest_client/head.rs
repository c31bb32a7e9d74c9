//! A head that is not as it should be does not cost the answer.

use batchsuite_auth::http::HttpClient;

use crate::server::{Server, client, refresh};

const PAIR: &[u8] = br#"{"access_token":"one","refresh_token":"two"}"#;

#[tokio::test]
async fn a_head_of_many_kinds_is_read_leniently() {
    let many = |count: usize| (0..count).map(|number| format!("x-number-{number}: {number}\r\n")).collect::<String>();
    for headers in [
        "x-folded: one\r\n two\r\n\tthree\r\n".to_owned(),
        "x-folded:\r\n  one\r\n".to_owned(),
        "x-blank-after : one\r\n".to_owned(),
        "x-tab-after\t: one\r\n".to_owned(),
        "x blank in it: one\r\n".to_owned(),
        " x-blank-before: one\r\n".to_owned(),
        "x-no-colon\r\n".to_owned(),
        "x-né: one\r\n".to_owned(),
        "x-value: \u{1} \u{7f}\r\n".to_owned(),
        ": no name\r\n".to_owned(),
        many(101),
        many(500),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", PAIR.len());
        let server = Server::answering([head.as_bytes(), PAIR].concat()).await;

        let answer = client().build().unwrap().send(refresh(server.url())).await;

        let answer = answer.unwrap_or_else(|error| panic!("{headers:?}: {error:?}"));
        assert_eq!(answer.body(), PAIR, "{headers:?}");
    }
}

#[tokio::test]
async fn how_long_a_body_is_may_be_folded_or_have_a_blank_too() {
    let length = PAIR.len();
    for framing in [
        format!("Content-Length : {length}\r\n\r\n"),
        format!("Content-Length:\r\n {length}\r\n\r\n"),
        format!("Transfer-Encoding :\tchunked\r\n\r\n{length:x}\r\n"),
        format!("Transfer-Encoding:\r\n chunked\r\n\r\n{length:x};extension=\"\"\r\n"),
    ] {
        let end: &[u8] = if framing.contains("chunked") { b"\r\n0\r\n\r\n" } else { b"" };
        let server = Server::answering([b"HTTP/1.1 200\r\n", framing.as_bytes(), PAIR, end].concat()).await;

        let answer = client().build().unwrap().send(refresh(server.url())).await;

        let answer = answer.unwrap_or_else(|error| panic!("{framing:?}: {error:?}"));
        assert_eq!(answer.body(), PAIR, "{framing:?}");
    }
}
