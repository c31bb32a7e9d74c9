//! The state of a process and of its deliveries, as gauges.

use crate::{
    clock::Timestamp,
    config::Environment,
    deliveries::DeliveryHandle,
    events::EventKind,
    machine::{Health, KeeperHealth, UpsTroubleKind},
    ups::Judgement,
};

impl Health {
    /// Sets gauges through the [`metrics`] facade, labelled with `environment`: see *Metrics and alerts* in
    /// [Operating](crate::docs::operating). No label names a company. Call it in each process before each scrape.
    ///
    /// It also begins the counters at 0 that have not counted yet, so that Prometheus's `increase` sees the first count.
    ///
    /// ```
    /// # use batchsuite_auth::{Environment, fake_ups::FakeUps};
    /// # use batchsuite_store::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ups = FakeUps::start().await;
    /// # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    /// auth.health().record_metrics(Environment::Cie); // then render them for the scrape
    /// # Ok(())
    /// # }
    /// ```
    pub fn record_metrics(&self, environment: Environment) {
        let (name, set) = (environment.name(), |name: &'static str, value: f64| {
            metrics::gauge!(name, "environment" => environment.name()).set(value);
        });
        let (lag, caught_up_at, is_silent) = match self.keeper {
            KeeperHealth::Works { lag, caught_up_at } => (lag.as_secs_f64(), caught_up_at, false),
            KeeperHealth::Silent { .. } => (0.0, None, true),
            KeeperHealth::Off => (0.0, None, false),
        };
        set("batchsuite_ready", flag(self.is_ready()));
        set("batchsuite_healthy", flag(self.is_healthy()));
        set("batchsuite_store_failing", flag(self.store_fails_since.is_some()));
        set("batchsuite_feed_age_seconds", self.feed_age.as_secs_f64());
        set("batchsuite_feed_stale", flag(self.feed_is_stale));
        set("batchsuite_keeper_lag_seconds", lag);
        set("batchsuite_keeper_caught_up_timestamp_seconds", caught_up_at.map_or(0.0, unix_seconds));
        set("batchsuite_keeper_silent", flag(is_silent));
        set("batchsuite_refresh_rate", self.refresh_rate);
        set("batchsuite_refreshes_waiting", number(self.refreshes_waiting));
        set("batchsuite_pairs_not_stored", number(self.pairs_not_stored));
        for &kind in UpsTroubleKind::ALL {
            let lasts = self.ups.iter().any(|trouble| trouble.kind == kind);
            metrics::gauge!("batchsuite_ups_trouble", "environment" => name, "kind" => kind.name()).set(flag(lasts));
        }
        begin_counters(name);
    }
}

impl DeliveryHandle {
    /// Sets gauges of its [`health`](Self::health) through the [`metrics`] facade, labelled with `environment` and
    /// `consumer`: `batchsuite_delivery_here`, `batchsuite_delivery_lag_seconds`, `batchsuite_delivery_failing`. Call it
    /// in each process before each scrape.
    pub fn record_metrics(&self) {
        let (health, environment) = (self.health(), self.environment().name());
        let set = |name: &'static str, value: f64| {
            metrics::gauge!(name, "environment" => environment, "consumer" => self.consumer().to_owned()).set(value);
        };
        set("batchsuite_delivery_here", flag(health.is_here));
        set("batchsuite_delivery_lag_seconds", health.lag.as_secs_f64());
        set("batchsuite_delivery_failing", flag(health.handler_fails));
    }
}

/// A counter that appears with its first count looks to Prometheus as if it had never grown.
fn begin_counters(environment: &'static str) {
    for outcome in Judgement::OUTCOMES {
        for name in ["batchsuite_refreshes_total", "batchsuite_exchanges_total"] {
            metrics::counter!(name, "environment" => environment, "outcome" => outcome).increment(0);
        }
    }
    for kind in EventKind::ALL {
        metrics::counter!("batchsuite_events_total", "environment" => environment, "kind" => kind.name()).increment(0);
    }
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

fn unix_seconds(at: Timestamp) -> f64 {
    at.timestamp() as f64
}

fn number(number: usize) -> f64 {
    number as f64
}
