//! The reader of the change feed.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    Engine, no_answer,
    outage::{Outage, backoff_of_reader},
    vitals::Work,
};
use crate::{clock::Timestamp, events::EventId};

/// The pause after a read, so that the next one brings many companies' changes. Adds at most 5 ms before a change is seen.
const FEED_REST: Duration = Duration::from_millis(5);
/// If the wall clock and the monotonic clock disagree by more than this, the clock was set or the machine slept.
const CLOCK_DRIFT: Duration = Duration::from_secs(2);

/// Follows the change feed, so that no cached token outlives a change for long.
pub(super) async fn feed(engine: Weak<Engine>) {
    let mut cursor: Option<EventId> = None;
    let mut drift = Drift::default();
    let mut outage = Outage::during("reading the change feed");
    while let Some(engine) = alive(&engine) {
        drift.look(&engine);
        let wait = engine.rotation.policy.feed_interval;
        let limit = wait + engine.rotation.policy.store_deadline;
        let store = Arc::clone(&engine.rotation.store);
        let environment = engine.rotation.environment;
        let ending = engine.tasks.ended().clone();
        // The wait must not keep an authenticator alive after its last handle is dropped.
        let weak = Arc::downgrade(&engine);
        drop(engine);
        let changes = tokio::select! {
            biased;
            changes = timeout(limit, store.changes(environment, cursor, wait)) => {
                changes.unwrap_or_else(|_| Err(no_answer()))
            }
            () = ending.cancelled() => return,
        };
        let Some(engine) = alive(&weak) else { return };
        engine.rotation.vitals.store_answered(Work::Read, &changes, || engine.rotation.now());
        match changes {
            Ok(changes) => {
                outage.over();
                if cursor.is_none() {
                    // Rows read before the first cursor may have changed without notice.
                    engine.tokens.cache.outdate();
                }
                engine.tokens.cache.feed_reported(&changes.changed);
                if cursor.is_some_and(|cursor| changes.cursor < cursor) {
                    tracing::error!("the event log is shorter than before: the store was restored or lost commits");
                    engine.tokens.cache.outdate_changes();
                }
                if cursor != Some(changes.cursor) {
                    engine.tasks.wrote_events();
                }
                cursor = Some(changes.cursor);
                drop(engine);
                let _ = timeout(FEED_REST, ending.cancelled()).await;
            }
            Err(error) => {
                drop(engine);
                let pause = outage.failed(&error, backoff_of_reader(wait));
                let _ = timeout(pause, ending.cancelled()).await;
            }
        }
    }
}

fn alive(engine: &Weak<Engine>) -> Option<Arc<Engine>> {
    engine.upgrade().filter(|engine| !engine.tasks.is_ended())
}

/// Detects a clock that was set and a machine that slept. Both make the times in the cache wrong.
#[derive(Debug, Default)]
struct Drift(Option<(Instant, Timestamp)>);

impl Drift {
    fn look(&mut self, engine: &Engine) {
        let now = (Instant::now(), engine.rotation.now());
        if let Some((monotonic, wall)) = self.0.replace(now) {
            let monotonic = now.0 - monotonic;
            let wall = (now.1 - wall).abs().to_std().unwrap_or(Duration::MAX);
            if wall.abs_diff(monotonic) > CLOCK_DRIFT {
                tracing::info!("the clock was set, or the machine slept: cached tokens are read again");
                engine.tokens.cache.outdate();
            }
        }
    }
}
