//! Counts through the `metrics` facade. The recorder belongs to the whole process, so this is a separate program.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    Environment, EventFilter, EventKind, LinkSecrets, UpsTroubleKind,
    fake_ups::{Answer, Edit, Endpoint, FakeUps, Fault, Times},
};
use batchsuite_store::{MemoryStore, PostgresStore};
use batchsuite_tests::{
    FlakyStore, ada, company, opt_in,
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

/// A single test, because there is only one recorder for all threads.
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

#[tokio::test(start_paused = true)]
async fn the_state_of_a_process_is_gauges_and_counters_begin_at_zero() {
    let book = Book::default();
    let _recorder = metrics::set_default_local_recorder(&book);
    let company = company("acme-canary");
    let ups = FakeUps::start().await;
    let store = Arc::new(FlakyStore::over(MemoryStore::with_clock(ups.clock())));
    let builder = ups.authenticator().http(ups.in_process()).store(Arc::clone(&store));
    let auth = builder.without_keeper().build().unwrap();
    auth.health().record_metrics(Environment::Cie);

    for (line, value) in [
        ("batchsuite_ready{environment=cie}", 1.0),
        ("batchsuite_healthy{environment=cie}", 1.0),
        ("batchsuite_store_failing{environment=cie}", 0.0),
        ("batchsuite_feed_stale{environment=cie}", 0.0),
        ("batchsuite_keeper_lag_seconds{environment=cie}", 0.0),
        ("batchsuite_keeper_caught_up_timestamp_seconds{environment=cie}", 0.0),
        ("batchsuite_keeper_silent{environment=cie}", 0.0),
        ("batchsuite_refresh_rate{environment=cie}", 25.0),
        ("batchsuite_refreshes_waiting{environment=cie}", 0.0),
        ("batchsuite_pairs_not_stored{environment=cie}", 0.0),
        ("batchsuite_events_total{environment=cie,kind=invalidated}", 0.0),
        ("batchsuite_refreshes_total{environment=cie,outcome=refused}", 0.0),
        ("batchsuite_exchanges_total{environment=cie,outcome=pair}", 0.0),
    ] {
        assert_eq!(book.value(line), Some(value), "{line}");
    }
    for kind in UpsTroubleKind::ALL {
        let line = format!("batchsuite_ups_trouble{{environment=cie,kind={}}}", kind.name());
        assert_eq!(book.value(&line), Some(0.0), "{line}");
    }
    assert!(book.value("batchsuite_feed_age_seconds{environment=cie}").is_some());

    opt_in(&auth, &ups, &company).await;
    ups.clock().advance(Duration::from_secs(7200));
    ups.fault(Endpoint::Refresh, Fault::TooManyRequests { retry_after: None }, Times::Once);
    auth.access_token(&company).await.unwrap_err();
    store.go_away();
    auth.status(&company).await.unwrap_err();
    auth.health().record_metrics(Environment::Cie);

    for (line, value) in [
        ("batchsuite_ready{environment=cie}", 0.0),
        ("batchsuite_healthy{environment=cie}", 0.0),
        ("batchsuite_store_failing{environment=cie}", 1.0),
        ("batchsuite_ups_trouble{environment=cie,kind=rate_limited}", 1.0),
        ("batchsuite_events_total{environment=cie,kind=started}", 1.0),
        ("batchsuite_events_total{environment=cie,kind=authenticated}", 1.0),
        ("batchsuite_refreshes_total{environment=cie,outcome=rate_limited}", 1.0),
    ] {
        assert_eq!(book.value(line), Some(value), "{line}");
    }
    assert!(!format!("{book:?}").contains("canary"));
}

/// The log has events of consents, a connect link, steps, UPS's answers and the client.
#[tokio::test(start_paused = true)]
async fn every_event_of_the_log_is_counted_once() {
    let book = Book::default();
    let _recorder = metrics::set_default_local_recorder(&book);
    let (ups, company) = (FakeUps::start().await, company("acme"));
    let store = MemoryStore::with_clock(ups.clock());
    let auth = ups.authenticator().http(ups.in_process()).store(store).build().unwrap();
    opt_in(&auth, &ups, &company).await;
    let trip = auth.authenticate(&company, &ada()).await.unwrap();
    let declined = ups.decline(&trip.url).await;
    auth.callback(&ada(), &declined, &trip.browser_secret).await.unwrap_err();
    let link = auth.connect_link(&company, &ada()).await.unwrap();
    auth.follow_link(&link.token, &LinkSecrets::default()).await.unwrap();
    ups.fault(Endpoint::Refresh, Edit::default().set("token_type", "mac"), Times::Once);
    ups.fault(Endpoint::Refresh, Fault::TooManyRequests { retry_after: None }, Times::Once);
    ups.fault(Endpoint::Refresh, Fault::Hang, Times::Exactly(3));
    for _ in 0..8 {
        ups.clock().advance(Duration::from_secs(7200));
        let _ = auth.access_token(&company).await;
        // Longer than a lease.
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    ups.change_password(FakeUps::USER);
    ups.clock().advance(Duration::from_secs(7200));
    auth.access_token(&company).await.unwrap_err();
    auth.remove_auth(&company, &ada()).await.unwrap();
    auth.shutdown().await;

    let mut log: BTreeMap<_, f64> = BTreeMap::new();
    for event in auth.events(EventFilter::new().with_limit(1000)).await.unwrap().items {
        *log.entry(event.kind.name()).or_default() += 1.0;
    }
    for kind in EventKind::ALL {
        let line = format!("batchsuite_events_total{{environment=cie,kind={kind}}}");
        assert_eq!(book.value(&line), log.get(kind.name()).copied(), "{kind}");
    }
    for kind in ["started", "declined", "link_followed", "refreshed", "odd_answer", "out_of_reach", "removed"] {
        assert!(log.contains_key(kind), "{kind}: {log:?}");
    }
}
