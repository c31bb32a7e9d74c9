//! The server: HTTP/1 only, with time limits for slow clients.

use std::{future::Future, net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, extract::ConnectInfo};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;
use tower_service::Service;

/// Maximum time for a client to send a request's head, and for an idle connection to be kept.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Pause after a failed accept, which may be due to a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `app` on `listener` until `stop` is ready; then accepts no more connections, and returns when the requests in
/// progress are answered.
///
/// `axum::serve` speaks HTTP/2 to clients that start with it, as soon as any crate in the build enables that. This
/// function speaks HTTP/1 only, whatever is enabled elsewhere.
///
/// # Cancellation
/// Dropping the future stops accepting connections; requests in progress continue.
pub async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()> + Send) {
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .serve_connection(TokioIo::new(stream), service_fn(answers(app.clone(), peer)));
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Answers one connection's requests, each with the client's address as its `ConnectInfo`.
fn answers(
    app: Router,
    peer: SocketAddr,
) -> impl Fn(Request<Incoming>) -> <Router as Service<Request<Incoming>>>::Future {
    move |mut request| {
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready.
        app.clone().call(request)
    }
}
