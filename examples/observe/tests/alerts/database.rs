//! Faults that only a database shows: damaged tokens, and no keeper in any process. The database works in a thread of its
//! own, so time is real here, and the recorder is that of all threads.

use batchsuite_auth::{BatchSuiteAuth, BatchSuiteAuthBuilder, Environment, Policy, fake_ups::FakeUps};
use batchsuite_store::SqliteStore;
use batchsuite_tests::{DAY, acme, eventually, opt_in, seconds, sqlite::TestFile};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{
    promtool::{INTERVAL, Scrapes},
    world::BEFORE,
};
use example_observe::metrics::{recorder, rendered};

/// The alerts of these faults.
pub(crate) const ALERTS: [&str; 2] = ["BatchsuiteUnreadable", "BatchsuiteKeeperBehind"];

/// A service over a database, and its scrapes.
struct Place {
    ups: FakeUps,
    file: TestFile,
    scrapes: Scrapes,
    exporter: PrometheusHandle,
}

/// Who asks for acme's token.
#[derive(PartialEq)]
enum Acme {
    IsUsed,
    IsIdle,
}

impl Place {
    async fn new(exporter: PrometheusHandle) -> Self {
        let file = TestFile::new();
        let ups = FakeUps::builder().manual_clock(file.clock.clone()).start().await;
        Self { ups, file, scrapes: Scrapes::default(), exporter }
    }

    fn process(&self, store: &SqliteStore) -> BatchSuiteAuthBuilder {
        let mut policy = Policy::default();
        policy.feed_interval = seconds(1) / 100;
        self.ups.authenticator().policy(policy).http(self.ups.in_process()).store(store.clone())
    }

    async fn live(&mut self, time: u64, auth: &BatchSuiteAuth, store: &SqliteStore, acme_is: Acme) {
        for _ in 0..time / INTERVAL {
            self.ups.clock().advance(seconds(INTERVAL));
            if acme_is == Acme::IsUsed {
                let _ = auth.access_token(&acme()).await;
            }
            // The feed is read in real time.
            eventually("the feed is read", async || !auth.health().feed_is_stale).await;
            store.overview(Environment::Cie).await.unwrap().record_metrics(Environment::Cie);
            self.scrapes.add(&rendered(auth, &[], &self.exporter));
        }
    }

    /// The service runs for a while, and stops.
    async fn runs_well(&mut self) -> u64 {
        let store = self.file.store().await;
        let auth = self.process(&store).build().unwrap();
        opt_in(&auth, &self.ups, &acme()).await;
        self.live(BEFORE, &auth, &store, Acme::IsUsed).await;
        auth.shutdown().await;
        store.close().await;
        self.scrapes.seconds()
    }

    fn expect(&self, healthy: u64, alert: &str) {
        let fires = self.scrapes.expect(&[(healthy, &[]), (self.scrapes.seconds(), &[alert])]);
        fires.unwrap_or_else(|error| panic!("{alert}: {error}"));
    }
}

/// One test, because there is one recorder for all threads.
#[tokio::test]
async fn damaged_tokens_and_a_service_without_a_keeper_fire_their_alerts_and_no_other() {
    let recorder = recorder().unwrap();
    let exporter = recorder.handle();
    metrics::set_global_recorder(recorder).expect("the first recorder");

    let mut place = Place::new(exporter.clone()).await;
    let healthy = place.runs_well().await;
    place.file.closed().await;
    place.file.connection().execute("UPDATE tokens SET refresh_token = x'00'", []).unwrap();
    let store = place.file.store().await;
    let auth = place.process(&store).build().unwrap();
    place.live(600, &auth, &store, Acme::IsUsed).await;
    place.expect(healthy, "BatchsuiteUnreadable");

    let mut place = Place::new(exporter).await;
    let healthy = place.runs_well().await;
    let store = place.file.store().await;
    let auth = place.process(&store).without_keeper().build().unwrap();
    place.ups.clock().advance(54 * DAY);
    place.live(600, &auth, &store, Acme::IsIdle).await;
    place.expect(healthy, "BatchsuiteKeeperBehind");
}
