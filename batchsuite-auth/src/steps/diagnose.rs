//! Diagnose: why a company works or does not.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    diagnosis::{Check, Diagnosis, TokenInfo, fact_of},
    ids::CompanyId,
    machine::{CompanyFacts, Fact, Severity, process_findings},
    rotation::Engine,
    status::CompanyStatus,
    store::{EventOrder, EventQuery, StoreError},
};

/// How many of a company's latest events are read: enough to tell since when its refreshes fail.
const EVENTS: usize = 50;

/// What was read about a company.
struct Read {
    status: CompanyStatus,
    at: Timestamp,
    facts: Vec<Fact>,
    /// How bad a trouble is that keeps every company's tokens from being refreshed.
    acute: Severity,
}

impl Engine {
    /// Why the company works or does not, from its row, its latest events and this process.
    pub(crate) async fn diagnose(&self, company: &CompanyId) -> Diagnosis {
        let rotation = &self.rotation;
        let (status, at, mut facts, acute) = match rotation.read_for_caller(self.company_facts(company)).await {
            Ok(Read { status, at, facts, acute }) => (Some(status), at, facts, acute),
            Err(error) => {
                let at = rotation.now();
                (None, at, vec![fact_of(&error.into(), at)], Severity::AtRisk)
            }
        };
        let current = status.as_ref().map(|status| status.revision);
        let rejected = self.tokens.rejections.of(company, current, rotation.policy.rejection_pause, at);
        for fact in process_findings(&self.health(), rejected, acute) {
            match facts.iter_mut().find(|known| known.kind == fact.kind) {
                // The failed read has told about the store; since when it fails, the process knows.
                Some(known) => (known.since, known.next) = (known.since.or(fact.since), known.next.or(fact.next)),
                None => facts.push(fact),
            }
        }
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

    async fn company_facts(&self, company: &CompanyId) -> Result<Read, StoreError> {
        let rotation = &self.rotation;
        let row = rotation.read(company).await?;
        let query = EventQuery {
            environment: rotation.environment,
            company: Some(company.clone()),
            order: EventOrder::NewestFirst,
            after: None,
            limit: EVENTS,
        };
        let events = rotation.read_in_time(rotation.store.events(query)).await?.items;
        let (snapshot, at) = (&row.snapshot, row.now());
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
        let (facts, acute) = (facts.findings(at), facts.acute_for_all(at));
        Ok(Read { status, at, facts, acute })
    }
}
