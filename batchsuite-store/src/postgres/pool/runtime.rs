//! The runtime that drives the connections.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// If a runtime does not start a task within this time, nothing drives it.
const BEGIN_WITHIN: Duration = Duration::from_secs(1);

/// Where connections are made and driven: the runtime in which the pool was built, not the caller's, whose `block_on`
/// may end while the connection continues. If that runtime has ended or nothing drives it, the next caller's runtime
/// replaces it.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct ConnectionRuntime(Arc<Mutex<Option<Handle>>>);

impl ConnectionRuntime {
    /// The current runtime; outside a runtime, that of the first use.
    pub(in crate::postgres) fn here() -> Self {
        Self(Arc::new(Mutex::new(Handle::try_current().ok())))
    }

    /// Runs `work` there, and aborts it if the caller is dropped.
    pub(in crate::postgres) async fn run<T, F>(&self, work: impl Fn() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        if let Some(done) = done_by(&self.handle(), BEGIN_WITHIN, work()).await {
            return done;
        }
        let here = Handle::current();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(here.clone());
        tracing::debug!("the runtime that drove the connections to the database is gone; another one does from now on");
        match done_by(&here, Duration::MAX, work()).await {
            Some(done) => done,
            // The runtime is shutting down, and this task with it.
            None => std::future::pending().await,
        }
    }

    /// Spawns `work` there, detached.
    pub(in crate::postgres) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.as_ref() {
            runtime.spawn(work);
        }
    }

    fn handle(&self) -> Handle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Handle::current).clone()
    }
}

/// `None`: the runtime has ended or does not start the task.
async fn done_by<T: Send + 'static>(
    runtime: &Handle,
    begin_within: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (begins, begun) = oneshot::channel();
    let task = AbortOnDropHandle::new(runtime.spawn(async move {
        let _ = begins.send(());
        work.await
    }));
    timeout(begin_within, begun).await.ok()?.ok()?;
    match task.await {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}
