//! What a client sees on a real connection.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::*;

const ASK: &[u8] = b"GET /__fake/requests HTTP/1.1\r\nhost: ups\r\n\r\n";
const TRACK: &[u8] = b"GET /api/track/v1/details/1Z HTTP/1.1\r\nhost: ups\r\n\r\n";

fn connect(ups: &FakeUps) -> TcpStream {
    let base_url = ups.base_url();
    let address: SocketAddr = base_url.socket_addrs(|| None).unwrap()[0];
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Everything until the end of the connection, and how it ended.
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
