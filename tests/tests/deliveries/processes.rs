//! Real processes that share a database, and are killed.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use batchsuite_auth::{BatchSuiteAuth, Client, Environment, fake_ups::FakeUps};
use batchsuite_tests::{
    Backend, Database, ShiftedClock, Worker, ada, company, events, eventually, on_each_backend, seconds,
};
use serde_json::json;
use tokio::time::sleep;

use crate::stage::CONSUMER;

on_each_backend!(
    three_processes_deliver_each_event_once_in_quiet_times,
    killed_before_its_cursor_moves_an_event_is_repeated_and_none_is_skipped,
    killed_after_its_cursor_moves_nothing_is_repeated,
    killed_at_any_moment_every_event_is_delivered_in_order,
);

/// A database, the test's own authenticator, and the file that the processes write into.
struct World {
    database: Database,
    clock: ShiftedClock,
    auth: BatchSuiteAuth,
    file: PathBuf,
}

/// Nothing listens there: the processes of these tests ask UPS nothing.
const NO_UPS: &str = "http://127.0.0.1:9";

impl World {
    async fn new(backend: Backend) -> Self {
        let (database, clock) = (Database::new(backend).await, ShiftedClock::default());
        let auth = BatchSuiteAuth::builder(Environment::Cie, Client::new(FakeUps::CLIENT_ID, FakeUps::CLIENT_SECRET))
            .base_url(NO_UPS.parse().unwrap())
            .redirect_uri("http://localhost:3000/callback".parse().unwrap())
            .store(database.store(clock.clone()).await)
            .clock(clock.clone())
            .without_keeper()
            .build()
            .unwrap();
        let file = std::env::temp_dir().join(format!("deliveries-{:016x}", rand::random::<u64>()));
        fs::write(&file, "").unwrap();
        Self { database, clock, auth, file }
    }

    /// A process that delivers, once it has seen the consumer's cursor. Its lease is a minute divided by `speed`.
    async fn worker(&self, name: &str, speed: u32) -> Worker {
        let [place, schema] = self.database.place();
        let ahead = self.clock.ahead().as_secs().to_string();
        let client = [FakeUps::CLIENT_ID, FakeUps::CLIENT_SECRET];
        let speed = speed.to_string();
        let arguments = [&place, &schema, NO_UPS, client[0], client[1], &ahead, "-", &speed, "-"];
        let worker = Worker::start(env!("CARGO_BIN_EXE_worker"), &arguments).await;
        let order = json!({"do": "deliver", "consumer": CONSUMER, "name": name, "file": self.file});
        let begun = worker.ask(order).await;
        assert!(begun["error"].is_null(), "{begun}");
        worker
    }

    /// Writes an event.
    async fn happen(&self) {
        self.auth.authenticate(&company("acme"), &ada()).await.unwrap();
    }

    /// The leases of dead processes end.
    async fn leases_end(&self, living: &Worker) {
        self.clock.advance(seconds(61));
        living.ask(json!({"do": "advance", "seconds": 61})).await;
        self.database.advance(seconds(61)).await;
    }

    /// The lines of the file: the process and the event.
    fn notes(&self) -> Vec<(String, u64)> {
        let text = fs::read_to_string(&self.file).unwrap();
        let note = |line: &str| line.split_once(' ').map(|(name, id)| (name.to_owned(), id.parse().unwrap()));
        text.lines().filter_map(note).collect()
    }

    fn delivered(&self) -> Vec<u64> {
        self.notes().into_iter().map(|(_, id)| id).collect()
    }

    /// Waits until every event of the log is in the file, and returns their numbers.
    async fn all_are_delivered(&self) -> Vec<u64> {
        let log: Vec<u64> = events(&self.auth, None).await.iter().map(|event| event.id.number()).collect();
        eventually("each event is delivered", async || {
            let delivered: BTreeSet<_> = self.delivered().into_iter().collect();
            log.iter().all(|id| delivered.contains(id))
        })
        .await;
        log
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

async fn three_processes_deliver_each_event_once_in_quiet_times(backend: Backend) {
    let world = World::new(backend).await;
    let workers = [world.worker("a", 1).await, world.worker("b", 1).await, world.worker("c", 1).await];

    for _ in 0..20 {
        for worker in &workers {
            worker.ask(json!({"do": "authenticate", "company": "acme"})).await;
        }
        world.happen().await;
    }
    let log = world.all_are_delivered().await;
    // Time for repetitions: each process reads the log several times.
    sleep(Duration::from_secs(2)).await;

    assert_eq!(log.len(), 80);
    assert_eq!(world.delivered(), log, "each once, in order");
}

async fn killed_before_its_cursor_moves_an_event_is_repeated_and_none_is_skipped(backend: Backend) {
    let world = World::new(backend).await;
    let first = world.worker("first", 1).await;
    let second = world.worker("second", 1).await;
    first.stop_at("before_delivered").await;
    world.happen().await;
    first.is_at("before_delivered").await;
    world.happen().await;

    first.kill().await;
    world.leases_end(&second).await;
    let log = world.all_are_delivered().await;

    let expected = [("first", log[0]), ("second", log[0]), ("second", log[1])];
    assert_eq!(world.notes(), expected.map(|(name, id)| (name.to_owned(), id)));
}

async fn killed_after_its_cursor_moves_nothing_is_repeated(backend: Backend) {
    let world = World::new(backend).await;
    let first = world.worker("first", 1).await;
    let second = world.worker("second", 1).await;
    first.stop_at("after_delivered").await;
    world.happen().await;
    first.is_at("after_delivered").await;
    world.happen().await;

    first.kill().await;
    world.leases_end(&second).await;
    let log = world.all_are_delivered().await;

    let expected = [("first", log[0]), ("second", log[1])];
    assert_eq!(world.notes(), expected.map(|(name, id)| (name.to_owned(), id)));
}

async fn killed_at_any_moment_every_event_is_delivered_in_order(backend: Backend) {
    const KILLS: usize = 6;
    let world = World::new(backend).await;
    let mut workers = Vec::new();
    for number in 0..3 {
        workers.push((number.to_string(), world.worker(&number.to_string(), 30).await));
    }
    for round in 0..KILLS {
        let seen = world.notes().len();
        let (writing, mut written) = (rand::random_range(3..15), 0);
        while written < writing || world.notes().len() == seen {
            world.happen().await;
            written += 1;
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_micros(rand::random_range(0..5_000))).await;
        // The process that delivers.
        let (name, _) = world.notes().pop().unwrap();
        let index = workers.iter().position(|(worker, _)| *worker == name).unwrap();
        workers.swap_remove(index).1.kill().await;
        let name = (3 + round).to_string();
        let worker = world.worker(&name, 30).await;
        workers.push((name, worker));
    }

    let log = world.all_are_delivered().await;

    let delivered = world.delivered();
    let mut once = delivered.clone();
    once.dedup();
    assert_eq!(once, log, "in order; a repetition follows its event");
    assert!(delivered.len() <= log.len() + KILLS, "a kill repeats one event at most: {delivered:?}");
}
