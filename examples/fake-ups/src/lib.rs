//! The fake UPS on axum: the same function from request to response that [`FakeUps`](batchsuite_auth::fake_ups::FakeUps)
//! serves inside a test, here for as long as one likes. The program `fake-ups` is this and a command line; another
//! program can start the same server inside itself:
//!
//! ```
//! use std::sync::Arc;
//! use batchsuite_auth::fake_ups::FakeUps;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ups = Arc::new(FakeUps::builder().redirect_uri("http://localhost:3000/callback").build()?);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! println!("fake UPS on http://{}", listener.local_addr()?);
//! # let stop = std::future::ready(());
//! fake_ups::serve(listener, ups, stop).await?;
//! # Ok(())
//! # }
//! ```

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use batchsuite_auth::fake_ups::{FakeUpsState, WireStream};
use tokio::{net::TcpListener, sync::oneshot};

/// No request has a longer body; what is longer gets a 413.
pub const LONGEST_BODY: usize = 256 * 1024;

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
    let (stopping, stop) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        let _ = stopping.send(());
    };
    let doorway = Doorway { listener, ups: Arc::clone(&ups) };
    let server = axum::serve(doorway, app(ups)).with_graceful_shutdown(shutdown);
    let mut served = pin!(server.into_future());
    tokio::select! {
        result = &mut served => return result,
        _ = stop => {}
    }
    // What has not ended by then hangs because a fault told it to.
    tokio::time::timeout(DRAIN, served).await.unwrap_or(Ok(()))
}

/// The whole of UPS as an axum application. For faults on the wire its connections have to be [`WireStream`]s.
pub fn app(ups: Arc<FakeUpsState>) -> Router {
    Router::new().fallback(answer).with_state(ups)
}

async fn answer(State(ups): State<Arc<FakeUpsState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let reply = ups.respond(&Request::from_parts(parts, body.into()));
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    reply.into_response().map(Body::from)
}

/// Lets clients in, as [`WireStream`]s.
struct Doorway {
    listener: TcpListener,
    ups: Arc<FakeUpsState>,
}

impl axum::serve::Listener for Doorway {
    type Io = WireStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (WireStream, SocketAddr) {
        loop {
            match WireStream::accept(&self.listener, &self.ups).await {
                Ok(accepted) => return accepted,
                // A client that is gone again, or no more file descriptors: then a pause is what helps.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
