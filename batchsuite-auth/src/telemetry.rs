//! Counters and histograms, through the `metrics` facade (feature `metrics`; without it nothing is counted).
//!
//! | name | kind | labels | counts |
//! |---|---|---|---|
//! | `batchsuite_refreshes_total` | counter | `environment`, `outcome` | requests to UPS for a new pair, by outcome |
//! | `batchsuite_refresh_seconds` | histogram | `environment` | how long these requests took |
//! | `batchsuite_exchanges_total` | counter | `environment`, `outcome` | exchanges of a code |
//! | `batchsuite_store_retries_total` | counter | `environment`, `what` | writes that the store did not confirm and that were tried again |
//!
//! Outcomes: `pair`, `refused`, `unanswered`, `not_sent`, `late`, `rate_limited`, `misconfigured`, `blocked`,
//! `unknown`. No label names a company, because there may be millions. Cache hits are not counted: counting would cost
//! more than the hit.

use std::time::Duration;

use crate::{config::Environment, ups::Judgement};

/// Counts a refresh by its outcome.
pub(crate) fn refreshed(environment: Environment, judgement: &Judgement, took: Duration) {
    #[cfg(feature = "metrics")]
    {
        let outcome = judgement.outcome();
        metrics::counter!("batchsuite_refreshes_total", "environment" => environment.name(), "outcome" => outcome)
            .increment(1);
        metrics::histogram!("batchsuite_refresh_seconds", "environment" => environment.name())
            .record(took.as_secs_f64());
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (environment, judgement, took);
}

/// Counts an exchange by its outcome.
pub(crate) fn exchanged(environment: Environment, judgement: &Judgement) {
    #[cfg(feature = "metrics")]
    metrics::counter!("batchsuite_exchanges_total", "environment" => environment.name(), "outcome" => judgement.outcome())
        .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (environment, judgement);
}

/// Counts a write of `what` that the store did not confirm.
pub(crate) fn not_stored(environment: Environment, what: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("batchsuite_store_retries_total", "environment" => environment.name(), "what" => what)
        .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (environment, what);
}
