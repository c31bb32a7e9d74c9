//! The health of a process over Postgres and SQLite, with real faults: each shows within one interval and is gone within
//! one after its end. An interval is a read of the change feed, or a round of the keeper where only writes fail; both are
//! counted, not timed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{fs, sync::Arc, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuth, Client, Environment, FindingKind, Health, Policy,
    clock::SystemClock,
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    machine::UpsTroubleKind,
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{
    Backend, Database, FlakyStore, HOUR, Verb, company, eventually,
    log::Log,
    on_each_backend, opt_in,
    postgres::{Log as ServerLog, Server, TestSchema, keyring},
    proxy::{Proxy, Trouble},
};
use tokio::task::spawn_blocking;

on_each_backend!(troubles_at_ups_are_unhealthy_and_ready);

const INTERVAL: Duration = Duration::from_secs(1);

/// A fault is noticed by the call that it meets, and its end by the next one. Meanwhile the test may miss one more.
const WITHIN_ONE: usize = 3;

/// A process with a keeper, and how often it has read the feed and looked for work.
struct Process {
    auth: BatchSuiteAuth,
    store: Arc<FlakyStore>,
}

impl Process {
    /// A process that is well.
    async fn over(store: FlakyStore) -> Self {
        let store = Arc::new(store);
        let mut policy = Policy::default();
        (policy.feed_interval, policy.keeper_interval) = (INTERVAL, INTERVAL);
        let ups = FakeUps::start().await;
        let auth = ups.authenticator().clock(SystemClock).policy(policy).store(Arc::clone(&store)).build().unwrap();
        let process = Self { auth, store };
        eventually("the feed is read, and the keeper has looked", async || {
            process.intervals().iter().all(|count| *count > 1) && process.auth.health().is_healthy()
        })
        .await;
        process
    }

    /// The reads of the feed and the rounds of the keeper so far.
    fn intervals(&self) -> [usize; 2] {
        [self.store.calls(Verb::Changes), self.store.calls(Verb::Wake)]
    }

    /// Waits for this state, and checks that it came within one interval.
    async fn becomes(&self, what: &str, is_so: impl Fn(&Health) -> bool) -> Health {
        let before = self.intervals();
        let health = eventually(what, async || Some(self.auth.health()).filter(|health| is_so(health))).await;
        let passed = self.intervals().into_iter().zip(before).map(|(now, before)| now - before).min().unwrap();
        assert!(passed <= WITHIN_ONE, "{what}: only after {passed} intervals");
        health
    }

    async fn fails(&self) {
        let health = self.becomes("the fault is noticed", |health| !health.is_ready()).await;
        assert!(health.store_fails_since.is_some(), "{health:?}");
        assert!(health.store_error.is_some_and(|error| !error.is_empty()));
        assert!(self.auth.health().findings().contains(&FindingKind::StoreFails));
        // It stays so: no interval of the fault looks like its end.
        for _ in 0..20 {
            tokio::time::sleep(INTERVAL / 10).await;
            assert!(!self.auth.health().is_ready(), "the fault goes on: {:?}", self.auth.health());
        }
    }

    async fn recovers(&self) {
        self.becomes("the end is noticed", Health::is_ready).await;
        eventually("all is well", async || self.auth.health().is_healthy()).await;
    }
}

/// The loops whose calls a fault meets, with the number of their log lines about its beginning and its end.
fn told(log: &Log) -> Vec<(String, usize, usize)> {
    let count = |words: &str, what: &str| log.lines(words).iter().filter(|line| line.contains(what)).count();
    let lines = log.lines("the store fails");
    let mut loops: Vec<_> =
        lines.iter().filter_map(|line| Some(line.split_once("what=\"")?.1.split_once('"')?.0)).collect();
    loops.sort_unstable();
    loops.dedup();
    let told = loops
        .into_iter()
        .map(|what| (what.to_owned(), count("the store fails", what), count("the store works again", what)));
    told.collect()
}

/// Each loop that has met the fault tells its beginning once, and its end once with the number of failures.
async fn told_once(log: &Log) {
    eventually("each loop has told the end", async || told(log).iter().all(|(_, _, ended)| *ended > 0)).await;
    let told = told(log);
    assert!(!told.is_empty(), "{}", log.text());
    assert!(told.iter().all(|(_, begun, ended)| (*begun, *ended) == (1, 1)), "{told:?}");
    let ends = log.lines("the store works again");
    assert!(ends.iter().all(|line| line.contains("failures=") && !line.contains("failures=0 ")), "{ends:?}");
}

/// A server of the test's own, and a store on it that reaches it at `url`.
async fn on(server: &'static Server, url: &str) -> FlakyStore {
    let schema = TestSchema::new(server);
    let store = PostgresStore::at(url, keyring().await).schema(schema.name()).build().unwrap();
    store.migrate().await.unwrap();
    FlakyStore::over(store)
}

async fn server() -> &'static Server {
    // It ends with the program, like every server of the tests.
    spawn_blocking(|| Box::leak(Box::new(Server::start(ServerLog::Normal)))).await.unwrap()
}

