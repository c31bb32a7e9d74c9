//! The operator's overview.

use std::{collections::BTreeMap, time::Duration};

use batchsuite_auth::{clock::Timestamp, store::ListedAs};

use crate::listed::NOT_INDEXED;

/// The state of all companies of an environment at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overview {
    /// The number of companies per status, including statuses with no company. A company's status is as old as its wake
    /// time at most.
    pub companies: BTreeMap<ListedAs, u64>,
    /// How many companies wait for a keeper.
    pub companies_due: u64,
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

    /// How long the company has waited that waits longest for a keeper; zero: none waits.
    pub fn longest_wait(&self) -> Duration {
        self.oldest_wake.and_then(|since| (self.as_of - since).to_std().ok()).unwrap_or_default()
    }

    /// After what time from now no company will wait for a keeper any more, if their number falls as it has since
    /// `before`; `None`: it does not fall, or none waits.
    pub fn caught_up_in(&self, before: &Self) -> Option<Duration> {
        let over = (self.as_of - before.as_of).to_std().ok()?;
        let fell = before.companies_due.checked_sub(self.companies_due).filter(|fell| *fell > 0)?;
        if self.companies_due == 0 {
            return None;
        }
        Duration::try_from_secs_f64(over.as_secs_f64() * float(self.companies_due) / float(fell)).ok()
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

#[expect(clippy::cast_precision_loss, reason = "an estimate, or a gauge")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(feature = "metrics")]
impl Overview {
    /// Sets gauges through the [`metrics`] facade, labelled with `environment`: `batchsuite_companies` by `status`,
    /// `batchsuite_companies_due`, `batchsuite_oldest_wake_seconds` (0 if no company waits) and
    /// `batchsuite_consents_pending`. Call it periodically, in one process.
    pub fn record_metrics(&self, environment: batchsuite_auth::Environment) {
        let environment = environment.name();
        for (status, companies) in &self.companies {
            metrics::gauge!("batchsuite_companies", "environment" => environment, "status" => status.name())
                .set(float(*companies));
        }
        metrics::gauge!("batchsuite_consents_pending", "environment" => environment).set(float(self.consents_pending));
        metrics::gauge!("batchsuite_companies_due", "environment" => environment).set(float(self.companies_due));
        let longest = self.longest_wait().as_secs_f64();
        metrics::gauge!("batchsuite_oldest_wake_seconds", "environment" => environment).set(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchsuite_auth::clock::later;

    fn reading(second: u64, companies_due: u64) -> Overview {
        let at = |second| later(Timestamp::UNIX_EPOCH, Duration::from_secs(second));
        Overview {
            companies: BTreeMap::new(),
            companies_due,
            oldest_wake: (companies_due > 0).then(|| at(1000)),
            consents_pending: 0,
            as_of: at(2000 + second),
        }
    }

    #[test]
    fn a_number_of_waiting_companies_that_falls_tells_when_none_will_wait() {
        for (before, now, caught_up_in) in [
            (reading(0, 1000), reading(10, 900), Some(90)),
            (reading(0, 1000), reading(10, 1000), None),
            (reading(0, 1000), reading(10, 1100), None),
            (reading(0, 1000), reading(10, 0), None),
            (reading(10, 1000), reading(0, 900), None),
        ] {
            assert_eq!(now.caught_up_in(&before), caught_up_in.map(Duration::from_secs), "{now:?}");
        }
    }

    #[test]
    fn the_longest_wait_is_that_of_the_earliest_wake_time() {
        assert_eq!(reading(5, 3).longest_wait(), Duration::from_secs(1005));
        assert_eq!(reading(5, 0).longest_wait(), Duration::ZERO);
    }
}
