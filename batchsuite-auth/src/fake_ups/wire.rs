//! Wire behaviour that an HTTP server cannot produce: resets, truncation, single bytes, header names in UPS's case. It
//! also prevents behaviour that UPS's server does not show: HTTP/2, and a server's own empty error pages.
//!
//! [`Reply::into_response`] puts the answer's length and the fault into a header; the connection removes the header and
//! applies the fault. So the same layer serves wiremock and axum. It tracks each answer from its head to the end of its
//! body, so no part of a body is mistaken for a head.
//!
//! [`Reply::into_response`]: super::Reply::into_response

mod fault;
mod head;

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep},
};

pub use self::fault::WireFault;
pub(super) use self::fault::{HEADER, TOLD_CODING, TOLD_LENGTH, header_value};
use self::head::{AnswerHead, end_of_head};
use super::{FakeUpsState, response::front_end};

/// A hanging connection is reset after this time, so that a fake that runs for days does not accumulate them.
pub(super) const LONGEST_HANG: Duration = Duration::from_secs(600);

/// The start of HTTP/2 with prior knowledge (RFC 9113 §3.4).
const HTTP_2: &[u8; 14] = b"PRI * HTTP/2.0";

/// The longest head that a server may write.
const LONGEST_HEAD: usize = 256 * 1024;

/// The connection under a [`WireStream`]: TCP, or TLS over TCP.
pub trait WireConnection: AsyncRead + AsyncWrite + Unpin {
    /// Makes the peer see a reset when this is dropped.
    ///
    /// # Errors
    /// The socket's errors.
    fn reset_when_dropped(&self) -> io::Result<()>;
}

