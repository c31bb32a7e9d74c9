//! A place where something waits until the test lets it go on.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

/// A place where one call waits until the test lets it go on.
#[derive(Clone, Debug)]
pub struct Hold(Arc<(Semaphore, Semaphore)>);

impl Default for Hold {
    fn default() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }
}

impl Hold {
    /// Waits until the call is there.
    pub async fn reached(&self) {
        timeout(Duration::from_secs(300), self.0.0.acquire())
            .await
            .expect("the call never came")
            .expect("it stays open")
            .forget();
    }

    /// Lets the call go on.
    pub fn release(&self) {
        self.0.1.add_permits(1);
    }

    /// The call is there: it waits until it is let go on.
    pub async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("it stays open").forget();
    }
}
