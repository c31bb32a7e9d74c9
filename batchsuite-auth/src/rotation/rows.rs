//! Rows: read one, ask the machine, save the step.

use std::time::Duration;

use tokio::time::Instant;

use super::{Rotation, no_answer, vitals::Work};
use crate::{
    clock::{Stopwatch, Timestamp, earlier, later},
    error::chain,
    events::{EventContent, EventKind, Evidence},
    http::fence,
    ids::{CompanyId, Revision},
    machine::{GrantEvent, PairFacts, PairRefresh, PairTimes, Step, StepRefusal, TokensEffect},
    random::random,
    snapshot::Snapshot,
    store::{NewEvent, RowKey, Saved, StoreError, StoreErrorKind, StoredTokens, Swap, TokenChange, Tokens},
    telemetry,
    ups::Pair,
};

/// A row, with the time since it was read.
#[derive(Clone, Debug)]
pub(crate) struct ReadRow {
    pub(crate) snapshot: Snapshot,
    /// Started when the store was asked: the row is at most this old.
    asked: Stopwatch,
    /// Started when the answer came: the row is at least this old.
    arrived: Stopwatch,
}

/// A row taken by the keeper. A flight that starts with it needs two round trips only: claim and commit.
#[derive(Debug)]
pub(super) struct Reserved(ReadRow);

/// A row reserved longer ago is read again: after five seconds its claim would be too old to be saved.
const RESERVED_FOR: Duration = Duration::from_secs(2);

impl Reserved {
    pub(super) fn new(row: ReadRow) -> Self {
        Self(row)
    }

    pub(super) fn revision(&self) -> Revision {
        self.0.snapshot.revision()
    }

    pub(super) fn company(&self) -> &CompanyId {
        &self.0.snapshot.company
    }

    /// The row, if it was reserved recently. Never after a `lease`: an attempt begun meanwhile could be taken over
    /// without the time that its holder gets to store a pair.
    pub(super) fn recent(self, lease: Duration) -> Option<ReadRow> {
        (self.0.asked().elapsed() < RESERVED_FOR.min(lease)).then_some(self.0)
    }
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Saved; the new row.
    Saved(Box<ReadRow>),
    /// The machine refused the event.
    Refused(StepRefusal),
    /// The row has changed, or the decision was too old.
    Conflict,
}

impl ReadRow {
    /// A row that has just arrived, after the store was asked at the start of `asked`.
    pub(super) fn new(snapshot: Snapshot, asked: Stopwatch) -> Self {
        Self { snapshot, asked, arrived: Stopwatch::start() }
    }

    /// The time since the store was asked.
    pub(super) fn asked(&self) -> Stopwatch {
        self.asked
    }

    /// The store's time now, in whole seconds after the answer and so up to a second early: a pause or a lease that
    /// begins right after the read ends at exactly its length after the store's time, not milliseconds later.
    pub(crate) fn now(&self) -> Timestamp {
        later(self.snapshot.as_of, Duration::from_secs(self.arrived.elapsed().as_secs()))
    }
}

impl Rotation {
    /// A write that may be dropped; it fails after [`Policy::store_deadline`](crate::Policy::store_deadline).
    pub(crate) async fn in_time<T>(&self, write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.watched(Work::Write, self.policy.store_deadline, write).await
    }

