//! Waiting for what another task or process is about to do.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// More than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The result of one look: a condition, or what was looked for.
pub trait Look {
    /// What a look brings in the end.
    type Found;

    /// It, if it is there.
    fn found(self) -> Option<Self::Found>;
}

impl Look for bool {
    type Found = ();

    fn found(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Look for Option<T> {
    type Found = T;

    fn found(self) -> Self {
        self
    }
}

/// Looks again and again until the condition holds, or until what is looked for is there.
///
/// # Panics
/// If that takes too long; `what` says what it was.
pub async fn eventually<L: Look>(what: &str, mut look: impl AsyncFnMut() -> L) -> L::Found {
    let poll = async {
        loop {
            if let Some(found) = look().await.found() {
                return found;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("it never came about: {what}"))
}
