//! The runtime that drives the connections.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

/// How long a runtime may take to begin a task before it counts as one that nobody drives.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where connections are made and driven: the runtime in which the pool was made, not that of a caller, whose `block_on`
/// may end while the connection goes on. If that runtime ends, or nobody drives it, the next caller's takes its place.
#[derive(Clone, Debug)]
pub(super) struct Home(Arc<Mutex<Option<Handle>>>);

impl Home {
    /// The runtime of this moment, or else that of the first use.
    pub(super) fn here() -> Self {
        Self(Arc::new(Mutex::new(Handle::try_current().ok())))
    }

    /// Runs `work` there, and breaks it off if the caller goes away.
    pub(super) async fn run<T, F>(&self, work: impl Fn() -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        if let Some(done) = done_by(&self.handle(), PATIENCE, work()).await {
            return done;
        }
        let here = Handle::current();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(here.clone());
        tracing::debug!("the runtime that drove the connections to the database is gone; another one does from now on");
        match done_by(&here, Duration::MAX, work()).await {
            Some(done) => done,
            // The runtime is about to end, and this task with it.
            None => std::future::pending().await,
        }
    }

    /// Has `work` done there, by and by, if the runtime goes on.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let home = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = home.as_ref() {
            home.spawn(work);
        }
    }

    fn handle(&self) -> Handle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Handle::current).clone()
    }
}

/// `None`: the runtime has ended, or does not begin.
async fn done_by<T: Send + 'static>(
    runtime: &Handle,
    patience: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (begins, begun) = oneshot::channel();
    let task = runtime.spawn(async move {
        let _ = begins.send(());
        work.await
    });
    let _aborted = Aborted::with(&task);
    timeout(patience, begun).await.ok()?.ok()?;
    match task.await {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Ends a task when it is dropped itself.
#[derive(Debug)]
pub(super) struct Aborted(Option<AbortHandle>);

impl Aborted {
    pub(super) fn with<T>(task: &JoinHandle<T>) -> Self {
        Self(Some(task.abort_handle()))
    }

    /// Lets the task go on by itself.
    pub(super) fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Aborted {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
