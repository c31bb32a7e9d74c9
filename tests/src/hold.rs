//! A place where a call waits until the test releases it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

/// A place where one call waits until the test releases it.
#[derive(Clone, Debug)]
pub struct Hold(Arc<(Semaphore, Semaphore)>);

impl Default for Hold {
    fn default() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }
}

impl Hold {
    /// Waits until the call has arrived.
    pub async fn reached(&self) {
        timeout(Duration::from_secs(300), self.0.0.acquire())
            .await
            .expect("the call never came")
            .expect("the semaphore stays open")
            .forget();
    }

    /// Lets the call continue.
    pub fn release(&self) {
        self.0.1.add_permits(1);
    }

    /// Called by the held call: waits until it is released.
    pub async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("the semaphore stays open").forget();
    }
}
