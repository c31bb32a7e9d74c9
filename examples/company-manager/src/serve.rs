//! The server: HTTP/1 alone, and no client that may keep it waiting.

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

/// How long a client may take to send the head of a request, and how long an idle connection is kept for the next one.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// After a connection that could not be accepted: there may be no file descriptors left, and then a pause is what helps.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `app` on `listener` until `stop` is ready; then takes no more connections, and ends when the requests under way are
/// answered.
///
/// `axum::serve` would speak HTTP/2 to a client that begins with it, as soon as any crate of the build enables that. This speaks
/// HTTP/1 alone, whatever is enabled elsewhere.
///
/// # Cancellation
/// A dropped future takes no more connections; requests under way go on.
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

/// Answers the requests of one connection, which know whose they are.
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
