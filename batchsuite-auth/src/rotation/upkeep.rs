//! Work on all companies, page by page (lists, marks after a restored backup, re-encryption), and on the client row.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Engine, ReadRow, Rotation, Taken};
use crate::{
    clock::{Stopwatch, Timestamp},
    config::Environment,
    error::chain,
    events::{EventContent, EventKind, Evidence},
    ids::CompanyId,
    machine::{Announcement, ClientRecord, DAMAGED_LISTED_AS, GrantEvent, Restore, Wake},
    snapshot::Snapshot,
    status::{CompanyStatus, ListedAs, StatusFilter},
    store::{
        Document, ListQuery, MOST_LISTED, Page, Prune, Row, RowKey, Saved, Store, StoreError, StoreErrorKind,
        StoredTokens, Swap, TokenChange,
    },
    telemetry,
};

/// The most store calls for one page of a list, beyond those that a full page needs: while many rows wait for a keeper,
/// rows of every listed status must be checked.
const MOST_CALLS: usize = 20;
/// How many rows are read at once; their steps are saved before the next ones.
const PAGE: usize = 200;
/// How many steps are saved concurrently.
pub(super) const SAVED_AT_ONCE: usize = 8;
/// How many events are deleted at once.
const PRUNED_AT_ONCE: usize = 5000;

/// The result of a re-encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reencrypted {
    /// How many companies' tokens were sealed again, with the newest key.
    pub companies: u64,
    /// The companies whose tokens cannot be read because a key is missing or the data is damaged. They are unchanged.
    pub unreadable: Vec<CompanyId>,
}

/// What a store holds about all companies of a client; see
/// [`client_state`](crate::BatchSuiteAuth::client_state).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientState {
    /// The client id that a service announced last; `None`: none has.
    pub client_id: Option<String>,
    /// The time of an [`after_restore`](crate::BatchSuiteAuth::after_restore) that is under way, or was interrupted and
    /// has to be repeated.
    pub unfinished_restore: Option<Timestamp>,
    /// Since when UPS is out of reach, as the first process noticed it.
    pub out_of_reach_since: Option<Timestamp>,
}

