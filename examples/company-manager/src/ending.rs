//! Stops the program in order and in time.
//!
//! A process is killed some time after the signal to stop: by docker after 10 seconds, by Kubernetes after 30. Cutting
//! off a refresh there costs a company its opt-in. So no background work starts after the signal, and work in progress
//! gets all the remaining time.

use std::time::Duration;

use batchsuite_auth::{BatchSuiteAuth, Shutdown};
use tokio::time::{Instant, timeout_at};

/// The share of the time for requests in progress. The rest is for token pairs: a person can retry, but UPS never sends
/// a token pair again.
const REQUESTS: f64 = 0.4;
/// The time for the process itself to exit: a tenth of the total, at most this.
const EXIT: Duration = Duration::from_millis(500);

/// Stops within `time` of the call, made on the signal to stop. Stops background work, waits for `drained` (the
/// requests in progress), then for refreshes, callbacks and data that the store has not accepted yet.
///
/// # Cancellation
/// Some steps may be done; work in progress continues.
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
