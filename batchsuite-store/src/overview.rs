//! The operator's overview.

use std::collections::BTreeMap;

use batchsuite_auth::{clock::Timestamp, store::ListedAs};

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
    /// The store's time of the reading.
    pub as_of: Timestamp,
}

impl Overview {
    /// The number of all companies.
    pub fn total(&self) -> u64 {
        self.companies.values().sum()
    }

    /// The numbers per status, from the number of all companies and those of the statuses that an index has.
    pub(crate) fn counted(all: u64, indexed: impl IntoIterator<Item = (String, u64)>) -> BTreeMap<ListedAs, u64> {
        let mut others = all;
        let mut companies: BTreeMap<_, _> = ListedAs::ALL.iter().map(|listed| (*listed, 0)).collect();
        for (name, count) in indexed {
            others = others.saturating_sub(count);
            if let Some(listed) = ListedAs::of_name(&name) {
                companies.insert(listed, count);
            }
        }
        companies.insert(NOT_INDEXED, others);
        companies
    }
}

#[cfg(feature = "metrics")]
impl Overview {
    /// Sets gauges through the [`metrics`] facade, labelled with `environment`: `batchsuite_companies` by `status`,
    /// `batchsuite_consents_pending`, and `batchsuite_oldest_wake_seconds` (0 if no company waits). Call it
    /// periodically, in one process.
    pub fn record_metrics(&self, environment: batchsuite_auth::Environment) {
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
