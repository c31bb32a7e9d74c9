//! Background maintenance of persistent data: re-encryption, and deletion of old events.

use std::time::Duration;

use batchsuite_auth::{BatchSuiteAuth, error::chain};
use tokio::time::sleep;

/// Interval between deletions of old events.
const DAY: Duration = Duration::from_secs(86_400);

/// The maintenance to do.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// The name of the primary key, under which stored data is re-encrypted.
    pub primary_key: String,
    /// Retention of events.
    pub events_kept: Duration,
}

impl Upkeep {
    /// Starts the maintenance, which runs as long as the runtime lives.
    pub fn begin(self, auth: &BatchSuiteAuth) {
        tokio::spawn(reencrypt(auth.clone(), self.primary_key));
        tokio::spawn(prune(auth.clone(), self.events_kept));
    }
}

/// Deletes old events at start and then daily.
async fn prune(auth: BatchSuiteAuth, kept: Duration) {
    loop {
        match auth.prune_events(kept).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "old events were deleted"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "old events could not be deleted; tried again tomorrow")
            }
        }
        sleep(DAY).await;
    }
}

/// Re-encrypts the tokens under the primary key. If interrupted, the next start continues.
async fn reencrypt(auth: BatchSuiteAuth, key: String) {
    match auth.reencrypt().await {
        Ok(done) => {
            for company in &done.unreadable {
                tracing::error!(%company, "tokens cannot be read; they are left as they are");
            }
            tracing::info!(
                companies = done.companies,
                unreadable = done.unreadable.len(),
                key,
                "every token that can be read is under the first key"
            );
        }
        Err(error) => tracing::warn!(error = %chain(&error), "tokens may be left under an old key; restart to go on"),
    }
}