impl Engine {
    /// Companies with this status, by id. Without `next` the list is complete; with `next` the page is full, or ended
    /// after many rows.
    pub(crate) async fn list(
        &self,
        filter: Option<StatusFilter>,
        after: Option<CompanyId>,
        limit: usize,
    ) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        // One more is read than a page holds. A page that holds none would pass a company unseen.
        let limit = limit.clamp(1, usize::MAX - 1);
        let listed_as = self.rotation.narrowed(filter).await?;
        let (mut items, mut after, mut calls) = (Vec::new(), after, 0);
        // One more than `limit`, to learn whether there are more.
        while items.len() <= limit && calls < MOST_CALLS + limit / MOST_LISTED {
            let query = ListQuery {
                environment: self.rotation.environment,
                listed_as: listed_as.clone(),
                after,
                // If the first call was not enough, matching rows are rare.
                limit: if calls > 0 && filter.is_some() { MOST_LISTED } else { limit + 1 },
            };
            calls += 1;
            let page = self.rotation.store.list(query).await?;
            let listed = page.items.into_iter().filter_map(Snapshot::listed);
            let statuses = listed.map(|snapshot| snapshot.status(&self.rotation.settings));
            items.extend(statuses.filter(|company| filter.is_none_or(|filter| filter.accepts(&company.status))));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let has_more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| has_more).map(|company| company.company.clone());
        Ok(Page { items, next: last.or(after) })
    }

    /// Announces the configured client id; if it has changed, one process writes an event for all.
    pub(super) async fn announce_client(self: &Arc<Self>) -> Result<(), StoreError> {
        let rotation = &self.rotation;
        loop {
            let (row, record) = rotation.client_row().await?;
            if let Some(since) = record.out_of_reach_since {
                self.hears_of_outage(since);
            }
            let (record, events) = match record.announce(&rotation.settings.client_id, row.as_of) {
                Announcement::Known => return Ok(()),
                Announcement::First(record) => (record, Vec::new()),
                Announcement::Changed(record) => {
                    let words = "the configured client id is not the one that the opt-ins belong to";
                    let event = EventContent::new(EventKind::ClientChanged).with_evidence(Evidence::message(words));
                    (record, vec![event.with_cause(crate::machine::CauseKind::ClientChanged)])
                }
            };
            let has_events = !events.is_empty();
            if let Saved::Yes { .. } = rotation.save_client_row(&row, &record, "announce", events).await? {
                if has_events {
                    self.tasks.wrote_events();
                }
                return Ok(());
            }
        }
    }

    /// Marks every opt-in whose pair was obtained before now, because its refresh token may be spent; returns how many.
    /// If it was interrupted, calling it again continues with the same time.
    pub(crate) async fn after_restore(&self) -> Result<u64, StoreError> {
        let at = self.begin_restore().await?;
        let mut marked = 0;
        let mut after = None;
        loop {
            let (rows, next) = self.rotation.page(after).await?;
            let marks = stream::iter(rows).map(|row| self.rotation.mark(row, at)).buffer_unordered(SAVED_AT_ONCE);
            marked += marks.try_fold(0, async |sum, is_marked| Ok(sum + u64::from(is_marked))).await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.end_restore(at).await?;
        self.tokens.cache.outdate();
        Ok(marked)
    }

    async fn begin_restore(&self) -> Result<Timestamp, StoreError> {
        loop {
            let (row, record) = self.rotation.client_row().await?;
            let (at, record) = match record.begin_restore(row.as_of) {
                Restore::GoesOn { at } => return Ok(at),
                Restore::Begins { at, record } => (at, record),
            };
            let events = vec![EventContent::new(EventKind::Restored)];
            if let Saved::Yes { .. } = self.rotation.save_client_row(&row, &record, "restore", events).await? {
                self.tasks.wrote_events();
                return Ok(at);
            }
        }
    }

    async fn end_restore(&self, at: Timestamp) -> Result<(), StoreError> {
        loop {
            let (row, record) = self.rotation.client_row().await?;
            let Some(record) = record.end_restore(at) else { return Ok(()) };
            if let Saved::Yes { .. } = self.rotation.save_client_row(&row, &record, "restore", Vec::new()).await? {
                return Ok(());
            }
        }
    }

    /// Deletes old events in batches; returns how many. `undelivered`: also those that a delivery has not passed yet.
    pub(crate) async fn prune_events(&self, older_than: Duration, undelivered: bool) -> Result<u64, StoreError> {
        let (rotation, mut events) = (&self.rotation, 0);
        let environment = rotation.environment;
        let prune = Prune { environment, older_than, limit: PRUNED_AT_ONCE, undelivered };
        loop {
            let pruned = rotation.in_time(rotation.store.prune(prune)).await?;
            events += pruned.events;
            if pruned.events < PRUNED_AT_ONCE as u64 {
                return Ok(events);
            }
        }
    }

    /// Seals tokens again that were sealed with an older key.
    pub(crate) async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        let mut done = Reencrypted::default();
        let mut after = None;
        loop {
            let (rows, next) = self.rotation.page(after).await?;
            let is_older = |row: &ReadRow| matches!(row.snapshot.tokens, StoredTokens::Sealed { with_older_key: true });
            let older = rows.into_iter().filter(is_older).map(|row| row.snapshot.company);
            let sealed =
                stream::iter(older).map(|company| self.rotation.seal_anew(company)).buffer_unordered(SAVED_AT_ONCE);
            for (company, sealed) in sealed.try_collect::<Vec<_>>().await? {
                match sealed {
                    Sealed::Anew => done.companies += 1,
                    Sealed::Unreadable => done.unreadable.push(company),
                    Sealed::Already => {}
                }
            }
            after = next;
            if after.is_none() {
                return Ok(done);
            }
        }
    }
}

/// The result for one company's tokens.
enum Sealed {
    Anew,
    Already,
    Unreadable,
}

impl Rotation {
    /// The listed statuses to search for a filter; `None`: all.
    async fn narrowed(&self, filter: Option<StatusFilter>) -> Result<Option<Vec<ListedAs>>, StoreError> {
        let Some(filter) = filter else { return Ok(None) };
        let (row, record) = self.client_row().await?;
        // If the client id has changed, every company needs a new opt-in, whatever its listed status.
        Ok(record.is_listed_for(&self.settings.client_id, row.as_of).then(|| filter.listed_as()))
    }

    /// A page of all companies, and where the next one begins.
    async fn page(&self, after: Option<CompanyId>) -> Result<(Vec<ReadRow>, Option<CompanyId>), StoreError> {
        let asked = Stopwatch::start();
        let query = ListQuery { environment: self.environment, listed_as: None, after, limit: PAGE };
        let page = self.read_in_time(self.store.list(query)).await?;
        let rows = page.items.into_iter().filter_map(Snapshot::listed).map(|snapshot| ReadRow::new(snapshot, asked));
        Ok((rows.collect(), page.next))
    }

