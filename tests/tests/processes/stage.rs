//! The common setup of the tests: a database, a UPS, and companies that have opted in.

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuth, Client, Environment, Policy,
    events::{Event, EventKind},
    fake_ups::{Endpoint, FakeUps, FakeUpsState, Outcome},
    machine::CauseKind,
    status::Status,
};
use batchsuite_tests::{
    Backend, DAY, Database, HOUR, ShiftedClock, Worker, ada, cause, company, events, eventually, opt_in,
    postgres::{Log, Server},
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::post::Post;

const CALLBACK: &str = "http://localhost:3000/callback";
const PASSWORD: &str = "password";
/// The lease of a claim, plus the longest that the last probe may wait beyond it.
const LEASE: Duration = Duration::from_secs(90);
/// A keeper finds the work of a dead process within this time: the lease and two minutes.
const FOUND_WITHIN: Duration = Duration::from_secs(60 + 120);

/// A server that a test may stop, because no other test uses it.
pub(crate) fn own_server() -> &'static Server {
    Box::leak(Box::new(Server::start(Log::Normal)))
}

/// A server that acknowledges a commit only once it is on the disk.
pub(crate) fn server_that_waits_for_its_disk() -> &'static Server {
    let settings = "-c fsync=on -c full_page_writes=on -c synchronous_commit=on";
    Box::leak(Box::new(Server::start_with(Log::Normal, &[], settings)))
}

/// One database, one UPS, and one time for both.
pub(crate) struct World {
    pub(crate) ups: Arc<FakeUpsState>,
    /// The test's own authenticator: it opts in, removes and reads, and never refreshes.
    pub(crate) auth: BatchSuiteAuth,
    database: Database,
    address: SocketAddr,
    clock: ShiftedClock,
}

impl World {
    /// A world on Postgres.
    pub(crate) async fn new() -> Self {
        Self::with(Backend::Postgres).await
    }

    pub(crate) async fn with(backend: Backend) -> Self {
        Self::over(Database::new(backend).await).await
    }

    /// A world on this Postgres server.
    pub(crate) async fn on(server: &'static Server) -> Self {
        Self::over(Database::on(server).await).await
    }

    async fn over(database: Database) -> Self {
        let ups = FakeUps::builder()
            .redirect_uri(CALLBACK)
            .user(FakeUps::USER, PASSWORD)
            .unsigned_access_tokens()
            .build()
            .unwrap();
        let ups = Arc::new(ups);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(fake_ups::serve(listener, Arc::clone(&ups), pending()));

        let clock = ShiftedClock::default();
        let client = Client::new(FakeUps::CLIENT_ID, FakeUps::CLIENT_SECRET);
        let auth = BatchSuiteAuth::builder(Environment::Cie, client)
            .base_url(format!("http://{address}").parse().unwrap())
            .redirect_uri(CALLBACK.parse().unwrap())
            .store(database.store(clock.clone()).await)
            .clock(clock.clone())
            .without_keeper()
            .build()
            .unwrap();
        Self { ups, auth, database, address, clock }
    }

    pub(crate) async fn worker(&self) -> Worker {
        self.start(&self.place(), "-").await
    }

    /// A process that reaches UPS through `post`.
    pub(crate) async fn worker_by_way_of(&self, post: &Post) -> Worker {
        self.hurried_worker(post, 1, None).await
    }

    /// A process that reaches UPS through `post`, with all default durations divided by `speed`. Its HTTP client ends a
    /// request after `deadline`.
    pub(crate) async fn hurried_worker(&self, post: &Post, speed: u32, deadline: Option<Duration>) -> Worker {
        let deadline = deadline.map_or("-".to_owned(), |deadline| deadline.as_millis().to_string());
        self.start_by_way_of(post.address(), &self.place(), "-", [&speed.to_string(), &deadline]).await
    }

    /// A path to this world's UPS on which answers can be held.
    pub(crate) async fn post(&self) -> Post {
        Post::to(self.address).await
    }

    /// A process that reaches this world's database at `url`.
    pub(crate) async fn worker_at(&self, url: &str) -> Worker {
        self.start(url, "-").await
    }

    /// A process whose connections to the database have this name.
    pub(crate) async fn worker_called(&self, name: &str) -> Worker {
        match self.database.server() {
            Some(server) => self.worker_at(&format!("{} application_name={name}", server.url())).await,
            None => self.worker().await,
        }
    }

    /// Waits until the server has executed everything that the killed process of this name had sent. Files need no
    /// wait, because only the process itself writes to them.
    pub(crate) async fn nothing_is_left_of(&self, name: &str) {
        let Some(server) = self.database.server() else { return };
        let client = server.client().await;
        let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        let is_gone = async || client.query_one(connections, &[&name]).await.unwrap().get::<_, i64>(0) == 0;
        eventually("no connection is left", is_gone).await;
    }

    /// A process that refreshes due companies by itself.
    pub(crate) async fn keeper(&self) -> Worker {
        self.start(&self.place(), "keeper").await
    }

    /// The location of the database.
    fn place(&self) -> String {
        let [database, _] = self.database.place();
        database
    }

    async fn start(&self, url: &str, keeper: &str) -> Worker {
        self.start_by_way_of(self.address, url, keeper, ["1", "-"]).await
    }

