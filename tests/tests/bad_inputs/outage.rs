//! A store that can be away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    events::{Event, EventId},
    status::CompanyStatus,
    store::{
        Changes, ClaimRefresh, Claimed, CommitRefresh, Committed, Connect, Connected, DueQuery, EventQuery, GiveBack,
        GrantKey, ListQuery, NewConsent, NewEvent, Page, SettleRefresh, Snapshot, Store, StoreError, StoreErrorKind,
        TakeConsent, TakenConsent, WarnExpiring, Written,
    },
};
use batchsuite_store::MemoryStore;

/// A [`MemoryStore`] that can be away: every verb fails then, and nothing is written. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct OutageStore {
    inner: MemoryStore,
    away: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

impl OutageStore {
    pub(crate) fn over(inner: MemoryStore) -> Self {
        Self { inner, away: Arc::default(), refused: Arc::default() }
    }

    pub(crate) fn go_away(&self) {
        self.away.store(true, SeqCst);
    }

    pub(crate) fn come_back(&self) {
        self.away.store(false, SeqCst);
    }

    /// How many pairs it did not take.
    pub(crate) fn refused_pairs(&self) -> u64 {
        self.refused.load(SeqCst)
    }

    fn present(&self) -> Result<&MemoryStore, StoreError> {
        let away = self.away.load(SeqCst);
        (!away).then_some(&self.inner).ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable))
    }

    fn present_for_a_pair(&self) -> Result<&MemoryStore, StoreError> {
        self.present().inspect_err(|_| {
            self.refused.fetch_add(1, SeqCst);
        })
    }
}

#[async_trait]
impl Store for OutageStore {
    async fn begin_consent(&self, consent: NewConsent) -> Result<(), StoreError> {
        self.present()?.begin_consent(consent).await
    }

    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        self.present()?.take_consent(take).await
    }

    async fn connect(&self, connect: Connect) -> Result<Connected, StoreError> {
        self.present_for_a_pair()?.connect(connect).await
    }

    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError> {
        self.present()?.load(key).await
    }

    async fn claim_refresh(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError> {
        self.present()?.claim_refresh(claim).await
    }

    async fn give_back(&self, give_back: GiveBack) -> Result<Written, StoreError> {
        self.present()?.give_back(give_back).await
    }

    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        self.present_for_a_pair()?.commit_refresh(commit).await
    }

    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        self.present()?.settle_refresh(settle).await
    }

    async fn remove(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError> {
        self.present()?.remove(key, actor).await
    }

    async fn mark_unanswered(&self, environment: Environment) -> Result<u64, StoreError> {
        self.present()?.mark_unanswered(environment).await
    }

    async fn record(&self, event: NewEvent) -> Result<EventId, StoreError> {
        self.present()?.record(event).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        self.present()?.due(query).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        self.present()?.record_use(environment, companies).await
    }

    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        self.present()?.warn_expiring(query).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        self.present()?.list(query).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        self.present()?.events(query).await
    }

    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        self.present()?.changes(environment, after, wait).await
    }
}