    /// The same for a read.
    pub(crate) async fn read_in_time<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.watched(Work::Read, self.policy.store_deadline, read).await
    }

    /// A read for a caller, who waits no longer than for a token.
    pub(crate) async fn read_for_caller<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.watched(Work::Read, self.policy.max_wait.min(self.policy.store_deadline), read).await
    }

    /// A write for a caller, who waits no longer than for a token.
    pub(super) async fn written_for_caller<T>(
        &self,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.watched(Work::Write, self.policy.max_wait.min(self.policy.store_deadline), write).await
    }

    async fn watched<T>(
        &self,
        work: Work,
        limit: Duration,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = within(limit, call).await;
        self.vitals.store_answered(work, &answer, || self.now());
        answer
    }

    pub(crate) fn key(&self, company: &CompanyId) -> RowKey {
        RowKey::company(self.environment, company.clone())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Reads a company's row.
    pub(crate) async fn read(&self, company: &CompanyId) -> Result<ReadRow, StoreError> {
        let asked = Stopwatch::start();
        let row = self.read_in_time(self.store.load(&self.key(company))).await?;
        Ok(ReadRow::new(Snapshot::of(row, company.clone()), asked))
    }

    /// Asks the machine for the step of `event`, and saves it. `pair`: the tokens that belong to the event.
    pub(crate) async fn take(
        &self,
        read: &ReadRow,
        event: &GrantEvent,
        pair: Option<&Tokens>,
    ) -> Result<Taken, StoreError> {
        let (row, now) = (&read.snapshot, read.now());
        let step = match row.grant.on(event, &self.settings.pauses, now) {
            Ok(step) => step.with_notice_that_holds(&self.settings, now),
            Err(refusal) => return Ok(Taken::Refused(refusal)),
        };
        let swap = self.swap(row, &step, pair, now)?;
        let stored = match &swap.tokens {
            TokenChange::Keep => row.tokens.clone(),
            TokenChange::Replace(tokens) => StoredTokens::Readable(tokens.clone()),
            TokenChange::Erase => StoredTokens::None,
        };
        let wake_at = swap.wake.map_or(row.wake_at, |wake| wake.at);
        let asked = Stopwatch::start();
        let Saved::Yes { number, change, at } = self.store.save(swap).await? else { return Ok(Taken::Conflict) };
        telemetry::wrote(self.environment, step.events.iter().map(|event| event.kind));
        let snapshot = Snapshot {
            company: row.company.clone(),
            number,
            grant: step.grant,
            tokens: stored,
            damage: None,
            change,
            wake_at,
            used_at: row.used_at,
            consents: row.consents.clone(),
            as_of: at,
        };
        Ok(Taken::Saved(Box::new(ReadRow::new(snapshot, asked))))
    }

    /// Marks a row that is older than one this process has seen. A conflict needs no second try: the flight reads the
    /// row again and decides anew.
    pub(super) async fn mark_set_back(&self, read: &ReadRow) -> Result<(), StoreError> {
        let company = &read.snapshot.company;
        tracing::error!(
            %company,
            "the row is older than one read before: the store was restored or lost commits; its tokens may be spent"
        );
        let event = GrantEvent::Restore { at: read.now() };
        self.in_time(self.take(read, &event, None)).await.map(drop)
    }

    fn swap(&self, row: &Snapshot, step: &Step, pair: Option<&Tokens>, now: Timestamp) -> Result<Swap, StoreError> {
        let document =
            step.grant.document().map_err(|error| StoreError::new(StoreErrorKind::Rejected).with_source(error))?;
        Ok(Swap {
            key: self.key(&row.company),
            expected: row.number,
            decided_at: step.depends_on_time.then_some(now),
            step: step.name,
            document: crate::store::Document::new(document),
            revision: step.grant.revision,
            listed_as: step.grant.listed_as(&self.settings, now),
            tokens: match step.tokens {
                TokensEffect::Keep => TokenChange::Keep,
                TokensEffect::Replace => TokenChange::Replace(pair.cloned().unwrap_or_default()),
                TokensEffect::KeepRefresh => row.keeping(|tokens| Tokens { access: None, ..tokens }),
                TokensEffect::KeepAccess => row.keeping(|tokens| Tokens { refresh: None, ..tokens }),
                TokensEffect::Erase => TokenChange::Erase,
            },
            wake: step.wake(row.wake_at, row.used_at, &self.settings, now),
            used_at: row.used_at,
            events: step.events.clone(),
            announce: step.announce,
        })
    }

    /// The tokens of a pair and their times. `before` is the row as it was read.
    pub(crate) fn dated(&self, pair: &Pair, sent_at: Timestamp, before: &Snapshot) -> (PairTimes, Tokens) {
        let facts = PairFacts {
            issued_at: pair.issued_at,
            access_lifetime: pair.access_lifetime,
            has_access_token: pair.access_token.is_some(),
            refresh: match (&pair.refresh_token, pair.erases_refresh_token) {
                (Some(_), _) => PairRefresh::New(pair.refresh_lifetime),
                (None, false) => PairRefresh::Kept,
                (None, true) => PairRefresh::Lost,
            },
        };
        let (latest, early_window) = (before.grant.latest_time(), self.policy.early_window);
        let times = PairTimes::of(&facts, sent_at, latest, early_window, random(), self.now());
        (times, Tokens { access: pair.access_token.clone(), refresh: pair.refresh_token.clone() })
    }

    /// Writes an event without a step; returns whether it was written. A failure is only logged, because the step that
    /// the event reports is stored.
    pub(crate) async fn append(&self, company: Option<&CompanyId>, kind: EventKind, evidence: Evidence) -> bool {
        let append = |evidence| {
            let event = EventContent::new(kind).with_evidence(evidence);
            self.in_time(self.store.append(self.environment, NewEvent { company: company.cloned(), event }))
        };
        let mut appended = append(evidence.clone()).await;
        if appended.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Rejected) {
            tracing::warn!(%kind, "the store permanently rejects UPS's words; the event is written without them");
            appended = append(evidence.without_words()).await;
        }
        appended
            .inspect(|_| telemetry::wrote(self.environment, [kind]))
            .inspect_err(|error| tracing::warn!(%kind, error = %chain(error), "an event could not be written"))
            .is_ok()
    }
}

/// When a request was sent, by the store's clock; `now` is the store's time.
pub(crate) fn sent_at(now: Timestamp, sent: &Stopwatch) -> Timestamp {
    earlier(now, sent.elapsed())
}

/// Limits a store call. An answer that arrived while the process was stopped beats the limit; otherwise a stopped claim
/// would be left to its lease.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    fence::until(Instant::now() + limit, call).await.unwrap_or_else(|| Err(no_answer()))
}
