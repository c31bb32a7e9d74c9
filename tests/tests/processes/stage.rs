//! What every test here begins with: a database of its own, a UPS, and companies that opted in.

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
/// The lease of a claim, and what the last probe may have to wait beyond it.
const LEASE: Duration = Duration::from_secs(90);
/// A keeper finds within this what a dead process has left: the lease and two minutes.
const FOUND_WITHIN: Duration = Duration::from_secs(60 + 120);

/// A server that a test may stop: nobody else is on it.
pub(crate) fn own_server() -> &'static Server {
    Box::leak(Box::new(Server::start(Log::Normal)))
}

/// A server whose commits are on the disk when they are told.
pub(crate) fn server_that_waits_for_its_disk() -> &'static Server {
    let settings = "-c fsync=on -c full_page_writes=on -c synchronous_commit=on";
    Box::leak(Box::new(Server::start_with(Log::Normal, &[], settings)))
}

/// One database, one UPS, one time.
pub(crate) struct World {
    pub(crate) ups: Arc<FakeUpsState>,
    /// The test's own way in: opts in, removes, looks. It never refreshes.
    pub(crate) auth: BatchSuiteAuth,
    database: Database,
    address: SocketAddr,
    clock: ShiftedClock,
}

impl World {
    /// On Postgres.
    pub(crate) async fn new() -> Self {
        Self::with(Backend::Postgres).await
    }

    pub(crate) async fn with(backend: Backend) -> Self {
        Self::over(Database::new(backend).await).await
    }

    /// On Postgres, on this server.
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

    /// A process that reaches UPS by way of `post`.
    pub(crate) async fn worker_by_way_of(&self, post: &Post) -> Worker {
        self.hurried_worker(post, 1, None).await
    }

    /// A process that reaches UPS by way of `post`, whose times are `speed` times shorter than the default ones. Its HTTP client
    /// ends a request after `deadline`.
    pub(crate) async fn hurried_worker(&self, post: &Post, speed: u32, deadline: Option<Duration>) -> Worker {
        let deadline = deadline.map_or("-".to_owned(), |deadline| deadline.as_millis().to_string());
        self.start_by_way_of(post.address(), &self.place(), "-", [&speed.to_string(), &deadline]).await
    }

    /// A way to this world's UPS on which answers can be held.
    pub(crate) async fn post(&self) -> Post {
        Post::to(self.address).await
    }

    /// A process that reaches the database of this world at `url`.
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

    /// Waits until the server has done all that the process of this name asked for before it was killed. A file is written by
    /// nobody else than the process itself.
    pub(crate) async fn nothing_is_left_of(&self, name: &str) {
        let Some(server) = self.database.server() else { return };
        let client = server.client().await;
        let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        let is_gone = async || client.query_one(connections, &[&name]).await.unwrap().get::<_, i64>(0) == 0;
        eventually("no connection is left", is_gone).await;
    }

    /// A process that refreshes what is due, without being asked.
    pub(crate) async fn keeper(&self) -> Worker {
        self.start(&self.place(), "keeper").await
    }

    /// Where the database is.
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

    /// `prefix-0`, `prefix-1`, … have opted in, and their access tokens have ended.
    pub(crate) async fn companies(&self, prefix: &str, count: usize) {
        for index in 0..count {
            self.opt_in(&format!("{prefix}-{index}")).await;
        }
        self.access_tokens_end(&[]).await;
    }

    pub(crate) async fn remove(&self, name: &str) {
        self.auth.remove_auth(&company(name), &ada()).await.unwrap();
    }

    /// Time passes for everybody.
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

    /// Nobody asks for a token for so long that the refresh tokens would end within days.
    pub(crate) async fn idle_weeks_pass(&self, workers: &[&Worker]) {
        self.advance(54 * DAY, workers).await;
    }

    /// Leases end, and pauses after them.
    pub(crate) async fn leases_end(&self, workers: &[&Worker]) {
        self.advance(LEASE, workers).await;
    }

    /// So much time passes that a keeper finds what a dead process has left.
    pub(crate) async fn a_keeper_must_have_found_it(&self, workers: &[&Worker]) {
        self.advance(FOUND_WITHIN, workers).await;
    }

    /// UPS is to be asked again about a refresh token that it refused; `times`: how often it has been already.
    pub(crate) async fn a_second_opinion_is_due(&self, times: usize, workers: &[&Worker]) {
        self.advance(Policy::default().second_opinions[times], workers).await;
    }

    /// Every row that has woken can be taken by any keeper, however short ago one has taken it.
    pub(crate) async fn nothing_is_hidden(&self) {
        self.database.execute("UPDATE {schema}.grants SET hidden_until = NULL").await;
    }

    /// How many rotations UPS did.
    pub(crate) fn rotations(&self) -> u64 {
        self.ups.requests().count(Endpoint::Refresh, Outcome::Ok)
    }

    /// How many refreshes UPS was asked for.
    pub(crate) fn refreshes(&self) -> u64 {
        self.ups.requests().total(Endpoint::Refresh)
    }

    pub(crate) async fn status(&self, name: &str) -> Status {
        self.auth.status(&company(name)).await.unwrap().status
    }

    /// Why the company has to opt in again, if it has to.
    pub(crate) async fn cause(&self, name: &str) -> Option<CauseKind> {
        cause(&self.auth, &company(name)).await
    }

    pub(crate) async fn log(&self, name: &str) -> Vec<Event> {
        events(&self.auth, Some(&company(name))).await
    }

    pub(crate) async fn events(&self, name: &str) -> Vec<EventKind> {
        self.log(name).await.into_iter().map(|event| event.kind).collect()
    }

    /// Whether UPS's API takes the token that a process handed out.
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

    /// Nobody was told of a password change, and nobody left a transaction open.
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
        // A migration is a transaction of several statements, and another test may be at it: that one ends.
        let none_is_left = async || {
            let now = look().await;
            left.retain(|transaction| now.contains(transaction));
            left.is_empty()
        };
        eventually("no transaction is left open", none_is_left).await;
    }
}
