//! A shared store is a store, also where its type is not known.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::*;

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn begin_consent(&self, consent: NewConsent) -> Result<(), StoreError> {
        (**self).begin_consent(consent).await
    }

    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        (**self).take_consent(take).await
    }

    async fn connect(&self, connect: Connect) -> Result<Connected, StoreError> {
        (**self).connect(connect).await
    }

    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError> {
        (**self).load(key).await
    }

    async fn claim_refresh(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError> {
        (**self).claim_refresh(claim).await
    }

    async fn give_back(&self, give_back: GiveBack) -> Result<Written, StoreError> {
        (**self).give_back(give_back).await
    }

    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError> {
        (**self).commit_refresh(commit).await
    }

    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError> {
        (**self).settle_refresh(settle).await
    }

    async fn remove(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError> {
        (**self).remove(key, actor).await
    }

    async fn mark_unanswered(&self, environment: Environment) -> Result<u64, StoreError> {
        (**self).mark_unanswered(environment).await
    }

    async fn record(&self, event: NewEvent) -> Result<EventId, StoreError> {
        (**self).record(event).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError> {
        (**self).due(query).await
    }

    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        (**self).record_use(environment, companies).await
    }

    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError> {
        (**self).warn_expiring(query).await
    }

    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        (**self).list(query).await
    }

    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        (**self).events(query).await
    }

    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        (**self).changes(environment, after, wait).await
    }
}
