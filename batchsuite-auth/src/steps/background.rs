//! What runs beside the callers: the reader of the change feed, and the keeper.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    Core,
    flight::Reserved,
    outage::{Outage, backoff_of_reader},
    persist::no_answer,
};
use crate::{
    clock::Stopwatch,
    error::chain,
    events::EventId,
    ids::CompanyId,
    machine::Backoff,
    store::{DueQuery, StoreErrorKind, WarnExpiring},
};

/// A pause after the feed brought changes: while many companies are refreshed, one read brings the changes of all. A change may
/// arrive that much later, which is little beside the time that a database needs to announce it.
const FEED_REST: Duration = Duration::from_millis(5);
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
    let mut outage = Outage::during("reading the change feed");
    while let Some(core) = alive(&core) {
        drift.look(&core);
        let wait = core.policy.feed_interval;
        let limit = wait + core.policy.store_deadline;
        let store = Arc::clone(&core.store);
        let environment = core.environment;
        let ending = core.ended.clone();
        // Waiting must not keep an authenticator alive that nobody holds any more.
        let weak = Arc::downgrade(&core);
        drop(core);
        let changes = tokio::select! {
            changes = timeout(limit, store.changes(environment, cursor, wait)) => {
                changes.unwrap_or_else(|_| Err(no_answer()))
            }
            () = ending.cancelled() => return,
        };
        let Some(core) = alive(&weak) else { return };
        match changes {
            Ok(changes) => {
                outage.over();
                if cursor.is_none() {
                    // What was read before the first cursor may have changed unheard.
                    core.cache.clear();
                }
                core.cache.feed_told(&changes.changed);
                let moved = cursor != Some(changes.cursor);
                if moved {
                    core.wrote_events();
                }
                cursor = Some(changes.cursor);
                drop(core);
                if moved || !changes.changed.is_empty() {
                    let _ = timeout(FEED_REST, ending.cancelled()).await;
                }
            }
            Err(error) => {
                drop(core);
                let pause = outage.failed(&error, backoff_of_reader(wait));
                let _ = timeout(pause, ending.cancelled()).await;
            }
        }
    }
}

/// Refreshes due companies, keeps idle opt-ins alive, and raises the expiry warnings, until nothing may begin by itself any more.
pub(super) async fn keeper(core: Weak<Core>) {
    let mut keeper = Keeper::new();
    while let Some(strong) = unquiet(&core) {
        let (interval, quiet) = (strong.policy.keeper_interval, strong.quiet.clone());
        drop(strong);
        if timeout(interval.max(std::mem::take(&mut keeper.pause)), quiet.cancelled()).await.is_ok() {
            return;
        }
        let Some(strong) = unquiet(&core) else { return };
        keeper.round(&strong).await;
    }
}

fn alive(core: &Weak<Core>) -> Option<Arc<Core>> {
    core.upgrade().filter(|core| !core.is_ended())
}

fn unquiet(core: &Weak<Core>) -> Option<Arc<Core>> {
    core.upgrade().filter(|core| !core.is_quiet())
}

/// What the keeper remembers from round to round.
struct Keeper {
    /// Companies whose use the store does not know yet.
    used: Vec<CompanyId>,
    uses: Outage,
    warnings: Outage,
    due: Outage,
    /// The least pause before the next round.
    pause: Duration,
}

impl Keeper {
    fn new() -> Self {
        Self {
            used: Vec::new(),
            uses: Outage::during("recording the last use of tokens"),
            warnings: Outage::during("raising expiry warnings"),
            due: Outage::during("reading what is due"),
            pause: Duration::ZERO,
        }
    }

    async fn round(&mut self, core: &Arc<Core>) {
        self.record_use(core).await;
        if core.is_quiet() {
            return;
        }
        self.warn(core).await;
        let mut left = core.in_rate(core.policy.keeper_interval);
        while left > 0 && !core.is_quiet() {
            match self.refresh_batch(core, left.min(core.in_rate(BATCH)).min(BATCH_COMPANIES)).await {
                Some(begun) => left = left.saturating_sub(begun),
                None => return,
            }
        }
    }

    /// Uses that could not be recorded are recorded in the next round.
    async fn record_use(&mut self, core: &Core) {
        self.used.extend(core.cache.take_used());
        if self.used.is_empty() {
            return;
        }
        self.used.sort_unstable();
        self.used.dedup();
        match core.in_time(core.store.record_use(core.environment, &self.used)).await {
            Ok(()) => {
                self.used.clear();
                self.uses.over();
            }
            Err(error) if error.kind() == StoreErrorKind::Rejected => {
                let (companies, error) = (self.used.len(), chain(&error));
                tracing::error!(companies, %error, "the store will never take these companies' last use; it is dropped");
                self.used.clear();
            }
            Err(error) => self.pause = self.pause.max(self.uses.failed(&error, core.keeper_backoff())),
        }
    }

    async fn warn(&mut self, core: &Core) {
        let warn = WarnExpiring {
            environment: core.environment,
            client_id: core.client_id.clone(),
            windows: core.policy.expiry_warnings.clone(),
            limit: WARNINGS,
        };
        match core.in_time(core.store.warn_expiring(warn)).await {
            Ok(raised) => {
                self.warnings.over();
                if raised > 0 {
                    core.wrote_events();
                }
            }
            Err(error) => self.pause = self.pause.max(self.warnings.failed(&error, core.keeper_backoff())),
        }
    }

    /// Begins refreshes of what is due, at most so many and not faster than the keeper may; tells how many. `None`: nothing
    /// is due, or it is no time for it.
    async fn refresh_batch(&mut self, core: &Arc<Core>, limit: usize) -> Option<usize> {
        let due = DueQuery {
            environment: core.environment,
            client_id: core.client_id.clone(),
            used_within: core.policy.used_within,
            keep_alive: core.policy.keep_alive,
            reserve_for: RESERVATION,
            limit,
        };
        let asked = Stopwatch::start();
        let due = match core.in_time(core.store.due(due)).await {
            Ok(due) => due,
            Err(error) => {
                self.pause = self.pause.max(self.due.failed(&error, core.keeper_backoff()));
                return None;
            }
        };
        self.due.over();
        let begun = due.len();
        for snapshot in due {
            // The order to stop may come between two companies. The rest is free again when its reservation ends.
            if core.is_quiet() {
                return None;
            }
            core.refresh_reserved(Reserved::new(snapshot, asked));
            if timeout(Duration::from_secs(1) / core.policy.keeper_rate, core.quiet.cancelled()).await.is_ok() {
                return None;
            }
        }
        (begun > 0).then_some(begun)
    }
}

impl Core {
    /// How many refreshes the keeper may begin within a time.
    fn in_rate(&self, time: Duration) -> usize {
        (time.as_secs_f64() * f64::from(self.policy.keeper_rate)).ceil() as usize
    }

    fn keeper_backoff(&self) -> Backoff {
        Backoff::constant(self.policy.keeper_interval)
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
