//! The change feed: what the log tells, read up to where it is settled.

use std::time::Duration;

use batchsuite_auth::{CompanyId, Environment, events::EventId, store::Changes};
use tokio::time::{Instant, sleep_until};

use super::{
    PostgresStore,
    connection::Parameter,
    failure::Result,
    row::{Columns, signed},
};
use crate::left_out::readable;

/// How long a change waits for a writer before it that has not ended. (A statement takes milliseconds.)
const PATIENCE_WITH_WRITERS: Duration = Duration::from_secs(1);

impl PostgresStore {
    pub(super) async fn read_changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes> {
        let Some(after) = after else {
            return Ok(Changes { changed: Vec::new(), cursor: self.horizon().await?.settled });
        };
        // Subscribed before looking: what is written in between wakes the wait.
        let mut hints = self.0.feed.follow();
        let began = Instant::now();
        let end = began.checked_add(wait);
        loop {
            if !wait.is_zero() {
                sleep_until(self.0.feed.next_look()).await;
            }
            let (settled, ahead) = self.look(environment, after).await?;
            let now = Instant::now();
            let is_over = end.is_some_and(|end| end <= now);
            // Also for an event that announces nothing: a reader of the log reads on then. And for a log that was set back.
            if !settled.changed.is_empty() || settled.cursor != after {
                return Ok(settled);
            }
            // Something changed behind a writer that has not ended. Its readers hear of it all the same; the cursor stays
            // below that writer, so they hear of it again, and not without a pause.
            let pause = began + PATIENCE_WITH_WRITERS;
            if is_over || (!ahead.is_empty() && pause <= now) {
                return Ok(Changes { changed: ahead, ..settled });
            }
            let next_look = now + self.0.feed.look_every();
            let next_look = if ahead.is_empty() { next_look } else { next_look.min(pause) };
            tokio::select! {
                _ = hints.changed() => {}
                () = sleep_until(end.map_or(next_look, |end| end.min(next_look))) => {}
            }
        }
    }

    /// What changed up to where the log is settled, and what changed beyond.
    async fn look(&self, environment: Environment, after: EventId) -> Result<(Changes, Vec<(CompanyId, EventId)>)> {
        let Horizon { latest, settled } = self.horizon().await?;
        let after = Changes::begin(after, latest);
        let parameters: &[Parameter<'_>] = &[&environment.name(), &signed(after.number()), &signed(latest.number())];
        let rows = self.0.rows(&self.0.statements.changes, parameters).await?;
        let change = |row| {
            let mut columns = Columns::of(row);
            Ok((columns.company()?, EventId::new(columns.number()?)))
        };
        let changed = readable("change", rows.iter().map(|row| ("of a company", change(row))));
        let (changed, ahead) = changed.into_iter().partition(|(_, change)| *change <= settled);
        Ok((Changes { changed, cursor: after.max(settled) }, ahead))
    }

    /// How far the log goes, for the *next* statement.
    pub(super) async fn horizon(&self) -> Result<Horizon> {
        let row = self.0.one(&self.0.statements.horizon, &[]).await?;
        let mut columns = Columns::of(&row);
        Ok(Horizon { latest: EventId::new(columns.number()?), settled: EventId::new(columns.number()?) })
    }
}

/// How far the log goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// The latest number that was drawn.
    latest: EventId,
    /// Up to here, everything that will ever be in the log is in it.
    pub(super) settled: EventId,
}
