//! The change feed: the log's changes, read up to its settled point.

use std::time::Duration;

use batchsuite_auth::{CompanyId, Environment, events::EventId, store::Changes};
use tokio::time::{Instant, sleep_until, timeout};

use super::{PostgresStore, connection::Parameter, failure::Result, row::Columns};
use crate::{columns::signed, left_out::readable};

/// How long a change waits for an earlier writer that has not finished. (A statement takes milliseconds.)
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
        // Subscribe before reading, so that a write in between ends the wait.
        let mut hints = self.0.feed.follow();
        let began = Instant::now();
        let end = began.checked_add(wait);
        loop {
            sleep_until(self.0.feed.next_look()).await;
            let (settled, ahead) = self.look(environment, after).await?;
            let now = Instant::now();
            let is_over = end.is_some_and(|end| end <= now);
            // Also return for an event that announces nothing, so that a reader of the log continues, and for a log
            // that was set back.
            if !settled.changed.is_empty() || settled.cursor != after {
                return Ok(settled);
            }
            // A change was committed after a writer that has not finished. Report the change, but keep the cursor below
            // that writer. The change will be reported again, so wait before reporting it.
            let pause = began + PATIENCE_WITH_WRITERS;
            if is_over || (!ahead.is_empty() && pause <= now) {
                return Ok(Changes { changed: ahead, ..settled });
            }
            let mut rest = self.0.feed.look_every();
            if !ahead.is_empty() {
                rest = rest.min(pause.saturating_duration_since(now));
            }
            if let Some(end) = end {
                rest = rest.min(end.saturating_duration_since(now));
            }
            let _ = timeout(rest, hints.changed()).await;
        }
    }

    /// The changes up to the settled point of the log, and the changes beyond it.
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

    /// The extent of the log, for use by the *next* statement.
    pub(super) async fn horizon(&self) -> Result<Horizon> {
        let row = self.0.one(&self.0.statements.horizon, &[]).await?;
        let mut columns = Columns::of(&row);
        Ok(Horizon { latest: EventId::new(columns.number()?), settled: EventId::new(columns.number()?) })
    }
}

/// The extent of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// The latest number drawn.
    latest: EventId,
    /// Every event that will ever have a number up to this one is in the log.
    pub(super) settled: EventId,
}
