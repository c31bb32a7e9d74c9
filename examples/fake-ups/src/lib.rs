//! The fake UPS on axum: the same function from request to response that
//! [`FakeUps`](https://docs.rs/batchsuite-auth/latest/batchsuite_auth/fake_ups/struct.FakeUps.html) serves inside a test, here for
//! as long as one likes. The program `fake-ups` is this and a command line; another program can start the same server inside itself:
//!
//! ```
//! use std::sync::Arc;
//! use batchsuite_auth::fake_ups::FakeUpsState;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ups = Arc::new(FakeUpsState::builder().redirect_uri("http://localhost:3000/callback").build()?);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! println!("fake UPS on http://{}", listener.local_addr()?);
//! # let stop = std::future::ready(());
//! fake_ups::serve(listener, ups, stop).await?;
//! # Ok(())
//! # }
//! ```

mod tls;

use std::{error::Error as _, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::HeaderValue,
    response::Response,
};
use batchsuite_auth::fake_ups::{FakeUpsState, Reply, WireStream};
use http_body_util::LengthLimitError;
use tokio::{net::TcpListener, sync::oneshot};

use crate::tls::Connection;
pub use crate::tls::{Tls, TlsError};

/// No request has a longer body; what is longer gets a 413.
pub const LONGEST_BODY: usize = FakeUpsState::LONGEST_BODY;

/// How long answers that are under way may take once the server is told to stop.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Serves `ups` on `listener` until `shutdown` is ready; then ends what is under way, within [`DRAIN`].
///
/// # Errors
/// Those of the listener.
///
/// # Cancellation
/// A dropped future takes no more connections; answers that are under way still arrive.
pub async fn serve(
    listener: TcpListener,
    ups: Arc<FakeUpsState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    run(listener, None, ups, shutdown).await
}

/// Like [`serve`], over TLS.
///
/// # Errors
/// Those of the listener.
///
/// # Cancellation
/// Like [`serve`].
pub async fn serve_tls(
    listener: TcpListener,
    tls: Tls,
    ups: Arc<FakeUpsState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    run(listener, Some(tls), ups, shutdown).await
}

async fn run(
    listener: TcpListener,
    tls: Option<Tls>,
    ups: Arc<FakeUpsState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stop) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        let _ = stopping.send(());
    };
    let scheme = tls.as_ref().map(|_| HeaderValue::from_static("https"));
    let app = Router::new().fallback(answer).with_state(Arc::new(Served { ups: Arc::clone(&ups), scheme }));
    let server = axum::serve(Doorway { listener, tls, ups }, app).with_graceful_shutdown(shutdown);
    let mut served = pin!(server.into_future());
    tokio::select! {
        result = &mut served => return result,
        _ = stop => {}
    }
    // What has not ended by then hangs because a fault told it to.
    tokio::time::timeout(DRAIN, served).await.unwrap_or(Ok(()))
}

struct Served {
    ups: Arc<FakeUpsState>,
    /// The scheme of this server's own address, where it is not a proxy that tells.
    scheme: Option<HeaderValue>,
}

async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = match to_bytes(body, LONGEST_BODY).await {
        Ok(body) => body,
        Err(error) => return unread(&error).into_response().map(Body::from),
    };
    if let Some(scheme) = &served.scheme {
        parts.headers.insert("x-forwarded-proto", scheme.clone());
    }
    let reply = served.ups.respond(&Request::from_parts(parts, body.into()));
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    reply.into_response().map(Body::from)
}

/// A body that is too long is one thing; one that breaks off, or whose chunks are none, another.
fn unread(error: &axum::Error) -> Reply {
    if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
        return Reply::too_large();
    }
    Reply::broken_body()
}

/// Lets clients in, as [`WireStream`]s.
struct Doorway {
    listener: TcpListener,
    tls: Option<Tls>,
    ups: Arc<FakeUpsState>,
}

impl axum::serve::Listener for Doorway {
    type Io = WireStream<Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (WireStream<Connection>, SocketAddr) {
        loop {
            match WireStream::accept(&self.listener, &self.ups).await {
                Ok((stream, address)) => return (stream.over(|tcp| Connection::new(tcp, self.tls.as_ref())), address),
                // A client that is gone again, or no more file descriptors: then a pause is what helps.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
