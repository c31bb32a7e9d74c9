//! Waiting for another task or process.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The result of one look: a condition, or a value.
pub trait Look {
    /// The value that is eventually found.
    type Found;

    /// The value, if it is there.
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

/// Looks repeatedly until the condition holds or the value is there.
///
/// # Panics
/// If that takes too long; `what` names the awaited event.
pub async fn eventually<L: Look>(what: &str, mut look: impl AsyncFnMut() -> L) -> L::Found {
    let poll = async {
        loop {
            if let Some(found) = look().await.found() {
                return found;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("this never happened: {what}"))
}
