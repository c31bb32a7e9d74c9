//! UPS out of reach: told once for all processes, and over for every company at once.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::{Engine, Taken, conflict::Conflicts, upkeep::SAVED_AT_ONCE};
use crate::{
    clock::Timestamp,
    error::chain,
    events::{EventContent, EventKind},
    ids::CompanyId,
    machine::{ClientRecord, GrantEvent},
    store::{Saved, StoreError},
};

impl Engine {
    /// Tells operators that UPS is out of reach, once for all processes.
    pub(super) fn outage_begins(self: &Arc<Self>) {
        let since = self.rotation.breaker().out_of_reach_since().unwrap_or_else(|| self.rotation.now());
        tracing::warn!("UPS is out of reach; single requests are sent as trials");
        self.record_outage(move |record| Some((record.out_of_reach(since)?, EventKind::OutOfReach)));
    }

    /// Tells operators that UPS is in reach again, once for all processes, and ends the pauses that its silence made.
    pub(super) fn outage_ends(self: &Arc<Self>) {
        tracing::info!("UPS answers again");
        self.record_outage(|record| Some((record.in_reach()?, EventKind::InReach)));
        let (engine, companies) = (Arc::clone(self), self.rotation.silenced.take());
        drop(self.tasks.spawn(async move {
            let resumed = stream::iter(companies).map(|company| engine.resume(company)).buffer_unordered(SAVED_AT_ONCE);
            let failed: Vec<_> = resumed.collect::<Vec<_>>().await.into_iter().filter_map(Result::err).collect();
            if let Some(error) = failed.first() {
                tracing::warn!(failed = failed.len(), error = %chain(error), "pauses could not be ended; they run out");
            }
        }));
    }

    /// The client row says that UPS is out of reach since then. If the process that recorded it has ended, this one tells
    /// the end.
    pub(super) fn hears_of_outage(self: &Arc<Self>, since: Timestamp) {
        let has_answered = self.rotation.breaker().hears_of_outage(since, self.rotation.now());
        if has_answered {
            self.outage_ends();
        }
    }

    /// Saves a change of the client row, with its event. It does not delay the refresh that noticed it.
    fn record_outage(
        self: &Arc<Self>,
        change: impl Fn(&ClientRecord) -> Option<(ClientRecord, EventKind)> + Send + Sync + 'static,
    ) {
        let engine = Arc::clone(self);
        drop(self.tasks.spawn(async move {
            let recorded = engine.persist_until_shutdown("an outage at UPS", |_| async {
                loop {
                    let (row, record) = engine.rotation.client_row().await?;
                    let Some((record, kind)) = change(&record) else { return Ok(()) };
                    let events = vec![EventContent::new(kind)];
                    if let Saved::Yes { .. } = engine.rotation.save_client_row(&row, &record, "outage", events).await? {
                        return Ok(());
                    }
                }
            });
            recorded.await;
        }));
    }

    async fn resume(&self, company: CompanyId) -> Result<(), StoreError> {
        let rotation = &self.rotation;
        let (mut row, mut conflicts) = (rotation.read(&company).await?, Conflicts::default());
        while let Taken::Conflict = rotation.in_time(rotation.take(&row, &GrantEvent::Resume, None)).await? {
            row = conflicts.read_again(rotation, &row).await?;
        }
        Ok(())
    }
}
