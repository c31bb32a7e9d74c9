//! The ways to the store and to UPS, past the gate.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    events::{Event, EventId},
    http::{HttpClient, HttpError, ReqwestClient},
    status::CompanyStatus,
    store::{
        Changes, ClaimRefresh, Claimed, CommitRefresh, Committed, Connect, Connected, DueQuery, EventQuery, GiveBack,
        GrantKey, ListQuery, NewConsent, NewEvent, Page, SettleRefresh, Snapshot, Store, StoreError, TakeConsent,
        TakenConsent, WarnExpiring, Written,
    },
};
use batchsuite_store::PostgresStore;

use crate::gate::{Gate, Point};

#[derive(Debug)]
pub(crate) struct ToUps {
    pub(crate) http: ReqwestClient,
    pub(crate) gate: Arc<Gate>,
}

#[async_trait]
impl HttpClient for ToUps {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        self.gate.pass(Point::BeforeSend).await;
        let answer = self.http.send(request).await;
        self.gate.answered();
        answer
    }
}

#[derive(Debug)]
pub(crate) struct ToStore {
    pub(crate) store: PostgresStore,
    pub(crate) gate: Arc<Gate>,
}

#[async_trait]
impl Store for ToStore {
    async fn claim_refresh(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError> {
        self.gate.pass(Point::BeforeClaim).await;
        let claimed = self.store.claim_refresh(claim).await;
        self.gate.pass(Point::AfterClaim).await;
        claimed
    }

    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        self.gate.pass(Point::BeforeCommit).await;
        let committed = self.store.commit_refresh(commit).await;
        if committed.is_ok() {
            self.gate.committed();
        }
        self.gate.pass(Point::AfterCommit).await;
        committed
    }

    async fn begin_consent(&self, consent: NewConsent) -> Result<(), StoreError> {
        self.store.begin_consent(consent).await
    }

    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        self.store.take_consent(take).await
    }

    async fn connect(&self, connect: Connect) -> Result<Connected, StoreError> {
        Store::connect(&self.store, connect).await
    }

    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError> {
        let snapshot = self.store.load(key).await;
        self.gate.pass(Point::AfterLoad).await;
        snapshot
    }

    async fn give_back(&self, give_back: GiveBack) -> Result<Written, StoreError> {
        self.store.give_back(give_back).await
    }

    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        let written = self.store.settle_refresh(settle).await;
        self.gate.pass(Point::AfterSettle).await;
        written
    }

    async fn remove(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError> {
        self.store.remove(key, actor).await
    }

    async fn mark_unanswered(&self, environment: Environment) -> Result<u64, StoreError> {
        self.store.mark_unanswered(environment).await
    }

    async fn record(&self, event: NewEvent) -> Result<EventId, StoreError> {
        self.store.record(event).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        let due = self.store.due(query).await;
        self.gate.pass(Point::AfterDue).await;
        due
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        self.store.record_use(environment, companies).await
    }

    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        self.store.warn_expiring(query).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        self.store.list(query).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        self.store.events(query).await
    }

    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        self.store.changes(environment, after, wait).await
    }
}
