//! The end of the program, in order and in time.
//!
//! A process that is ordered to stop is killed a while later: by docker after 10 seconds, by Kubernetes after 30. A refresh that is cut
//! off there costs a company its opt-in, so nothing may begin by itself after the order, and the work under way gets all the time
//! that is left.

use std::time::Duration;

use batchsuite_auth::{BatchSuiteAuth, Shutdown};
use tokio::time::{Instant, timeout_at};

/// The share of the time for requests that are under way. The rest is for token pairs: a person tries again, a token pair does not come
/// twice.
const REQUESTS: f64 = 0.4;
/// The time for the process itself to end: a tenth of all, and at most this.
const EXIT: Duration = Duration::from_millis(500);

/// Ends within `time` of the call, which is the order to stop: lets nothing begin by itself, waits for `drained`, the requests
/// that are under way, and then for refreshes and callbacks, and for what the store has not taken yet.
///
/// # Cancellation
/// Some of it may be done; what is under way goes on.
pub async fn end(auth: &BatchSuiteAuth, drained: impl Future, time: Duration) -> Shutdown {
    let began = Instant::now();
    auth.quiesce();
    tracing::info!("ending: nothing begins by itself any more; requests that are under way are finished first");
    if timeout_at(began + time.mul_f64(REQUESTS), drained).await.is_err() {
        tracing::warn!("some requests took too long and were left");
    }
    let left = time.saturating_sub(EXIT.min(time.mul_f64(0.1))).saturating_sub(began.elapsed());
    let shutdown = auth.shutdown_within(left).await;
    if let Shutdown::Incomplete { under_way, pairs, .. } = shutdown {
        tracing::error!(under_way, pairs, "not everything came home in time; a longer STOP_TIMEOUT gives it more");
    } else {
        tracing::info!("ended: nothing is under way, and everything is stored");
    }
    shutdown
}
