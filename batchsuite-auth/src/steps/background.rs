//! What runs beside the callers: the reader of the change feed, and the keeper.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{Core, flight::Reserved};
use crate::{
    clock::Stopwatch,
    events::EventId,
    store::{DueQuery, WarnExpiring},
};

/// A pause after the feed told of changes: while many companies are refreshed it is read for all of them at once, not for each.
/// So much later may a change be heard, which is little beside what a database needs to tell it.
const FEED_REST: Duration = Duration::from_millis(5);
/// A pause after the feed could not be read.
const FEED_PAUSE: Duration = Duration::from_secs(1);
/// The wall clock and the monotonic one disagree by more than this: one was set, or the machine slept.
const CLOCK_DRIFT: Duration = Duration::from_secs(2);
/// How long a company that the keeper took stays its own.
const RESERVATION: Duration = Duration::from_secs(120);
/// The keeper takes as many as it sends within this, so that what it took is still so when it is sent.
const BATCH: Duration = Duration::from_secs(1);
/// And no more than so many, whose tokens are in memory until they are sent.
const BATCH_COMPANIES: usize = 100;
/// How many warnings are raised at once.
const WARNINGS: usize = 500;

/// Reads the change feed from its cursor, so that no cached token outlives a change for long.
pub(super) async fn feed(core: Weak<Core>) {
    let mut cursor: Option<EventId> = None;
    let mut drift = Drift::default();
    while let Some(core) = alive(&core) {
        drift.look(&core);
        let wait = core.policy.feed_interval;
        let store = Arc::clone(&core.store);
        let environment = core.environment;
        let ending = core.ended.clone();
        // Waiting must not keep an authenticator alive that nobody holds any more.
        let weak = Arc::downgrade(&core);
        drop(core);
        let changes = tokio::select! {
            changes = store.changes(environment, cursor, wait) => changes,
            () = ending.cancelled() => return,
        };
        let Some(core) = alive(&weak) else { return };
        match changes {
            Ok(changes) => {
                if cursor.is_none() {
                    // What was read before the first cursor may have changed unheard.
                    core.cache.clear();
                }
                core.cache.feed_told(&changes.changed);
                if cursor != Some(changes.cursor) {
                    core.news.send_modify(|news| *news = news.wrapping_add(1));
                }
                cursor = Some(changes.cursor);
                drop(core);
                if !changes.changed.is_empty() {
                    let _ = timeout(FEED_REST, ending.cancelled()).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the change feed could not be read");
                drop(core);
                sleep(FEED_PAUSE).await;
            }
        }
    }
}

/// Refreshes what is due, keeps idle opt-ins alive, and raises the expiry warnings.
pub(super) async fn keeper(core: Weak<Core>) {
    while let Some(strong) = alive(&core) {
        let (interval, ending) = (strong.policy.keeper_interval, strong.ended.clone());
        drop(strong);
        if timeout(interval, ending.cancelled()).await.is_ok() {
            return;
        }
        let Some(strong) = alive(&core) else { return };
        strong.keep().await;
    }
}

fn alive(core: &Weak<Core>) -> Option<Arc<Core>> {
    core.upgrade().filter(|core| !core.is_ended())
}

impl Core {
    /// One round of the keeper.
    async fn keep(self: &Arc<Self>) {
        let used = self.cache.take_used();
        if !used.is_empty()
            && let Err(error) = self.store.record_use(self.environment, &used).await
        {
            tracing::warn!(%error, "the last use could not be recorded");
        }
        let warn = WarnExpiring {
            environment: self.environment,
            client_id: self.client_id.clone(),
            windows: self.policy.expiry_warnings.clone(),
            limit: WARNINGS,
        };
        if let Err(error) = self.store.warn_expiring(warn).await {
            tracing::warn!(%error, "expiry warnings could not be raised");
        }
        let mut left = self.in_time(self.policy.keeper_interval);
        while left > 0 {
            match self.refresh_batch(left.min(self.in_time(BATCH)).min(BATCH_COMPANIES)).await {
                Some(begun) => left = left.saturating_sub(begun),
                None => return,
            }
        }
    }

    /// How many refreshes the keeper may begin within a time.
    fn in_time(&self, time: Duration) -> usize {
        (time.as_secs_f64() * f64::from(self.policy.keeper_rate)).ceil() as usize
    }

    /// Begins refreshes of what is due, at most so many and not faster than the keeper may; tells how many. `None`: nothing
    /// is due, or it is no time for it.
    async fn refresh_batch(self: &Arc<Self>, limit: usize) -> Option<usize> {
        let due = DueQuery {
            environment: self.environment,
            client_id: self.client_id.clone(),
            used_within: self.policy.used_within,
            keep_alive: self.policy.keep_alive,
            reserve_for: RESERVATION,
            limit,
        };
        let asked = Stopwatch::start();
        let due = match self.store.due(due).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "the keeper could not read what is due");
                return None;
            }
        };
        let begun = due.len();
        for snapshot in due {
            self.refresh_reserved(Reserved::new(snapshot, asked));
            if timeout(Duration::from_secs(1) / self.policy.keeper_rate, self.ending()).await.is_ok() {
                return None;
            }
        }
        (begun > 0).then_some(begun)
    }
}

/// Notices a clock that was set, and a machine that slept: what is cached is dated wrongly then.
#[derive(Debug, Default)]
struct Drift(Option<(Instant, crate::clock::Timestamp)>);

impl Drift {
    fn look(&mut self, core: &Core) {
        let now = (Instant::now(), core.now());
        if let Some((monotonic, wall)) = self.0.replace(now) {
            let monotonic = now.0 - monotonic;
            let wall = (now.1 - wall).abs().to_std().unwrap_or(Duration::MAX);
            if wall.abs_diff(monotonic) > CLOCK_DRIFT {
                tracing::info!("the clock was set, or the machine slept: cached tokens are read again");
                core.cache.clear();
            }
        }
    }
}
