use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Throws a connection away that took longer than `limit` to make.
///
/// A time-out gives way to a result that is there when it is asked. For an answer that is wanted, but a connection may
/// have become ready while the process stood still, past the lease of the refresh: a token sent over it would be sent
/// behind the back of whoever took the refresh over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timely {
    pub(super) limit: Duration,
}

impl<S> Layer<S> for Timely {
    type Service = TimelyConnector<S>;

    fn layer(&self, connector: S) -> Self::Service {
        TimelyConnector { connector, limit: self.limit }
    }
}

#[derive(Clone, Debug)]
pub(super) struct TimelyConnector<S> {
    connector: S,
    limit: Duration,
}

impl<S, R> Service<R> for TimelyConnector<S>
where
    S: Service<R, Error = Box<dyn StdError + Send + Sync>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (started, limit) = (Instant::now(), self.limit);
        let connecting = self.connector.call(request);
        Box::pin(async move {
            let connection = connecting.await?;
            if started.elapsed() > limit { Err("the connection came too late".into()) } else { Ok(connection) }
        })
    }
}
