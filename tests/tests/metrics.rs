//! Counts through the `metrics` facade. The recorder belongs to the whole process, so this is a separate program.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    Environment, EventFilter,
    fake_ups::{Answer, Endpoint, FakeUps, Times},
};
use batchsuite_store::{MemoryStore, PostgresStore};
use batchsuite_tests::{
    company, opt_in,
    postgres::{Log, Server, TestSchema, keyring},
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Everything recorded, by name and labels: counts, values, and the number of entries of each histogram.
#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

/// One metric of the book.
struct Line(Book, String);

impl Line {
    fn write(&self, change: impl FnOnce(f64) -> f64) {
        let mut lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(self.1.clone()).or_default();
        *line = change(*line);
    }
}

impl CounterFn for Line {
    fn increment(&self, by: u64) {
        self.write(|count| count + by as f64);
    }
    fn absolute(&self, count: u64) {
        self.write(|_| count as f64);
    }
}

impl GaugeFn for Line {
    fn increment(&self, by: f64) {
        self.write(|value| value + by);
    }
    fn decrement(&self, by: f64) {
        self.write(|value| value - by);
    }
    fn set(&self, value: f64) {
        self.write(|_| value);
    }
}

impl HistogramFn for Line {
    fn record(&self, _: f64) {
        self.write(|times| times + 1.0);
    }
}

impl Book {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Line(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn value(&self, line: &str) -> Option<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(line).copied()
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

/// A single test, because there is only one recorder.
#[tokio::test]
async fn requests_by_outcome_and_the_operators_view_are_counted_and_no_label_names_a_company() {
    let book = Book::default();
    metrics::set_global_recorder(book.clone()).expect("the first recorder");
    let company = company("acme-canary");

    // An opt-in, a rotation and an unanswered refresh.
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().without_keeper().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    opt_in(&auth, &ups, &company).await;
    ups.clock().advance(Duration::from_secs(7200));
    auth.access_token(&company).await.unwrap();
    ups.fault(Endpoint::Refresh, Answer::status(500), Times::Once);
    ups.clock().advance(Duration::from_secs(7200));
    auth.access_token(&company).await.unwrap_err();

    assert_eq!(book.value("batchsuite_exchanges_total{environment=cie,outcome=pair}"), Some(1.0));
    assert_eq!(book.value("batchsuite_refreshes_total{environment=cie,outcome=pair}"), Some(1.0));
    assert_eq!(book.value("batchsuite_refreshes_total{environment=cie,outcome=unanswered}"), Some(1.0));
    assert_eq!(book.value("batchsuite_refresh_seconds{environment=cie}"), Some(2.0));

    // The metrics for operators.
    let server = Server::shared(Log::Normal);
    let schema = TestSchema::new(server);
    let store = PostgresStore::at(server.url(), keyring().await).schema(schema.name()).build().unwrap();
    store.migrate().await.unwrap();
    let auth = ups.authenticator().without_keeper().store(store.clone()).build().unwrap();
    opt_in(&auth, &ups, &company).await;
    let overview = store.overview(Environment::Cie).await.unwrap();
    overview.record_metrics(Environment::Cie);

    assert_eq!(book.value("batchsuite_companies{environment=cie,status=authenticated}"), Some(1.0));
    assert_eq!(book.value("batchsuite_companies{environment=cie,status=reauth_required}"), Some(0.0));
    assert_eq!(book.value("batchsuite_consents_pending{environment=cie}"), Some(0.0));
    assert_eq!(book.value("batchsuite_companies_due{environment=cie}"), Some(0.0));
    assert_eq!(book.value("batchsuite_oldest_wake_seconds{environment=cie}"), Some(0.0));

    // Unreadable data are left out and counted.
    let damage =
        format!("UPDATE {0}.tokens SET access_token = ''; UPDATE {0}.events SET content = '{{}}'", schema.name());
    server.client().await.batch_execute(&damage).await.unwrap();
    assert!(auth.events(EventFilter::default()).await.unwrap().items.is_empty());
    assert!(auth.status(&company).await.unwrap().tokens_unreadable);

    assert_eq!(book.value("batchsuite_unreadable_total{what=event}"), Some(2.0));
    assert_eq!(book.value("batchsuite_unreadable_total{what=tokens}"), Some(1.0));
    assert!(!format!("{book:?}").contains("canary"));
}
