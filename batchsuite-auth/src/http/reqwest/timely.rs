use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use crate::clock::Stopwatch;

/// Drops a connection that took longer than `limit` to establish.
///
/// A time-out yields to a result that is ready when it is checked. That is right for an answer, but not for a
/// connection: it may have become ready while the process was stopped, past the lease of the refresh. A token sent over
/// it would collide with the process that took the refresh over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timely {
    pub(super) limit: Duration,
}

impl<S> Layer<S> for Timely {
    type Service = TimelyConnector<S>;

    fn layer(&self, connector: S) -> Self::Service {
        TimelyConnector { connector: Arc::new(connector), limit: self.limit }
    }
}

/// hyper clones its connector several times for each request, even if a kept connection serves it. reqwest's connector
/// is large, so it is cloned for each new connection only.
#[derive(Debug)]
pub(super) struct TimelyConnector<S> {
    connector: Arc<S>,
    limit: Duration,
}

impl<S> Clone for TimelyConnector<S> {
    fn clone(&self) -> Self {
        Self { connector: Arc::clone(&self.connector), limit: self.limit }
    }
}

impl<S, R> Service<R> for TimelyConnector<S>
where
    S: Service<R, Error = Box<dyn StdError + Send + Sync>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (started, limit) = (Stopwatch::start(), self.limit);
        let mut connector = S::clone(&self.connector);
        Box::pin(async move {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            let connection = connector.call(request).await?;
            if started.elapsed() > limit { Err("the connection took too long".into()) } else { Ok(connection) }
        })
    }
}