    async fn start_by_way_of(&self, ups: SocketAddr, url: &str, keeper: &str, times: [&str; 2]) -> Worker {
        let (ups, ahead) = (format!("http://{ups}"), self.clock.ahead().as_secs().to_string());
        let client = [FakeUps::CLIENT_ID, FakeUps::CLIENT_SECRET];
        let [_, schema] = self.database.place();
        Worker::start(
            env!("CARGO_BIN_EXE_worker"),
            &[url, &schema, &ups, client[0], client[1], &ahead, keeper, times[0], times[1]],
        )
        .await
    }

    pub(crate) async fn workers(&self, count: usize) -> Vec<Worker> {
        stream::iter(0..count).then(|_| self.worker()).collect().await
    }

    pub(crate) async fn opt_in(&self, name: &str) {
        opt_in(&self.auth, &self.ups, &company(name)).await;
    }

    /// Opts in `prefix-0`, `prefix-1`, …, with expired access tokens.
    pub(crate) async fn companies(&self, prefix: &str, count: usize) {
        for index in 0..count {
            self.opt_in(&format!("{prefix}-{index}")).await;
        }
        self.access_tokens_end(&[]).await;
    }

    pub(crate) async fn remove(&self, name: &str) {
        self.auth.remove_auth(&company(name), &ada()).await.unwrap();
    }

    /// Advances the time of UPS, the database and these processes.
    async fn advance(&self, by: Duration, workers: &[&Worker]) {
        self.clock.advance(by);
        self.ups.advance(by);
        for worker in workers {
            worker.ask(json!({"do": "advance", "seconds": by.as_secs()})).await;
        }
        self.database.advance(by).await;
    }

    pub(crate) async fn access_tokens_end(&self, workers: &[&Worker]) {
        self.advance(HOUR, workers).await;
    }

    /// Advances by weeks without callers, until the refresh tokens would expire within days.
    pub(crate) async fn idle_weeks_pass(&self, workers: &[&Worker]) {
        self.advance(54 * DAY, workers).await;
    }

    /// Advances past the leases and the pauses after them.
    pub(crate) async fn leases_end(&self, workers: &[&Worker]) {
        self.advance(LEASE, workers).await;
    }

    /// Advances until a keeper must have found the work of a dead process.
    pub(crate) async fn a_keeper_must_have_found_it(&self, workers: &[&Worker]) {
        self.advance(FOUND_WITHIN, workers).await;
    }

    /// Advances until UPS must be asked again about a refused refresh token. `times`: the number of earlier requests.
    pub(crate) async fn a_second_opinion_is_due(&self, times: usize, workers: &[&Worker]) {
        self.advance(Policy::default().second_opinions[times], workers).await;
    }

    /// Lets any keeper take every due row, even one that was taken a moment ago.
    pub(crate) async fn nothing_is_hidden(&self) {
        self.database.execute("UPDATE {schema}.grants SET hidden_until = NULL").await;
    }

    /// The number of UPS's rotations.
    pub(crate) fn rotations(&self) -> u64 {
        self.ups.requests().count(Endpoint::Refresh, Outcome::Ok)
    }

    /// The number of refresh requests at UPS.
    pub(crate) fn refreshes(&self) -> u64 {
        self.ups.requests().total(Endpoint::Refresh)
    }

    pub(crate) async fn status(&self, name: &str) -> Status {
        self.auth.status(&company(name)).await.unwrap().status
    }

    /// The cause of a required new opt-in, if any.
    pub(crate) async fn cause(&self, name: &str) -> Option<CauseKind> {
        cause(&self.auth, &company(name)).await
    }

    pub(crate) async fn log(&self, name: &str) -> Vec<Event> {
        events(&self.auth, Some(&company(name))).await
    }

    pub(crate) async fn events(&self, name: &str) -> Vec<EventKind> {
        self.log(name).await.into_iter().map(|event| event.kind).collect()
    }

    /// Asserts that UPS's API accepts the token that a process returned.
    #[track_caller]
    pub(crate) fn assert_works(&self, answer: &Value) {
        let token = answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}"));
        let request = http::Request::get("/api/track/v1/details/1Z999AA10123456784")
            .header("authorization", format!("Bearer {token}"))
            .header("transId", "t-1")
            .header("transactionSrc", "test");
        let reply = self.ups.respond(&request.body(Vec::new()).unwrap());
        assert_eq!(reply.response.status(), 200, "UPS refuses the token");
    }

    /// Checks that no password change was reported and no transaction was left open.
    pub(crate) async fn end(self) {
        for event in events(&self.auth, None).await {
            let shown = format!("{event:?}");
            assert!(!shown.contains("OptInInvalidated"), "{shown}");
        }
        self.no_transaction_is_left_open().await;
    }

    pub(crate) async fn no_transaction_is_left_open(self) {
        let open = "SELECT pid, xact_start::text FROM pg_stat_activity
            WHERE application_name = 'batchsuite' AND state LIKE 'idle in transaction%'";
        let Some(server) = self.database.server() else { return };
        let client = server.client().await;
        let look = async || -> Vec<(i32, Option<String>)> {
            client.query(open, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        let mut left = look().await;
        // A migration in another test is a transaction of several statements. It ends by itself.
        let none_is_left = async || {
            let now = look().await;
            left.retain(|transaction| now.contains(transaction));
            left.is_empty()
        };
        eventually("no transaction is left open", none_is_left).await;
    }
}