impl WireConnection for TcpStream {
    fn reset_when_dropped(&self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

/// A client's connection, on which the server speaks HTTP/1.1. HTTP/2 is refused here, whatever the server supports.
#[derive(Debug)]
pub struct WireStream<S = TcpStream> {
    connection: S,
    reading: Reading,
    /// The current answer's head, as far as the server has written it.
    head: Vec<u8>,
    /// The remaining length of the answer's body.
    body_left: u64,
    mode: Mode,
    /// Accepted from the server, not yet sent to the client.
    pending: Vec<u8>,
    /// How many bytes of `pending` have been sent.
    sent: usize,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug)]
enum Reading {
    /// The bytes read so far all match the start of HTTP/2.
    Opening {
        held: usize,
    },
    /// Not HTTP/2: the first bytes, and how many of them the server has read.
    Handing {
        bytes: [u8; HTTP_2.len()],
        held: usize,
        handed: usize,
    },
    Open,
    Refused,
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
    /// Ended; the server can only drop it.
    Broken,
}

impl WireStream {
    /// Waits for the next client to serve. Applies the faults of [`Endpoint::Connection`](super::Endpoint) before any
    /// byte of a request is read.
    ///
    /// # Errors
    /// As [`TcpListener::accept`].
    ///
    /// # Cancellation
    /// Cancel-safe: a connection is either returned or was never accepted.
    pub async fn accept(listener: &TcpListener, state: &FakeUpsState) -> io::Result<(Self, SocketAddr)> {
        loop {
            let (tcp, address) = listener.accept().await?;
            match state.connection_fault() {
                None => {
                    // Answers are written in one piece; waiting for more data would only delay them.
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
}

impl<S: WireConnection> WireStream<S> {
    /// Wraps any connection, for tests with arbitrary input. Not part of the public API.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub fn on(connection: S) -> Self {
        Self::new(connection)
    }

    fn new(connection: S) -> Self {
        Self {
            connection,
            reading: Reading::Opening { held: 0 },
            head: Vec::new(),
            body_left: 0,
            mode: Mode::Plain,
            pending: Vec::new(),
            sent: 0,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Replaces the underlying connection, e.g. by TLS on the accepted one. Call it before anything is read.
    pub fn over<T: WireConnection>(self, wrap: impl FnOnce(S) -> T) -> WireStream<T> {
        WireStream::new(wrap(self.connection))
    }

    /// Accepts bytes from the server, up to the end of an answer; returns how many.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        if self.body_left == 0 {
            let before = self.head.len();
            let end = end_of_head(&self.head, bytes);
            self.head.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            taken = self.head.len() - before;
            if end.is_none() {
                return if self.head.len() > LONGEST_HEAD { Err(io::ErrorKind::InvalidData.into()) } else { Ok(taken) };
            }
            let head = AnswerHead::read(&self.head);
            self.head.clear();
            self.begin(head)?;
        }
        let body = &bytes[taken..];
        let body = &body[..body.len().min(usize::try_from(self.body_left).unwrap_or(usize::MAX))];
        self.take_body(body);
        Ok(taken + body.len())
    }

    fn take_body(&mut self, body: &[u8]) {
        self.body_left -= body.len() as u64;
        match &mut self.mode {
            Mode::Hang | Mode::Broken => {}
            Mode::Plain | Mode::Trickle { .. } => self.pending.extend_from_slice(body),
            Mode::Truncate { left } => {
                let kept = body.len().min(*left);
                *left -= kept;
                self.pending.extend_from_slice(&body[..kept]);
            }
        }
    }

    fn begin(&mut self, head: AnswerHead) -> io::Result<()> {
        self.body_left = head.body_length;
        self.mode = Mode::Plain;
        let wait = match head.fault {
            None => Duration::ZERO,
            Some(WireFault::Reset) => return Err(self.reset()),
            Some(WireFault::Close) => return Err(self.close()),
            Some(WireFault::Hang) => {
                self.mode = Mode::Hang;
                LONGEST_HANG
            }
            Some(WireFault::Trickle { pause }) => {
                self.mode = Mode::Trickle { pause };
                pause
            }
            Some(WireFault::Truncate { keep_bytes }) => {
                self.mode = Mode::Truncate { left: keep_bytes };
                Duration::ZERO
            }
        };
        if !wait.is_zero() {
            self.timer.as_mut().reset(deadline(wait));
        }
        if !matches!(self.mode, Mode::Hang) {
            self.pending.extend_from_slice(&head.bytes);
        }
        Ok(())
    }

    /// Makes the client see a reset. The server can only drop the connection afterwards.
    fn reset(&mut self) -> io::Error {
        self.mode = Mode::Broken;
        match self.connection.reset_when_dropped() {
            Ok(()) => io::ErrorKind::ConnectionReset.into(),
            Err(error) => error,
        }
    }

    /// Makes the client see the connection end. The server can only drop it afterwards.
    fn close(&mut self) -> io::Error {
        self.mode = Mode::Broken;
        io::ErrorKind::BrokenPipe.into()
    }

    /// Sends the pending bytes, as slowly as the fault demands.
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
            let written = ready!(Pin::new(&mut self.connection).poll_write(cx, &self.pending[self.sent..end]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            if let Mode::Trickle { pause } = self.mode {
                ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
                self.timer.as_mut().reset(deadline(pause));
            }
        }
        self.pending.clear();
        self.sent = 0;
        if matches!(self.mode, Mode::Truncate { left: 0 }) {
            ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
            return Poll::Ready(Err(self.close()));
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the first bytes until it is clear whether they are HTTP/2.
    fn poll_opening(&mut self, cx: &mut Context<'_>, mut held: usize) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = *HTTP_2;
            let mut more = ReadBuf::new(&mut bytes[held..]);
            ready!(Pin::new(&mut self.connection).poll_read(cx, &mut more))?;
            let read = more.filled().len();
            held += read;
            if read == 0 || !HTTP_2.starts_with(&bytes[..held]) {
                self.reading = Reading::Handing { bytes, held, handed: 0 };
                return Poll::Ready(Ok(()));
            }
            self.reading = Reading::Opening { held };
            if held == HTTP_2.len() {
                self.reading = Reading::Refused;
                self.pending.extend(head::page(&front_end(505)));
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Tells the client that HTTP/2 is not supported; the server sees the end of the connection.
    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
        // Read the rest: closing a connection with unread data resets it and loses the answer.
        let mut scratch = [0; 1024];
        loop {
            let mut rest = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.connection).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

fn deadline(wait: Duration) -> Instant {
    Instant::now() + wait
}

impl<S: WireConnection> AsyncRead for WireStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.reading {
                Reading::Open => return Pin::new(&mut this.connection).poll_read(cx, buf),
                Reading::Opening { held } => ready!(this.poll_opening(cx, held))?,
                Reading::Refused => return this.poll_refused(cx),
                Reading::Handing { bytes, held, handed } => {
                    let piece = &bytes[handed..held.min(handed + buf.remaining())];
                    buf.put_slice(piece);
                    let handed = handed + piece.len();
                    this.reading =
                        if handed == held { Reading::Open } else { Reading::Handing { bytes, held, handed } };
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: WireConnection> AsyncWrite for WireStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_pending(cx))?;
        if let (Mode::Plain, true) = (this.mode, this.body_left > 0) {
            let most = usize::try_from(this.body_left).unwrap_or(usize::MAX).min(buf.len());
            let written = ready!(Pin::new(&mut this.connection).poll_write(cx, &buf[..most]))?;
            this.body_left -= written as u64;
            return Poll::Ready(Ok(written));
        }
        Poll::Ready(this.take(buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A server closes a connection cleanly even after an error; that would hide the reset.
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
