//! HTTP/1 alone, whatever else the server could do.
//!
//! `axum::serve` answers HTTP/2 as soon as any crate of the build switches that on for hyper: features add up, and those of a
//! test's dependency reach the program. What stands behind a proxy then sees requests that no limit or test here had in mind.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    extract::{
        ConnectInfo, Request,
        connect_info::{Connected, IntoMakeServiceWithConnectInfo},
    },
    middleware::map_request,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// How HTTP/2 begins without TLS (RFC 9113 section 3.4).
const HTTP_2: &[u8] = b"PRI * HTTP/2.0";

/// A listener whose connections end when they begin as HTTP/2 does.
#[derive(Debug)]
pub struct Http1(pub TcpListener);

/// Makes `app` the service of an [`Http1`] listener, with the client's address as connect info.
pub fn service(app: Router) -> IntoMakeServiceWithConnectInfo<Router, Peer> {
    let told = |ConnectInfo(Peer(address)): ConnectInfo<Peer>, mut request: Request| async move {
        request.extensions_mut().insert(ConnectInfo(address));
        request
    };
    app.layer(map_request(told)).into_make_service_with_connect_info()
}

/// The client's address.
#[derive(Clone, Copy, Debug)]
pub struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Http1>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Http1>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Listener for Http1 {
    type Io = Http1Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Http1Stream, SocketAddr) {
        let (tcp, address) = Listener::accept(&mut self.0).await;
        (Http1Stream { tcp, like_http_2: Some(0) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection of an [`Http1`] listener.
#[derive(Debug)]
pub struct Http1Stream {
    tcp: TcpStream,
    /// So many bytes were read, all as HTTP/2 begins; nothing once one was different.
    like_http_2: Option<usize>,
}

impl AsyncRead for Http1Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        if let Some(read) = self.like_http_2 {
            let bytes = &buf.filled()[before..];
            let compared = bytes.len().min(HTTP_2.len() - read);
            let is_like = bytes[..compared] == HTTP_2[read..read + compared];
            self.like_http_2 = is_like.then_some(read + compared);
            if self.like_http_2 == Some(HTTP_2.len()) {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, "HTTP/2 is not spoken here")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http1Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
