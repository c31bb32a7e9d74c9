//! The keeper: serves the grants that have woken, until the process quiesces.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use super::{
    Engine, ReadRow, Taken, conflict::Conflicts, outage::Outage, rows::Reserved, turn::Slot, upkeep::SAVED_AT_ONCE,
};
use crate::{
    clock::{Stopwatch, Timestamp, remaining},
    error::chain,
    ids::CompanyId,
    machine::{Backoff, CLOCK_TOLERANCE, Chore, GrantEvent, Mode, Obstacle},
    snapshot::Snapshot,
    store::{Row, Saved, StoreError, StoreErrorKind},
};

/// How often a step is tried. Giving up loses nothing: the row wakes again.
const MOST_TRIES: u32 = 8;
/// The keeper takes as many rows as it can send within this time, so that they are still current when they are sent.
const BATCH: Duration = Duration::from_secs(1);
/// The most rows in a batch: their tokens stay in memory until they are sent.
const BATCH_COMPANIES: usize = 100;

/// The most rows in a round while nothing but trials may be sent.
const ROUND_OF_TRIALS: usize = 10;

/// Refreshes used companies, keeps idle opt-ins alive, and warns people in time.
pub(super) async fn keeper(engine: Weak<Engine>) {
    rounds(&engine).await;
    if let Some(engine) = engine.upgrade() {
        engine.rotation.vitals.keeper_ended();
    }
}

async fn rounds(engine: &Weak<Engine>) {
    let mut keeper = Keeper::new();
    while let Some(strong) = unquiet(engine) {
        let (interval, quiet) = (strong.rotation.policy.keeper_interval, strong.tasks.quiet().clone());
        drop(strong);
        let wait = if std::mem::take(&mut keeper.has_more) { Duration::ZERO } else { interval };
        if timeout(wait.max(std::mem::take(&mut keeper.pause)), quiet.cancelled()).await.is_ok() {
            return;
        }
        let Some(strong) = unquiet(engine) else { return };
        strong.rotation.vitals.keeper_lives();
        keeper.has_more = keeper.round(&strong).await;
    }
}

fn unquiet(engine: &Weak<Engine>) -> Option<Arc<Engine>> {
    engine.upgrade().filter(|engine| !engine.tasks.is_quiet())
}

/// The keeper's state between rounds.
struct Keeper {
    /// Whether the store knows the configured client.
    is_announced: bool,
    /// Companies whose use is not recorded yet.
    used: Vec<CompanyId>,
    announcement: Outage,
    uses: Outage,
    wake: Outage,
    /// The shortest pause before the next round.
    pause: Duration,
    /// Whether the last round ended with rows still due.
    has_more: bool,
}

impl Keeper {
    fn new() -> Self {
        Self {
            is_announced: false,
            used: Vec::new(),
            announcement: Outage::during("announcing the client"),
            uses: Outage::during("recording the last use of tokens"),
            wake: Outage::during("reading which companies need attention"),
            pause: Duration::ZERO,
            has_more: false,
        }
    }

    /// Serves woken grants for one interval at most; returns whether more may be due.
    async fn round(&mut self, engine: &Arc<Engine>) -> bool {
        self.announce_client(engine).await;
        self.record_use(engine).await;
        let (began, interval) = (Stopwatch::start(), engine.rotation.policy.keeper_interval);
        // One of them may be sent as a trial. The others stay hidden for a while, so that there must be few.
        let mut trials = engine.rotation.breaker().fault().is_some().then_some(ROUND_OF_TRIALS);
        loop {
            if !engine.background_has_gone(interval.saturating_sub(began.elapsed())).await {
                return false;
            }
            let limit = engine.in_rate(BATCH).min(BATCH_COMPANIES).min(trials.unwrap_or(BATCH_COMPANIES));
            let Some(begun) = self.batch(engine, limit).await else { return false };
            trials = trials.map(|left| left.saturating_sub(begun));
            if trials == Some(0) {
                return false;
            }
            if began.elapsed() >= interval {
                return true;
            }
        }
    }

    async fn announce_client(&mut self, engine: &Arc<Engine>) {
        if self.is_announced {
            return;
        }
        match engine.announce_client().await {
            Ok(()) => {
                self.announcement.over();
                self.is_announced = true;
            }
            Err(error) => self.pause = self.pause.max(self.announcement.failed(&error, engine.keeper_backoff())),
        }
    }

    /// Records which companies were used. After a failure the next round tries again.
    async fn record_use(&mut self, engine: &Engine) {
        self.used.extend(engine.tokens.cache.take_used());
        if self.used.is_empty() {
            return;
        }
        self.used.sort_unstable();
        self.used.dedup();
        let rotation = &engine.rotation;
        match rotation.in_time(rotation.store.record_use(rotation.environment, &self.used)).await {
            Ok(()) => {
                self.used.clear();
                self.uses.over();
            }
            Err(error) if error.kind() == StoreErrorKind::Rejected => {
                let (companies, error) = (self.used.len(), chain(&error));
                tracing::error!(companies, %error, "the store permanently rejects these companies' last use; it is dropped");
                self.used.clear();
            }
            Err(error) => self.pause = self.pause.max(self.uses.failed(&error, engine.keeper_backoff())),
        }
    }

