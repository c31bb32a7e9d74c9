//! The operator's overview.

use std::collections::BTreeMap;

use batchsuite_auth::{
    Environment,
    clock::Timestamp,
    store::{ListedAs, StoreError},
};

use super::{PostgresStore, connection::Parameter, row::Columns};
use crate::listed::NOT_INDEXED;

/// The state of all companies of an environment at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// The number of companies per status, including statuses with no company. A company's status is as old as its wake
    /// time at most.
    pub companies: BTreeMap<ListedAs, u64>,
    /// The earliest wake time of a company that waits for a keeper; `None`: none waits.
    pub oldest_wake: Option<Timestamp>,
    /// Pending consents: persons who are at UPS.com.
    pub consents_pending: u64,
    /// The database's time of the reading.
    pub as_of: Timestamp,
}

#[cfg(feature = "metrics")]
impl Overview {
    /// Sets gauges through the [`metrics`] facade, labelled with `environment`: `batchsuite_companies` by `status`,
    /// `batchsuite_consents_pending`, and `batchsuite_oldest_wake_seconds` (0 if no company waits). Call it
    /// periodically, in one process.
    pub fn record_metrics(&self, environment: Environment) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let float = |number: u64| number as f64;
        let environment = environment.name();
        for (status, companies) in &self.companies {
            metrics::gauge!("batchsuite_companies", "environment" => environment, "status" => status.name())
                .set(float(*companies));
        }
        metrics::gauge!("batchsuite_consents_pending", "environment" => environment).set(float(self.consents_pending));
        let waiting = self.oldest_wake.and_then(|since| (self.as_of - since).to_std().ok()).unwrap_or_default();
        metrics::gauge!("batchsuite_oldest_wake_seconds", "environment" => environment).set(waiting.as_secs_f64());
    }
}

impl PostgresStore {
    /// Counts the companies by status, in one statement over an index.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn overview(&self, environment: Environment) -> Result<Overview, StoreError> {
        let parameters: &[Parameter<'_>] = &[&environment.name()];
        let row = self.0.one(&self.0.statements.overview, parameters).await?;
        let mut columns = Columns::of(&row);
        let mut others = columns.number()?;
        let (names, counts): (Vec<&str>, Vec<i64>) = (columns.next()?, columns.next()?);
        let mut companies: BTreeMap<_, _> = ListedAs::ALL.iter().map(|listed| (*listed, 0)).collect();
        for (name, count) in names.into_iter().zip(counts) {
            others = others.saturating_sub(count.unsigned_abs());
            if let Some(listed) = ListedAs::of_name(name) {
                companies.insert(listed, count.unsigned_abs());
            }
        }
        companies.insert(NOT_INDEXED, others);
        // A time out of range counts as none.
        let oldest_wake = columns.next().unwrap_or_default();
        Ok(Overview { companies, oldest_wake, consents_pending: columns.number()?, as_of: columns.next()? })
    }
}
