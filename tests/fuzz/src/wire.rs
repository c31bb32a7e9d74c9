//! The path of the fake's answers to a client.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use batchsuite_auth::fake_ups::{Reply, WireConnection, WireFault, WireStream};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    input::{Options, parts},
    runtime,
};

const INTERNAL: [&[u8]; 3] = [b"x-fake-ups-wire", b"x-fake-ups-told-length", b"x-fake-ups-told-coding"];

/// Input: options (a status, then letters), header lines, a body, and the lengths of the pieces in which the server
/// writes. The options: `r` reset, `c` close, `t` the body is truncated after three bytes.
///
/// - The client gets the same bytes, whatever the pieces.
/// - No internal header between an answer and its connection reaches the client, whatever the answer's own headers.
/// - An answer without a fault arrives unchanged: its status, each of its other headers, and exactly its body. A reset
///   or a close lets no byte through. A truncated answer has three bytes of its body.
pub fn wire_answer(data: &[u8]) {
    let [options, headers, body, cuts] = parts::<4>(data);
    let Some((response, fault)) = answer(options, headers, body) else { return };
    let _runtime = runtime().enter();
    let (status, own) = (response.status(), response.headers().clone());
    let told = own.contains_key(header::CONTENT_LENGTH) || own.contains_key(header::TRANSFER_ENCODING);
    let mut reply = Reply::from(response);
    reply.wire_fault = fault;
    let answer = reply.into_response();
    let written = as_servers_write(&answer);
    let at_once = sent(&written, &[]);
    let in_pieces = sent(&written, if cuts.is_empty() { b"\x01\x02\x03" } else { cuts });
    assert_eq!(at_once, in_pieces, "the pieces change the answer");
    let head = at_once.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|end| &at_once[..end + 2]);
    if matches!(fault, Some(WireFault::Reset | WireFault::Close)) {
        return assert!(at_once.is_empty(), "{fault:?} lets bytes through");
    }
    let head = head.unwrap_or_else(|| panic!("no head"));
    let lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    assert!(
        !lines.iter().any(|line| INTERNAL.contains(&name_of(line).to_ascii_lowercase().as_slice())),
        "an internal header reaches the client"
    );
    let has_no_body = matches!(status.as_u16(), 100..200 | 204 | 304);
    if has_no_body || told {
        return;
    }
    let sent = &at_once[head.len() + 2..];
    let whole = if fault.is_some() { &body[..body.len().min(3)] } else { body };
    assert_eq!(sent, whole, "the body differs");
    assert!(lines[0].starts_with(format!("HTTP/1.1 {}", status.as_u16()).as_bytes()));
    for (name, value) in &own {
        let has = |line: &&[u8]| {
            let value_of = line.get(name.as_str().len() + 1..).unwrap_or_default();
            name_of(line).eq_ignore_ascii_case(name.as_str().as_bytes())
                && value_of.trim_ascii() == value.as_bytes().trim_ascii()
        };
        assert!(INTERNAL.contains(&name.as_str().as_bytes()) || lines.iter().any(has), "{name} is lost");
    }
}

fn name_of(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn answer(options: &[u8], headers: &[u8], body: &[u8]) -> Option<(Response<Vec<u8>>, Option<WireFault>)> {
    let status = options.get(..3).and_then(|digits| StatusCode::from_bytes(digits).ok())?;
    let mut response = Response::new(body.to_vec());
    *response.status_mut() = status;
    for line in headers.split(|byte| *byte == b'\n').take(16) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()))
        else {
            continue;
        };
        response.headers_mut().append(name, value);
    }
    let letters = Options(&options[3..]);
    let fault = match letters {
        _ if letters.has(b'r') => Some(WireFault::Reset),
        _ if letters.has(b'c') => Some(WireFault::Close),
        // The fault requires a longer body.
        _ if letters.has(b't') && body.len() > 3 => Some(WireFault::Truncate { keep_bytes: 3 }),
        _ => None,
    };
    Some((response, fault))
}

/// An answer as a server writes it after setting its length.
fn as_servers_write(answer: &Response<Vec<u8>>) -> Vec<u8> {
    let mut written =
        format!("HTTP/1.1 {} {}\r\n", answer.status().as_u16(), answer.status().canonical_reason().unwrap_or(""))
            .into_bytes();
    for (name, value) in answer.headers() {
        written.extend_from_slice(name.as_str().as_bytes());
        written.extend_from_slice(b": ");
        written.extend_from_slice(value.as_bytes());
        written.extend_from_slice(b"\r\n");
    }
    if !answer.headers().contains_key(header::CONTENT_LENGTH) {
        written.extend_from_slice(format!("content-length: {}\r\n", answer.body().len()).as_bytes());
    }
    written.extend_from_slice(b"\r\n");
    written.extend_from_slice(answer.body());
    written
}

/// The bytes that the client gets if the server writes `written` in pieces of these lengths.
fn sent(written: &[u8], cuts: &[u8]) -> Vec<u8> {
    let client = Client { received: Rc::default(), at_a_time: if cuts.is_empty() { usize::MAX } else { 7 } };
    let received = Rc::clone(&client.received);
    let mut stream = WireStream::on(client);
    let mut context = Context::from_waker(Waker::noop());
    let mut cuts = cuts.iter().map(|cut| usize::from(*cut).max(1));
    let mut rest = written;
    while !rest.is_empty() {
        let piece = &rest[..cuts.next().unwrap_or(rest.len()).min(rest.len())];
        match Pin::new(&mut stream).poll_write(&mut context, piece) {
            Poll::Ready(Ok(taken)) => rest = &rest[taken..],
            // The fault has closed the connection.
            Poll::Ready(Err(_)) => break,
            Poll::Pending => panic!("an answer without a delay waits"),
        }
    }
    assert!(Pin::new(&mut stream).poll_shutdown(&mut context).is_ready());
    drop(stream);
    received.take()
}

/// Records the received bytes, and accepts at most `at_a_time` bytes per write.
struct Client {
    received: Rc<RefCell<Vec<u8>>>,
    at_a_time: usize,
}

impl WireConnection for Client {
    fn reset_when_dropped(&self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.at_a_time);
        self.received.borrow_mut().extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