    /// Serves one batch of woken grants; returns the number of refreshes it started. `None`: no grant has woken, the
    /// store failed, or the process quiesces.
    async fn batch(&mut self, engine: &Arc<Engine>, limit: usize) -> Option<usize> {
        let rotation = &engine.rotation;
        let asked = Stopwatch::start();
        let rows = match rotation.in_time(rotation.store.wake(rotation.environment, limit)).await {
            Ok(rows) => rows,
            Err(error) => {
                self.pause = self.pause.max(self.wake.failed(&error, engine.keeper_backoff()));
                return None;
            }
        };
        self.wake.over();
        let now = rows.first().map(|row| row.as_of);
        let overdue = rows.iter().filter_map(|row| Some(remaining(now?, row.wake_at?))).max();
        rotation.vitals.keeper_lags(overdue.unwrap_or_default());
        if rows.is_empty() {
            return None;
        }
        let (mut due, others) = engine.chores(rows, asked);
        due.sort_by_key(|row| engine.background_priority(row));
        let saved =
            stream::iter(others).map(|(row, chore)| engine.do_chore(row, chore)).buffer_unordered(SAVED_AT_ONCE);
        let failed: Vec<_> = saved.collect::<Vec<_>>().await.into_iter().filter_map(Result::err).collect();
        if let Some(error) = failed.first() {
            tracing::warn!(failed = failed.len(), error = %chain(error), "the keeper's steps could not be saved; they will be tried again");
        }
        let mut begun = 0;
        for row in due {
            // Quiesce may come between two companies. The remaining rows are available again once they are no longer
            // hidden.
            if engine.tasks.is_quiet() {
                return None;
            }
            let slot = engine.keepers_turn(&row).await?;
            engine.refresh_reserved(Reserved::new(row), slot);
            begun += 1;
        }
        Some(begun)
    }
}

impl Engine {
    /// Waits until the refresh of a woken row may begin. `None`: the process quiesces.
    async fn keepers_turn(self: &Arc<Self>, row: &ReadRow) -> Option<Slot> {
        let mut turn = pin!(self.wait_for_turn(self.background_priority(row), Mode::Background));
        loop {
            self.rotation.vitals.keeper_lives();
            if let Ok(slot) = timeout(BATCH, turn.as_mut()).await {
                return slot.ok();
            }
        }
    }

    /// Waits until no refresh without a caller waits for its turn: rows that wait must be read again, so none is taken
    /// meanwhile. `false`: some still wait after this time, or the process quiesces.
    async fn background_has_gone(&self, time: Duration) -> bool {
        let limiter = &self.rotation.limiter;
        let gone = async {
            while limiter.has_background() {
                sleep(limiter.pace()).await;
            }
        };
        tokio::select! {
            biased;
            () = self.tasks.quiet().cancelled() => false,
            gone = timeout(time, gone) => gone.is_ok(),
        }
    }

    /// Sorts woken rows into those to refresh and the others with their chores.
    fn chores(&self, rows: Vec<Row>, asked: Stopwatch) -> (Vec<ReadRow>, Vec<(ReadRow, Chore)>) {
        let (mut due, mut others) = (Vec::new(), Vec::new());
        for row in rows.into_iter().filter_map(Snapshot::listed).map(|snapshot| ReadRow::new(snapshot, asked)) {
            match self.chore(&row) {
                Chore::Refresh => due.push(row),
                Chore::Leave => self.waits_for_ups(&row.snapshot.company),
                chore => others.push((row, chore)),
            }
        }
        (due, others)
    }

    pub(super) fn chore(&self, row: &ReadRow) -> Chore {
        let (snapshot, now) = (&row.snapshot, row.now());
        let blocked = || self.rotation.breaker().blocked_until(self.rotation.now()).map(|_| Obstacle::Blocked);
        let obstacle = snapshot.obstacle().or_else(blocked);
        snapshot.grant.chore(snapshot.used_at, obstacle, &self.rotation.settings, self.agrees_with(now), now)
    }

    /// Whether this process's clock agrees with the store's time `now`.
    fn agrees_with(&self, now: Timestamp) -> bool {
        (self.rotation.now() - now).abs().to_std().is_ok_and(|apart| apart <= CLOCK_TOLERANCE)
    }

    /// Does a chore other than a refresh. After a conflict the machine decides again.
    async fn do_chore(&self, row: ReadRow, chore: Chore) -> Result<(), StoreError> {
        let (mut row, mut chore) = (row, chore);
        let mut conflicts = Conflicts::default();
        while !self.saves_chore(&row, chore).await? {
            row = conflicts.read_again(&self.rotation, &row).await?;
            if conflicts.met() >= MOST_TRIES {
                return Ok(());
            }
            chore = self.chore(&row);
        }
        Ok(())
    }

    /// Saves a keeper's step. `false`: a conflict.
    async fn saves_chore(&self, row: &ReadRow, chore: Chore) -> Result<bool, StoreError> {
        let rotation = &self.rotation;
        let event = match chore {
            Chore::Postpone => {
                let saved = rotation.in_time(rotation.postpone(row)).await?;
                return Ok(matches!(saved, Saved::Yes { .. }));
            }
            Chore::Notify(notice) => GrantEvent::Notify(notice),
            Chore::Erase => GrantEvent::Erase,
            Chore::Look => GrantEvent::Look,
            // The row wakes by itself, at the latest when it is no longer hidden.
            Chore::Refresh | Chore::Leave => return Ok(true),
        };
        let taken = rotation.in_time(rotation.take(row, &event, None)).await?;
        if matches!(event, GrantEvent::Notify(_)) && matches!(taken, Taken::Saved(_)) {
            self.tasks.wrote_events();
        }
        Ok(!matches!(taken, Taken::Conflict))
    }

    /// How many refreshes the keeper may start within `time`.
    fn in_rate(&self, time: Duration) -> usize {
        (time.as_secs_f64() * self.rotation.limiter.per_second()).ceil() as usize
    }

    fn keeper_backoff(&self) -> Backoff {
        Backoff::constant(self.rotation.policy.keeper_interval)
    }
}
