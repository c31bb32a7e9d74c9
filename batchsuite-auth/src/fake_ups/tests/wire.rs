//! The client's view of a real connection.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::*;

const ASK: &[u8] = b"GET /__fake/requests HTTP/1.1\r\nhost: localhost\r\n\r\n";
const TRACK: &[u8] = b"GET /api/track/v1/details/1Z HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn connect(ups: &FakeUps) -> TcpStream {
    let base_url = ups.base_url();
    let address: SocketAddr = base_url.socket_addrs(|| None).unwrap()[0];
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Everything until the connection ends, and how it ended.
fn read_to_end(stream: &mut TcpStream) -> (String, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
    (String::from_utf8(bytes).unwrap(), end)
}

/// One answer on a connection that stays open.
fn read_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    let mut text = String::from_utf8(bytes).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text.push_str(&String::from_utf8(body).unwrap());
    text
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_no_answer_gives_the_fake_away() {
    let ups = start().await;
    let mut stream = connect(&ups);

    for _ in 0..3 {
        stream.write_all(TRACK).unwrap();
        let answer = read_answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.ends_with("\"Invalid token or token is not present\"}]}}"), "{answer}");
        assert!(!answer.to_lowercase().contains("fake") && !answer.contains("wiremock"), "{answer}");
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_close_is_a_close() {
    let ups = start().await;
    for (fault, end) in [
        (Fault::Reset, Some(ErrorKind::ConnectionReset)),
        (Fault::DropAnswer, Some(ErrorKind::ConnectionReset)),
        (Fault::Close, None),
    ] {
        ups.fault(Endpoint::Track, fault.clone(), Times::Once);
        let mut stream = connect(&ups);
        stream.write_all(TRACK).unwrap();
        assert_eq!(read_to_end(&mut stream), (String::new(), end), "{fault:?}");
    }
}

#[tokio::test]
async fn a_connection_breaks_before_anything_is_read() {
    let ups = start().await;
    for (fault, end) in [(Fault::Reset, Some(ErrorKind::ConnectionReset)), (Fault::Close, None)] {
        ups.fault(Endpoint::Connection, fault.clone(), Times::Once);
        let mut stream = connect(&ups);
        assert_eq!(read_to_end(&mut stream), (String::new(), end), "{fault:?}");
    }
    assert_eq!(ups.requests().count(Endpoint::Connection, Outcome::Unprocessed), 2);
    let mut stream = connect(&ups);
    stream.write_all(ASK).unwrap();
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_hanging_connection_stays_open_and_silent() {
    let ups = start().await;
    for endpoint in [Endpoint::Connection, Endpoint::Track] {
        ups.fault(endpoint, Fault::Hang, Times::Once);
        let mut stream = connect(&ups);
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.write_all(TRACK).unwrap();
        let (text, end) = read_to_end(&mut stream);
        assert_eq!(text, "");
        assert!(matches!(end, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{end:?}");
    }
}

#[tokio::test]
async fn a_truncated_answer_promises_more_than_comes() {
    let ups = start().await;
    ups.fault(Endpoint::Track, Fault::Truncate { keep_bytes: 11 }, Times::Once);
    let mut stream = connect(&ups);

    stream.write_all(TRACK).unwrap();

    let (text, end) = read_to_end(&mut stream);
    assert_eq!(end, None);
    assert!(text.ends_with("\r\n\r\n{\"response\""), "{text}");
    assert!(!text.contains("content-length: 11") && !text.contains("fake"), "{text}");
}

#[tokio::test]
async fn a_trickled_answer_comes_whole_byte_by_byte_and_the_connection_goes_on() {
    let ups = start().await;
    ups.fault(Endpoint::Track, Fault::Trickle { milliseconds: 1 }, Times::Once);
    let mut stream = connect(&ups);
    let started = tokio::time::Instant::now();

    stream.write_all(TRACK).unwrap();

    let answer = read_answer(&mut stream);
    assert!(started.elapsed() >= Duration::from_millis(answer.len() as u64), "{:?}", started.elapsed());
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.ends_with("}]}}"), "{answer}");
    assert!(!answer.contains("fake"), "{answer}");

    stream.write_all(TRACK).unwrap();
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn a_body_of_10_mib_comes_whole() {
    let ups = start().await;
    ups.fault(Endpoint::Track, Answer::status(200).with_fill(10 * 1024 * 1024), Times::Once);
    let mut stream = connect(&ups);

    stream.write_all(TRACK).unwrap();

    let answer = read_answer(&mut stream);
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 10 * 1024 * 1024);
}

#[tokio::test]
async fn offline_nobody_listens_and_online_it_is_the_same_port_again() {
    let ups = start().await;
    let address = ups.base_url().socket_addrs(|| None).unwrap()[0];
    let mut open = connect(&ups);
    open.write_all(ASK).unwrap();
    read_answer(&mut open);

    ups.go_offline().await;
    read_to_end(&mut open);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    ups.go_online().await;
    let mut again = connect(&ups);
    again.write_all(ASK).unwrap();
    assert!(read_answer(&mut again).starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_dropped_fake_is_gone() {
    let ups = start().await;
    let address = ups.base_url().socket_addrs(|| None).unwrap()[0];
    let mut open = connect(&ups);

    drop(ups);

    read_to_end(&mut open);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn header_names_are_in_upss_cases() {
    let ups = FakeUps::builder().redirect_uri(CALLBACK).start().await;
    let mut stream = connect(&ups);
    let query = format!(
        "client_id={}&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcallback&response_type=code",
        FakeUps::CLIENT_ID
    );

    for _ in 0..2 {
        write!(stream, "GET /security/v1/oauth/authorize?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();

        let answer = read_answer(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
        for header in [
            "\r\nLocation: http://localhost/lasso/signin?",
            "\r\nappname: Batch Suite\r\n",
            "\r\ndisplayname: Batch Suite\r\n",
        ] {
            assert!(answer.contains(header), "{header:?} in {answer}");
        }
        assert!(!answer.contains("location:") && !answer.contains("x-fake"), "{answer}");
    }
}

#[tokio::test]
async fn http_2_is_refused_and_no_fault_is_passed_by() {
    let ups = start().await;
    ups.fault(Endpoint::Track, Fault::DropAnswer, Times::Once);
    for cut in [3, 14, 24] {
        let mut stream = connect(&ups);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        stream.write_all(&preface[..cut]).unwrap();
        // The rest may arrive after the server has closed.
        let _ = stream.write_all(&preface[cut..]);
        let _ = stream.write_all(b"\0\0\0\x04\0\0\0\0\0");

        let (text, end) = read_to_end(&mut stream);

        assert!(text.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "{cut}: {text} {end:?}");
        assert!(!matches!(end, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "the connection ends by itself");
    }
    assert_eq!(ups.requests().total(Endpoint::Track), 0);
}

#[tokio::test]
async fn requests_that_come_together_are_answered_one_by_one_and_none_gives_the_fake_away() {
    let ups = start().await;
    let mut stream = connect(&ups);
    let last = String::from_utf8_lossy(TRACK).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");

    stream.write_all(&[TRACK, TRACK, TRACK, last.as_bytes()].concat()).unwrap();

    let (text, end) = read_to_end(&mut stream);
    assert_eq!((text.matches("HTTP/1.1 401 ").count(), end), (4, None), "{text}");
    assert!(!text.contains("fake"), "{text}");
}

#[tokio::test]
async fn a_head_request_gets_the_head_alone_and_the_connection_goes_on() {
    let ups = start().await;
    let mut stream = connect(&ups);
    let head = String::from_utf8_lossy(ASK).replace("GET", "HEAD");

    stream.write_all(&[head.as_bytes(), TRACK].concat()).unwrap();

    let mut text = String::new();
    while !text.contains("}]}}") {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    let (first, second) = text.split_once("\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 ") && !first.contains("content-length: 0"), "{text}");
    assert!(second.starts_with("HTTP/1.1 401 "), "{text}");
}

#[tokio::test]
async fn a_request_that_no_server_takes_gets_a_page_that_says_so() {
    let ups = start().await;
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let body = "x".repeat(FakeUpsState::LONGEST_BODY + 1);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"), "431 Request Header Fields Too Large"),
        ("GET / HTTP/1.1\r\nho st: localhost\r\n\r\n".to_owned(), "400 Bad Request"),
        (
            format!(
                "POST /security/v1/oauth/token HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            "413 Payload Too Large",
        ),
    ] {
        let mut stream = connect(&ups);
        stream.write_all(request.as_bytes()).unwrap();
        let (text, _) = read_to_end(&mut stream);

        assert!(text.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{text}");
        let (head, page) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", page.len())), "{text}");
        assert!(page.contains(&format!("<h1>{status}</h1>")) && !text.contains("fake"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_that_a_fault_asks_for_stays_without() {
    let ups = start().await;
    ups.fault(Endpoint::Track, Answer::status(431), Times::Once);
    let mut stream = connect(&ups);

    stream.write_all(TRACK).unwrap();

    let answer = read_answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_of_which_the_server_sends_no_body_or_chunks_does_not_confuse_the_next() {
    let ups = start().await;
    let chunked = Answer::status(200).with_header("transfer-encoding", "chunked").with_body("{}");
    for (answer, end) in [
        (Answer::status(204).with_body("none".repeat(1_000)), "\r\n\r\n"),
        (Answer::status(304).with_body("none".repeat(1_000)), "\r\n\r\n"),
        (chunked, "\r\n0\r\n\r\n"),
    ] {
        ups.fault(Endpoint::Track, answer.clone(), Times::Once);
        let mut stream = connect(&ups);

        let last = String::from_utf8_lossy(TRACK).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        stream.write_all(&[TRACK, last.as_bytes()].concat()).unwrap();

        let (text, closed) = read_to_end(&mut stream);
        let first = text.split_once("HTTP/1.1 401 ").map_or(text.as_str(), |(first, _)| first);
        assert!(first.ends_with(end), "{answer:?}: {text}");
        assert!(
            !text.contains("fake") && !matches!(closed, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_length_that_is_not_the_body_s_is_told_and_ends_the_connection() {
    let ups = start().await;
    for (told, body) in
        [("3", "abcdef"), ("9", "abcdef"), ("0", "abcdef"), ("5", ""), ("many", "abcdef"), ("+6", "abcdef")]
    {
        ups.fault(
            Endpoint::Track,
            Answer::status(200).with_header("content-length", told).with_body(body),
            Times::Once,
        );
        let mut stream = connect(&ups);

        stream.write_all(TRACK).unwrap();

        let (text, closed) = read_to_end(&mut stream);
        let (head, sent) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!((sent, closed), (body, None), "{told}: {text}");
        let lengths: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("content-length: ")).collect();
        assert_eq!(lengths, [told], "{text}");
        assert!(!text.contains("fake"), "{text}");
    }
}

#[tokio::test]
async fn a_coding_in_which_the_body_is_not_is_told_and_ends_the_connection() {
    let ups = start().await;
    let chunked = Answer::status(200).with_header("transfer-encoding", "chunked").with_header("content-length", "2");
    for (answer, framing, body) in [
        (Answer::status(200).with_header("transfer-encoding", "gzip"), &["transfer-encoding: gzip"][..], "abc"),
        (Answer::status(200).with_header("transfer-encoding", "identity"), &["transfer-encoding: identity"], "abc"),
        (
            Answer::status(200).with_header("transfer-encoding", "gzip, chunked").with_header("content-length", "1"),
            &["content-length: 1", "transfer-encoding: gzip, chunked"],
            "abc",
        ),
        (chunked, &["transfer-encoding: chunked", "content-length: 2"], "3\r\nabc\r\n0\r\n\r\n"),
    ] {
        ups.fault(Endpoint::Track, answer.clone().with_body("abc"), Times::Once);
        let mut stream = connect(&ups);

        stream.write_all(TRACK).unwrap();

        let (text, closed) = read_to_end(&mut stream);
        let (head, sent) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!((sent, closed), (body, None), "{text}");
        let is_framing = |line: &&str| line.starts_with("content-length") || line.starts_with("transfer-encoding");
        let mut lines: Vec<_> = head.lines().filter(is_framing).collect();
        let mut framing = framing.to_vec();
        lines.sort_unstable();
        framing.sort_unstable();
        assert_eq!(lines, framing, "{text}");
        assert!(!text.contains("fake"), "{text}");

        ups.fault(Endpoint::Track, answer.with_body("abc"), Times::Once);
        let mut stream = connect(&ups);
        let head = String::from_utf8_lossy(TRACK).replace("GET", "HEAD");
        stream.write_all(head.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        let (text, _) = read_to_end(&mut stream);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"), "{text:?}");
    }
}