#[tokio::test]
async fn a_postgres_that_is_stopped_and_started_again_is_noticed_and_told_once() {
    let server = server().await;
    let (log, _guard) = Log::of_this_test();
    let process = Process::over(on(server, server.url()).await).await;

    spawn_blocking(|| server.stop()).await.unwrap();
    process.fails().await;
    spawn_blocking(|| server.start_again()).await.unwrap();
    process.recovers().await;

    told_once(&log).await;
    process.auth.shutdown().await;
}

#[tokio::test]
async fn connections_that_are_cut_are_noticed_and_told_once() {
    let server = server().await;
    let proxy = Proxy::before(server).await;
    let (log, _guard) = Log::of_this_test();
    let process = Process::over(on(server, &proxy.url()).await).await;

    proxy.trouble(Trouble::CutAnswers);
    process.fails().await;
    proxy.trouble(Trouble::None);
    process.recovers().await;

    told_once(&log).await;
    process.auth.shutdown().await;
}

#[tokio::test]
async fn a_postgres_that_is_a_standby_after_a_fail_over_is_noticed() {
    let server = server().await;
    let process = Process::over(on(server, server.url()).await).await;
    let restart = || {
        server.stop();
        server.start_again();
    };

    server.become_standby();
    spawn_blocking(restart).await.unwrap();
    process.fails().await;
    fs::remove_file(server.directory().unwrap().join("data/standby.signal")).unwrap();
    spawn_blocking(restart).await.unwrap();
    process.recovers().await;
    process.auth.shutdown().await;
}

/// Reads go on in the sessions that exist; only writes fail.
#[tokio::test]
async fn a_postgres_that_becomes_read_only_under_its_sessions_is_noticed() {
    let server = server().await;
    let process = Process::over(on(server, server.url()).await).await;
    let operator = server.client().await;
    let set = async |setting: &str| {
        operator.batch_execute("SET default_transaction_read_only = off").await.unwrap();
        operator.batch_execute(&format!("ALTER SYSTEM {setting}")).await.unwrap();
        operator.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };

    set("SET default_transaction_read_only = on").await;
    process.fails().await;
    set("RESET default_transaction_read_only").await;
    process.recovers().await;
    process.auth.shutdown().await;
}

#[tokio::test]
async fn a_file_that_another_program_writes_to_for_longer_than_the_busy_time_out_is_noticed_and_told_once() {
    let database = Database::new(Backend::Sqlite).await;
    let Database::Sqlite(file) = &database else { unreachable!("a file") };
    let (log, _guard) = Log::of_this_test();
    let process = Process::over(FlakyStore::over(database.store(SystemClock).await)).await;
    let other = file.connection();

    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    process.fails().await;
    other.execute_batch("ROLLBACK").unwrap();
    process.recovers().await;

    told_once(&log).await;
    process.auth.shutdown().await;
}

/// A process that a trouble at UPS meets, over a real store.
async fn troubles_at_ups_are_unhealthy_and_ready(backend: Backend) {
    let limited = Fault::TooManyRequests { retry_after: Some("1".to_owned()) };
    for (fault, companies, expected) in [
        (Fault::Reset, 3, UpsTroubleKind::OutOfReach),
        (Fault::Blocked, 2, UpsTroubleKind::ClientBlocked),
        (limited, 1, UpsTroubleKind::RateLimited),
    ] {
        let (ups, database) = (FakeUps::start().await, Database::new(backend).await);
        let store = database.store(ups.clock()).await;
        let client = Client::new(ups.client_id(), ups.client_secret());
        let auth = BatchSuiteAuth::builder(Environment::Cie, client).base_url(ups.base_url()).clock(ups.clock());
        let auth = auth.redirect_uri(ups.redirect_uri()).http(ups.in_process()).store(store).without_keeper();
        let auth = auth.build().unwrap();
        let companies: Vec<_> = (0..companies).map(|number| company(&format!("company-{number}"))).collect();
        for company in &companies {
            opt_in(&auth, &ups, company).await;
        }
        let advance = async |by| {
            ups.clock().advance(by);
            database.advance(by).await;
        };
        advance(HOUR).await;
        ups.fault(Endpoint::Refresh, fault, Times::UntilCleared);
        for company in &companies {
            auth.access_token(company).await.unwrap_err();
        }

        eventually("the feed is read after the clock was moved", async || auth.health().is_ready()).await;
        let troubled = auth.health();
        assert!(!troubled.is_healthy() && troubled.is_ready(), "{expected:?}: {troubled:?}");
        assert_eq!(troubled.findings(), [FindingKind::Ups(expected)]);

        ups.clear_faults(Endpoint::Refresh);
        advance(Duration::from_secs(120)).await;
        for company in &companies {
            auth.access_token(company).await.unwrap();
        }
        eventually("all is well", async || auth.health().is_healthy()).await;
        auth.shutdown().await;
    }
}
