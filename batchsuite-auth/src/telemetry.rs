//! Counters, histograms and gauges, through the `metrics` facade (feature `metrics`; without it nothing is counted).
//!
//! | name | kind | labels | counts |
//! |---|---|---|---|
//! | `batchsuite_refreshes_total` | counter | `environment`, `outcome` | requests to UPS for a new pair, by outcome |
//! | `batchsuite_refresh_seconds` | histogram | `environment` | how long these requests took |
//! | `batchsuite_exchanges_total` | counter | `environment`, `outcome` | exchanges of a code |
//! | `batchsuite_store_retries_total` | counter | `environment`, `what` | writes that the store did not confirm and that were tried again |
//! | `batchsuite_events_total` | counter | `environment`, `kind` | events that this process wrote, by [`EventKind`]. All processes together count each event once |
//!
//! [`Health::record_metrics`](crate::Health::record_metrics) and
//! [`DeliveryHandle::record_metrics`](crate::DeliveryHandle::record_metrics) set the gauges; call them before each
//! scrape:
//!
//! | name | labels | value |
//! |---|---|---|
//! | `batchsuite_ready`, `batchsuite_healthy` | `environment` | 1: [`is_ready`](crate::Health::is_ready), [`is_healthy`](crate::Health::is_healthy) |
//! | `batchsuite_store_failing` | `environment` | 1: the store fails, for reads or for writes |
//! | `batchsuite_feed_age_seconds`, `batchsuite_feed_stale` | `environment` | the time since the change feed was read; 1: longer than [`Policy::cache_max_age`](crate::Policy::cache_max_age) |
//! | `batchsuite_keeper_lag_seconds`, `batchsuite_keeper_silent` | `environment` | how overdue the company was that the keeper took last; 1: no sign of life for three intervals |
//! | `batchsuite_keeper_caught_up_timestamp_seconds` | `environment` | when no company will wait for the keeper any more, as a Unix time; 0: none waits, or the lag does not shrink |
//! | `batchsuite_ups_trouble` | `environment`, `kind` | 1: this [`UpsTroubleKind`](crate::UpsTroubleKind) lasts |
//! | `batchsuite_refresh_rate`, `batchsuite_refreshes_waiting` | `environment` | refreshes a second that may be sent; refreshes that wait for their turn |
//! | `batchsuite_pairs_not_stored` | `environment` | pairs that the store has not taken yet |
//! | `batchsuite_delivery_here`, `batchsuite_delivery_lag_seconds`, `batchsuite_delivery_failing` | `environment`, `consumer` | 1: this process has the delivery; the age of the first event that its handler has not done; 1: the handler fails |
//!
//! Outcomes: `pair`, `refused`, `unanswered`, `not_sent`, `late`, `rate_limited`, `misconfigured`, `blocked`,
//! `unknown`. No label names a company, because there may be millions. Cache hits are not counted: counting would cost
//! more than the hit.

#[cfg(feature = "metrics")]
mod gauges;

use std::time::Duration;

use crate::{config::Environment, events::EventKind, ups::Judgement};

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

/// Counts events that the store has confirmed.
pub(crate) fn wrote(environment: Environment, kinds: impl IntoIterator<Item = EventKind>) {
    #[cfg(feature = "metrics")]
    for kind in kinds {
        metrics::counter!("batchsuite_events_total", "environment" => environment.name(), "kind" => kind.name())
            .increment(1);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = (environment, kinds);
}
