//! Diagnose: why a company works or does not.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    diagnosis::{Check, Diagnosis, TokenInfo, fact_of},
    ids::CompanyId,
    machine::{CompanyFacts, Fact, FindingKind, process_findings},
    rotation::Engine,
    status::CompanyStatus,
    store::{EventOrder, EventQuery, StoreError},
};

/// How many of a company's latest events are read: enough to tell since when its refreshes fail.
const EVENTS: usize = 50;

impl Engine {
    /// Why the company works or does not, from its row, its latest events and this process.
    pub(crate) async fn diagnose(&self, company: &CompanyId) -> Diagnosis {
        let rotation = &self.rotation;
        let (status, at, mut facts) = match rotation.read_for_caller(self.company_facts(company)).await {
            Ok((status, at, facts)) => (Some(status), at, facts),
            Err(error) => (None, rotation.now(), vec![fact_of(&error.into(), rotation.now())]),
        };
        let rejected = self.tokens.rejections.of(company, rotation.policy.rejection_pause, at);
        // The failed read has told about the store.
        let is_told = |fact: &Fact| status.is_none() && fact.kind == FindingKind::StoreFails;
        facts.extend(process_findings(&self.health(), rejected).into_iter().filter(|fact| !is_told(fact)));
        Diagnosis::new(company.clone(), at, status, facts)
    }

    /// The same after one try to get a token, as a caller would.
    pub(crate) async fn check(self: &Arc<Self>, company: &CompanyId) -> Check {
        let outcome = match self.cached(company) {
            Some(token) => Ok(token),
            None => self.fetched(company).await,
        };
        let mut diagnosis = self.diagnose(company).await;
        if let Err(error) = &outcome {
            diagnosis.explain(error);
        }
        let outcome = outcome.map(|token| TokenInfo { revision: token.revision(), expires_at: token.expires_at() });
        Check { outcome, diagnosis }
    }

    async fn company_facts(&self, company: &CompanyId) -> Result<(CompanyStatus, Timestamp, Vec<Fact>), StoreError> {
        let rotation = &self.rotation;
        let row = rotation.read(company).await?;
        let query = EventQuery {
            environment: rotation.environment,
            company: Some(company.clone()),
            order: EventOrder::NewestFirst,
            after: None,
            limit: EVENTS,
        };
        let events = rotation.in_time(rotation.store.events(query)).await?.items;
        let (snapshot, now) = (&row.snapshot, row.now());
        let status = snapshot.status(&rotation.settings);
        let facts = CompanyFacts {
            grant: &snapshot.grant,
            used_at: snapshot.used_at,
            wake_at: snapshot.wake_at,
            obstacle: snapshot.obstacle(),
            consent_until: status.consent_pending_until,
            link_until: status.connect_link_until,
            events: &events,
            settings: &rotation.settings,
        };
        let facts = facts.findings(now);
        Ok((status, now, facts))
    }
}
