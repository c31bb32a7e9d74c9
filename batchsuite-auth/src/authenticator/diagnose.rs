//! Diagnose, check, health.

use super::BatchSuiteAuth;
use crate::{
    diagnosis::{Check, Diagnosis},
    ids::CompanyId,
    machine::Health,
};

impl BatchSuiteAuth {
    /// Why the company works or does not: what was found, the worst first, since when, who must act, and what happens
    /// next by itself. Reads the company's row and its latest events, and asks UPS nothing. Waits at most
    /// [`Policy::max_wait`](crate::Policy::max_wait).
    ///
    /// If the store cannot be read, that is the finding. Findings about UPS, the store and the keeper are this
    /// process's own; another process may know more.
    ///
    /// ```
    /// # use batchsuite_auth::{CompanyId, Responsible, fake_ups::FakeUps};
    /// # use batchsuite_store::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ups = FakeUps::start().await;
    /// # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    /// let diagnosis = auth.diagnose(&CompanyId::new("acme")?).await;
    /// assert!(!diagnosis.works());
    /// assert_eq!(diagnosis.findings[0].kind.name(), "not_authenticated");
    /// assert_eq!(diagnosis.findings[0].responsible, Responsible::CompanyAdministrator);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn diagnose(&self, company: &CompanyId) -> Diagnosis {
        self.engine.diagnose(company).await
    }

    /// The same after one try: gets an access token as any caller would, and reports the outcome. The token is
    /// refreshed only if [`access_token`](Self::access_token) would refresh it. Waits at most twice
    /// [`Policy::max_wait`](crate::Policy::max_wait).
    ///
    /// # Cancellation
    /// A refresh continues without its caller.
    pub async fn check(&self, company: &CompanyId) -> Check {
        self.engine.check(company).await
    }

    /// The state of this process: its store, change feed, keeper and way to UPS. Costs microseconds; nothing is asked.
    ///
    /// [`Health::is_ready`] is the answer to a readiness probe, [`Health::is_healthy`] the condition of an alert.
    pub fn health(&self) -> Health {
        self.engine.health()
    }
}
