//! The fake UPS on axum: the function from request to response that
//! [`FakeUps`](https://docs.rs/batchsuite-auth/latest/batchsuite_auth/fake_ups/struct.FakeUps.html) serves inside a
//! test, here for any length of time. The program `fake-ups` adds a command line. Another program can start the same
//! server inside itself:
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

/// The longest request body in bytes; a longer one gets a 413.
pub const LONGEST_BODY: usize = FakeUpsState::LONGEST_BODY;

/// How long answers in progress may take once the server is told to stop.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Serves `ups` on `listener` until `shutdown` completes, then finishes the requests in progress within [`DRAIN`].
///
/// # Errors
/// The listener's errors.
///
/// # Cancellation
/// Dropping the future stops accepting connections; answers in progress still arrive.
pub async fn serve(
    listener: TcpListener,
    ups: Arc<FakeUpsState>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    run(listener, None, ups, shutdown).await
}

/// [`serve`] over TLS.
///
/// # Errors
/// The listener's errors.
///
/// # Cancellation
/// As [`serve`].
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
    // A request still unfinished hangs because of a fault.
    tokio::time::timeout(DRAIN, served).await.unwrap_or(Ok(()))
}

struct Served {
    ups: Arc<FakeUpsState>,
    /// The scheme of this server's own address, unless a proxy names it.
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

/// Distinguishes a body that is too long from one that is truncated or has malformed chunks.
fn unread(error: &axum::Error) -> Reply {
    if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
        return Reply::too_large();
    }
    Reply::broken_body()
}

/// Accepts clients as [`WireStream`]s.
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
                // The client is gone, or file descriptors ran out: a pause helps.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
