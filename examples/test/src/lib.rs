//! How does a service test its own behaviour against the fake UPS? [`label_for`] is the service, `tests` shows the rest.

use batchsuite_auth::{BatchSuiteAuth, CompanyId};

/// The service: a line for the page of a company.
pub async fn label_for(auth: &BatchSuiteAuth, company: &CompanyId) -> String {
    match auth.access_token(company).await {
        Ok(_) => "ready to ship".to_owned(),
        Err(error) if error.needs_reauthorization() => format!("ask an administrator: {error}"),
        Err(error) if error.is_transient() => "try again in a moment".to_owned(),
        Err(_) => "out of order".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use batchsuite_auth::{
        ActorId,
        fake_ups::{Endpoint, FakeUps, Fault, Outcome, Times},
    };
    use batchsuite_store::MemoryStore;

    use super::*;

    /// A UPS, an authenticator on it, and a company that has opted in.
    async fn opted_in() -> (FakeUps, BatchSuiteAuth, CompanyId) {
        let ups = FakeUps::start().await;
        let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
        let (company, actor) = (CompanyId::new("acme").unwrap(), ActorId::new("ada").unwrap());
        let trip = auth.authenticate(&company, &actor).await.unwrap();
        let query = ups.consent(&trip.url, FakeUps::USER).await;
        auth.callback(&actor, &query, &trip.browser_secret).await.unwrap();
        (ups, auth, company)
    }

    #[tokio::test]
    async fn a_company_that_opted_in_is_ready_also_hours_later() {
        let (ups, auth, company) = opted_in().await;
        ups.clock().advance(Duration::from_secs(5 * 3600));

        assert_eq!(label_for(&auth, &company).await, "ready to ship");
        assert_eq!(ups.requests().count(Endpoint::Refresh, Outcome::Ok), 1);
    }

    #[tokio::test]
    async fn a_password_change_is_told_to_the_administrator() {
        let (ups, auth, company) = opted_in().await;
        ups.change_password(FakeUps::USER);
        ups.clock().advance(Duration::from_secs(5 * 3600));

        let label = label_for(&auth, &company).await;

        assert!(label.starts_with("ask an administrator") && label.contains("password was changed"), "{label}");
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_loses_nothing_that_ups_did_not_take() {
        let (ups, auth, company) = opted_in().await;
        ups.clock().advance(Duration::from_secs(5 * 3600));
        ups.fault(Endpoint::Refresh, Fault::Reset, Times::Once);

        assert_eq!(label_for(&auth, &company).await, "try again in a moment");
        ups.clock().advance(Duration::from_secs(300));
        assert_eq!(label_for(&auth, &company).await, "ready to ship");
    }
}
