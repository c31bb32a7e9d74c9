//! Counters and histograms, through the `metrics` facade (feature `metrics`; without it nothing is counted).
//!
//! | name | kind | labels | counts |
//! |---|---|---|---|
//! | `batchsuite_refreshes_total` | counter | `environment`, `outcome` | requests to UPS for a new pair, by what came of them |
//! | `batchsuite_refresh_seconds` | histogram | `environment` | how long UPS took to answer them |
//! | `batchsuite_exchanges_total` | counter | `environment`, `outcome` | exchanges of a code |
//! | `batchsuite_store_retries_total` | counter | `environment`, `what` | writes that the store did not take and that were tried again |
//!
//! Outcomes: `pair`, `refused`, `unanswered`, `not_sent`, `late`, `rate_limited`, `misconfigured`, `blocked`, `unknown`. No label names a
//! company: there may be millions. A cached token is not counted: counting would cost more than the token.

use std::time::Duration;

use crate::{config::Environment, ups::Judgement};

/// UPS answered a refresh, or did not.
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

/// UPS answered the exchange of a code, or did not.
pub(crate) fn exchanged(environment: Environment, judgement: &Judgement) {
    #[cfg(feature = "metrics")]
    metrics::counter!("batchsuite_exchanges_total", "environment" => environment.name(), "outcome" => judgement.outcome())
        .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (environment, judgement);
}

/// The store did not take `what`.
pub(crate) fn not_stored(environment: Environment, what: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("batchsuite_store_retries_total", "environment" => environment.name(), "what" => what)
        .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (environment, what);
}
