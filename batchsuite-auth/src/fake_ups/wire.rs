//! What an HTTP server cannot do on the wire: resets, truncation, one byte at a time.
//!
//! A server puts the fault into the first header of its answer ([`Reply::into_response`]); the connection takes it off
//! again and does it. So the same layer stands in front of wiremock and of axum, and the answers of each pass through
//! untouched but for that one line.
//!
//! [`Reply::into_response`]: super::Reply::into_response

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep},
};

use super::{FakeUpsState, respond::WireFault};

/// The header; no client ever sees it.
pub(super) const HEADER: &str = "x-fake-ups-wire";

/// A connection that hangs is reset after this time, so that a fake that runs for days does not collect them.
pub(super) const LONGEST_HANG: Duration = Duration::from_secs(600);

/// The connection of a client, for the server to speak HTTP/1.1 on.
#[derive(Debug)]
pub struct WireStream {
    tcp: TcpStream,
    mode: Mode,
    /// Taken from the server, not yet given to the client.
    pending: Vec<u8>,
    /// So many bytes of `pending` the client has.
    sent: usize,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Plain,
    Trickle {
        pause: Duration,
    },
    Truncate {
        left: usize,
    },
    Hang,
    /// Over; what is left is that the server drops it.
    Broken,
}

impl WireStream {
    /// Waits for the next client whose connection is to be served. Faults of [`Endpoint::Connection`](super::Endpoint) are
    /// done here, before a byte of the request is read.
    ///
    /// # Errors
    /// Those of [`TcpListener::accept`].
    ///
    /// # Cancellation
    /// Safe: a connection is either returned or was never taken.
    pub async fn accept(listener: &TcpListener, state: &FakeUpsState) -> io::Result<(Self, SocketAddr)> {
        loop {
            let (tcp, address) = listener.accept().await?;
            match state.connection_fault() {
                None => {
                    // Answers are written in one piece; waiting for more of it would only slow them down.
                    tcp.set_nodelay(true)?;
                    return Ok((Self::new(tcp), address));
                }
                Some(WireFault::Reset) => tcp.set_zero_linger()?,
                Some(WireFault::Hang) => {
                    tokio::spawn(async move {
                        tokio::time::sleep(LONGEST_HANG).await;
                        drop(tcp);
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn new(tcp: TcpStream) -> Self {
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { tcp, mode: Mode::Plain, pending: Vec::new(), sent: 0, timer }
    }

    /// Takes a piece of the server's output where a fault is under way.
    fn take(&mut self, bytes: &[u8]) {
        match &mut self.mode {
            Mode::Plain | Mode::Hang | Mode::Broken => {}
            Mode::Trickle { .. } => self.pending.extend_from_slice(bytes),
            Mode::Truncate { left } => {
                let kept = bytes.len().min(*left);
                *left -= kept;
                self.pending.extend_from_slice(&bytes[..kept]);
            }
        }
    }

    fn begin(&mut self, fault: WireFault, answer: &Answer<'_>) -> io::Result<()> {
        let wait = match fault {
            WireFault::Reset => return Err(self.reset()),
            WireFault::Close => return Err(self.close()),
            WireFault::Hang => {
                self.mode = Mode::Hang;
                LONGEST_HANG
            }
            WireFault::Trickle { pause } => {
                self.mode = Mode::Trickle { pause };
                pause
            }
            WireFault::Truncate { keep_bytes } => {
                self.mode = Mode::Truncate { left: answer.head_length() + keep_bytes };
                Duration::ZERO
            }
        };
        self.timer.as_mut().reset(deadline(wait));
        self.take(answer.status_line);
        self.take(answer.rest);
        Ok(())
    }

    /// From here on the server can only drop the connection, and the client sees a reset.
    fn reset(&mut self) -> io::Error {
        self.mode = Mode::Broken;
        match self.tcp.set_zero_linger() {
            Ok(()) => io::ErrorKind::ConnectionReset.into(),
            Err(error) => error,
        }
    }

    /// From here on the server can only drop the connection, and the client sees it end.
    fn close(&mut self) -> io::Error {
        self.mode = Mode::Broken;
        io::ErrorKind::BrokenPipe.into()
    }

    /// Gives the client what is pending, as slowly as the fault says.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.mode, Mode::Hang) {
            ready!(self.timer.as_mut().poll(cx));
            return Poll::Ready(Err(self.reset()));
        }
        if matches!(self.mode, Mode::Broken) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while self.sent < self.pending.len() {
            let end = match self.mode {
                Mode::Trickle { .. } => {
                    ready!(self.timer.as_mut().poll(cx));
                    self.sent + 1
                }
                _ => self.pending.len(),
            };
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.pending[self.sent..end]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            if let Mode::Trickle { pause } = self.mode {
                self.timer.as_mut().reset(deadline(pause));
            }
        }
        self.pending.clear();
        self.sent = 0;
        if matches!(self.mode, Mode::Truncate { left: 0 }) {
            return Poll::Ready(Err(self.close()));
        }
        Poll::Ready(Ok(()))
    }
}

fn deadline(wait: Duration) -> Instant {
    Instant::now() + wait
}

impl AsyncRead for WireStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !matches!(this.mode, Mode::Plain) {
            ready!(this.poll_pending(cx))?;
            if buf.starts_with(PROTOCOL) {
                this.mode = Mode::Plain;
            }
        }
        if let Mode::Plain = this.mode {
            match Answer::with_fault(buf) {
                None => return Pin::new(&mut this.tcp).poll_write(cx, buf),
                Some((fault, answer)) => this.begin(fault, &answer)?,
            }
        } else {
            this.take(buf);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A server ends a connection in order even after an error; a reset would then look like an end.
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// How an answer begins, whichever of the two versions the client speaks.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// The beginning of an answer, without the line that tells the fault.
struct Answer<'a> {
    status_line: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    /// What `bytes` say if they begin an answer that tells a fault. Servers write the head of an answer in one piece.
    fn with_fault(bytes: &'a [u8]) -> Option<(WireFault, Self)> {
        if !bytes.starts_with(PROTOCOL) {
            return None;
        }
        let (status_line, after) = split_line(bytes)?;
        let value = after.strip_prefix(HEADER.as_bytes())?.strip_prefix(b": ")?;
        let (value, rest) = split_line(value)?;
        let fault = parse(std::str::from_utf8(value.trim_ascii_end()).ok()?)?;
        Some((fault, Self { status_line, rest }))
    }

    fn head_length(&self) -> usize {
        let end = self.rest.windows(4).position(|window| window == b"\r\n\r\n").map_or(self.rest.len(), |at| at + 4);
        self.status_line.len() + end
    }
}

/// The first line, its end included, and what follows.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    Some(bytes.split_at(end))
}

pub(super) fn header_value(fault: WireFault) -> HeaderValue {
    let value = match fault {
        WireFault::Reset => "reset".to_owned(),
        WireFault::Close => "close".to_owned(),
        WireFault::Hang => "hang".to_owned(),
        WireFault::Truncate { keep_bytes } => format!("truncate {keep_bytes}"),
        WireFault::Trickle { pause } => format!("trickle {}", pause.as_millis()),
    };
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("reset"))
}

fn parse(value: &str) -> Option<WireFault> {
    Some(match value.split_once(' ') {
        None if value == "reset" => WireFault::Reset,
        None if value == "close" => WireFault::Close,
        None if value == "hang" => WireFault::Hang,
        Some(("truncate", bytes)) => WireFault::Truncate { keep_bytes: bytes.parse().ok()? },
        Some(("trickle", pause)) => WireFault::Trickle { pause: Duration::from_millis(pause.parse().ok()?) },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_every_fault_and_is_taken_off() {
        for fault in [
            WireFault::Reset,
            WireFault::Close,
            WireFault::Hang,
            WireFault::Truncate { keep_bytes: 12 },
            WireFault::Trickle { pause: Duration::from_millis(3) },
        ] {
            let value = header_value(fault);
            for version in ["1.0", "1.1"] {
                let status = format!("HTTP/{version} 200 OK\r\n");
                let bytes = format!("{status}{HEADER}: {}\r\na: b\r\n\r\nbody", value.to_str().unwrap());

                let (told, answer) = Answer::with_fault(bytes.as_bytes()).unwrap();

                assert_eq!(told, fault);
                let head = format!("{status}a: b\r\n\r\n");
                assert_eq!([answer.status_line, answer.rest].concat(), format!("{head}body").into_bytes());
                assert_eq!(answer.head_length(), head.len());
            }
        }
    }

    #[test]
    fn an_answer_without_a_fault_passes_untouched() {
        for bytes in ["HTTP/1.1 200 OK\r\na: b\r\n\r\n", "HTTP/1.1 200 OK\r\n", "", "x-fake-ups-wire: reset\r\n"] {
            assert!(Answer::with_fault(bytes.as_bytes()).is_none(), "{bytes}");
        }
    }
}