    /// Marks one company after a restored backup; returns whether there was something to mark.
    async fn mark(&self, row: ReadRow, at: Timestamp) -> Result<bool, StoreError> {
        let mut row = row;
        while row.snapshot.damage.is_none() {
            match self.in_time(self.take(&row, &GrantEvent::Restore { at }, None)).await? {
                Taken::Saved(_) => return Ok(true),
                Taken::Refused(_) => return Ok(false),
                Taken::Conflict => row = self.read(&row.snapshot.company).await?,
            }
        }
        Ok(false)
    }

    async fn seal_anew(&self, company: CompanyId) -> Result<(CompanyId, Sealed), StoreError> {
        loop {
            let row = self.read(&company).await?;
            let tokens = match &row.snapshot.tokens {
                StoredTokens::Readable(tokens) => tokens.clone(),
                StoredTokens::Unreadable(_) => return Ok((company, Sealed::Unreadable)),
                StoredTokens::None | StoredTokens::Sealed { .. } => return Ok((company, Sealed::Already)),
            };
            let swap = Swap { tokens: TokenChange::Replace(tokens), ..self.unchanged(&row, "reencrypt", None)? };
            if let Saved::Yes { .. } = self.in_time(self.store.save(swap)).await? {
                return Ok((company, Sealed::Anew));
            }
        }
    }

    /// Sets a later wake time for a row that cannot be read, so that it does not come first every time.
    pub(super) async fn postpone(&self, row: &ReadRow) -> Result<Saved, StoreError> {
        let swap = self.unchanged(row, "postpone", Some(Wake::of_unreadable(row.now())))?;
        self.store.save(swap).await
    }

    /// A save that changes nothing except the wake times, if given.
    fn unchanged(&self, row: &ReadRow, step: &'static str, wake: Option<Wake>) -> Result<Swap, StoreError> {
        let (snapshot, now) = (&row.snapshot, row.now());
        let (document, listed_as) = match &snapshot.damage {
            Some((_, document)) => (document.clone(), DAMAGED_LISTED_AS),
            None => (document_of(snapshot.grant.document())?, snapshot.grant.listed_as(&self.settings, now)),
        };
        Ok(Swap {
            key: self.key(&snapshot.company),
            expected: snapshot.number,
            decided_at: wake.map(|_| now),
            step,
            document,
            revision: snapshot.revision(),
            listed_as,
            tokens: TokenChange::Keep,
            wake,
            used_at: snapshot.used_at,
            events: Vec::new(),
            announce: false,
        })
    }

    /// Reads the client row. One that cannot be read counts as empty, and the next step replaces it: it must not block
    /// any company.
    pub(super) async fn client_row(&self) -> Result<(Row, ClientRecord), StoreError> {
        let row = self.read_in_time(self.store.load(&RowKey::client(self.environment))).await?;
        let record = ClientRecord::of_document(row.document.as_str()).unwrap_or_else(|error| {
            let error = StoreError::new(StoreErrorKind::Corrupt).with_source(error);
            tracing::error!(error = %chain(&error), "the client row cannot be read; the next announcement of the client replaces it");
            ClientRecord::default()
        });
        Ok((row, record))
    }

    pub(super) async fn save_client_row(
        &self,
        row: &Row,
        record: &ClientRecord,
        step: &'static str,
        events: Vec<EventContent>,
    ) -> Result<Saved, StoreError> {
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        let swap = Swap {
            key: row.key.clone(),
            expected: row.number,
            decided_at: None,
            step,
            document: document_of(record.document())?,
            revision: row.revision,
            listed_as: ListedAs::default(),
            tokens: TokenChange::Keep,
            wake: None,
            used_at: None,
            events,
            announce: false,
        };
        let saved = self.in_time(self.store.save(swap)).await?;
        if let Saved::Yes { .. } = saved {
            telemetry::wrote(self.environment, kinds);
        }
        Ok(saved)
    }
}

/// Reads what concerns all companies of a client.
pub(crate) async fn client_state(store: &dyn Store, environment: Environment) -> Result<ClientState, StoreError> {
    let row = store.load(&RowKey::client(environment)).await?;
    let record = ClientRecord::of_document(row.document.as_str())
        .map_err(|error| StoreError::new(StoreErrorKind::Corrupt).with_source(error))?;
    let ClientRecord { client_id, restored_at, out_of_reach_since, .. } = record;
    Ok(ClientState { client_id, unfinished_restore: restored_at, out_of_reach_since })
}

fn document_of(json: Result<String, serde_json::Error>) -> Result<Document, StoreError> {
    json.map(Document::new).map_err(|error| StoreError::new(StoreErrorKind::Rejected).with_source(error))
}
