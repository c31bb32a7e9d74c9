//! Silent connections: TCP acknowledges every byte, but no answer arrives.

use std::{future::Future, pin::Pin, time::Duration};

use batchsuite_auth::{
    events::EventKind,
    status::ListedAs,
    store::{Delivery, DeliveryEnd, ListQuery, Prune, Saved, Store, StoreError, StoreErrorKind, StoredTokens},
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::{Gate, HOUR, eventually, log::Log, postgres::keyring, proxy::Proxy};
use tokio::{task::JoinSet, time::timeout};
use tokio_postgres::Client as PostgresClient;

use crate::stage::{
    self, CIE, Stage, all, company, consent, events, id, new_pair, paired, put, rotation, server, told, unchanged,
};

/// The store's deadline.
const DEADLINE: Duration = Duration::from_secs(3);
/// The test's time limit, for calls that would never end.
const LONG: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 3;

/// A store that reaches the server through a proxy.
struct Through {
    proxy: Proxy,
    stage: Stage,
}

impl Through {
    async fn new() -> Self {
        Self::with(DEADLINE).await
    }

    async fn with(deadline: Duration) -> Self {
        let proxy = Proxy::before(server()).await;
        let stage = Stage::with(&proxy.url(), |builder| builder.connections(CONNECTIONS).deadline(deadline)).await;
        Self { proxy, stage }
    }

    /// Opens all connections of the pool and leaves them idle.
    async fn fill(&self) {
        let blocker = blocked(&self.stage).await;
        let mut reads = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let store = self.stage.store.clone();
            reads.spawn(async move { store.load(&company("acme")).await.map(drop) });
        }
        waiting(&self.stage, CONNECTIONS as i64).await;
        blocker.batch_execute("ROLLBACK").await.unwrap();
        reads.join_all().await;
    }
}

/// A client that blocks all reads and writes of grants until it rolls back.
async fn blocked(stage: &Stage) -> PostgresClient {
    let blocker = server().client().await;
    blocker.batch_execute(&format!("BEGIN; LOCK TABLE {}.grants", stage.schema.name())).await.unwrap();
    blocker
}

/// Returns when this many statements wait at the server.
async fn waiting(stage: &Stage, statements: i64) {
    stage::waiting(&server().client().await, stage.schema.name(), statements).await;
}

pub(crate) type Call = for<'a> fn(&'a PostgresStore) -> Answer<'a>;
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// A process's reader of the log.
fn delivery() -> Delivery {
    Delivery { consumer: "mails".to_owned(), holder: uuid::Uuid::nil() }
}

/// Calls of all kinds. Each can be repeated.
pub(crate) const CALLS: &[(&str, Call)] = &[
    ("load", |store| Box::pin(async { store.load(&company("acme")).await.map(drop) })),
    ("save", |store| {
        Box::pin(async {
            let row = store.load(&company("acme")).await?;
            store.save(unchanged(&row)).await.map(drop)
        })
    }),
    ("save a pair", |store| {
        Box::pin(async {
            let row = store.load(&company("acme")).await?;
            store.save(rotation(&row, "1")).await.map(drop)
        })
    }),
    ("put_consent", |store| Box::pin(async { put(store, consent(&company("acme"))).await })),
    ("find_consent", |store| {
        Box::pin(async { store.find_consent(CIE, &consent(&company("acme")).state).await.map(drop) })
    }),
    ("use_consent", |store| {
        Box::pin(async { store.use_consent(CIE, consent(&company("acme")).consent.id, None).await.map(drop) })
    }),
    ("wake", |store| Box::pin(async { store.wake(CIE, 10).await.map(drop) })),
    ("record_use", |store| Box::pin(async { store.record_use(CIE, &[id(&company("acme"))]).await })),
    ("list", |store| Box::pin(async { store.list(all()).await.map(drop) })),
    ("list some", |store| {
        let query = ListQuery { listed_as: Some(vec![ListedAs::ReauthRequired]), ..all() };
        Box::pin(async { store.list(query).await.map(drop) })
    }),
    ("events", |store| Box::pin(async { store.events(events()).await.map(drop) })),
    ("append", |store| {
        Box::pin(async { store.append(CIE, told(&company("acme"), EventKind::Failed)).await.map(drop) })
    }),
    ("prune", |store| {
        let prune = Prune { environment: CIE, older_than: HOUR, limit: 10, undelivered: false };
        Box::pin(async move { store.prune(prune).await.map(drop) })
    }),
    ("changes", |store| Box::pin(async { store.changes(CIE, None, Duration::ZERO).await.map(drop) })),
    ("take_delivery", |store| Box::pin(async { store.take_delivery(CIE, &delivery(), HOUR).await.map(drop) })),
    ("advance_delivery", |store| {
        let then = DeliveryEnd::Renew(HOUR);
        Box::pin(async move { store.advance_delivery(CIE, &delivery(), Default::default(), then).await.map(drop) })
    }),
    ("overview", |store| Box::pin(async { store.overview(CIE).await.map(drop) })),
    ("check", |store| Box::pin(async { store.check().await })),
    ("migrate", |store| Box::pin(async { store.migrate().await })),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_a_silent_connection_ends_and_the_next_one_goes_over_a_new_connection() {
    let mut calls = JoinSet::new();
    for &(name, call) in CALLS {
        calls.spawn(async move {
            let Through { proxy, stage } = &Through::new().await;
            call(&stage.store).await.unwrap();
            proxy.silence_connections();

            let silent = timeout(LONG, call(&stage.store)).await.unwrap_or_else(|_| panic!("{name} does not end"));
            let next = timeout(LONG, call(&stage.store)).await.unwrap_or_else(|_| panic!("{name} does not end"));

            assert_eq!(silent.unwrap_err().kind(), StoreErrorKind::Unavailable, "{name}");
            assert!(next.is_ok(), "{name}: {next:?}");
        });
    }
    calls.join_all().await;
}

#[tokio::test]
async fn one_silent_connection_takes_those_with_it_that_lie_idle() {
    let through = Through::new().await;
    through.fill().await;
    let row = through.stage.paired(&company("acme")).await;
    through.proxy.silence_connections();
    let rotation = rotation(&row, "2");

    let silent = timeout(LONG, through.stage.store.save(rotation.clone())).await.unwrap();
    let next = timeout(LONG, through.stage.store.save(rotation)).await.unwrap();

    assert_eq!(silent.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(matches!(next, Ok(Saved::Yes { .. })), "{next:?}");
}

#[tokio::test]
async fn a_pool_that_silent_connections_have_used_up_takes_a_pair_again() {
    let through = Through::new().await;
    let store = &through.stage.store;
    let row = through.stage.paired(&company("acme")).await;
    through.fill().await;
    through.proxy.silence_connections();
    let mut reads = JoinSet::new();
    for _ in 0..4 * CONNECTIONS {
        let store = store.clone();
        reads.spawn(async move { store.load(&company("acme")).await.map(drop) });
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }

    let stored = timeout(LONG, store.save(rotation(&row, "2"))).await.unwrap();

    assert!(matches!(stored, Ok(Saved::Yes { .. })), "{stored:?}");
    timeout(LONG, reads.join_all()).await.unwrap();
}

/// The server accepts no connection at first, and accepts them again later.
#[tokio::test]
async fn while_everything_is_silent_every_call_ends_and_afterwards_none_fails() {
    let Through { proxy, stage } = Through::new().await;
    proxy.silence_everything();
    for _ in 0..2 {
        let silent = timeout(LONG, stage.store.load(&company("acme"))).await.unwrap();
        assert_eq!(silent.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }

    proxy.go_on();

    stage.store.load(&company("acme")).await.unwrap();
}

#[tokio::test]
async fn one_line_of_the_log_says_that_connections_are_silent() {
    let through = Through::new().await;
    through.fill().await;
    through.proxy.silence_connections();
    let (acme, other) = (company("acme"), company("other"));
    let (log, _guard) = Log::of_this_test();

    let _ = tokio::join!(through.stage.store.load(&acme), through.stage.store.load(&other));
    assert_eq!(log.lines("does not answer").len(), 1);

    // A later silence is told again.
    through.fill().await;
    through.proxy.silence_connections();
    let _ = through.stage.store.load(&acme).await;
    assert_eq!(log.lines("does not answer").len(), 2);
}

/// The deadline is far away: a connection in doubt must not wait for it.
#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_silent_connection_behind() {
    let through = Through::with(2 * LONG).await;
    through.fill().await;
    through.proxy.silence_connections();
    for _ in 0..CONNECTIONS {
        let key = company("acme");
        let given_up = timeout(Duration::from_millis(50), through.stage.store.load(&key)).await;
        assert!(given_up.is_err());
    }

    let next = timeout(LONG, through.stage.store.load(&company("acme"))).await;

    next.expect("the call gets no silent connection").unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_statement_at_the_server() {
    // The server's own limit is far away as well.
    let stage = Stage::with(server().url(), |builder| builder.deadline(10 * LONG)).await;
    let blocker = blocked(&stage).await;
    for _ in 0..5 {
        let (store, key) = (stage.store.clone(), company("acme"));
        let call = tokio::spawn(async move { store.load(&key).await });
        waiting(&stage, 1).await;
        call.abort();

        waiting(&stage, 0).await;
    }
    blocker.batch_execute("ROLLBACK").await.unwrap();
}

/// A long operation at the server is not silence.
#[tokio::test]
async fn a_migration_may_wait_for_another_process_for_as_long_as_it_takes() {
    let Through { proxy: _proxy, stage } = Through::with(Duration::from_secs(1)).await;
    let another = server().client().await;
    another.batch_execute(&lock_of_migrations(&stage)).await.unwrap();
    let store = stage.store.clone();
    let mut migration = tokio::spawn(async move { store.migrate().await });

    assert!(timeout(Duration::from_secs(4), &mut migration).await.is_err(), "the migration did not wait");
    another.batch_execute("COMMIT").await.unwrap();

    migration.await.unwrap().unwrap();
}

/// A long operation whose end was never heard of is silence.
#[tokio::test]
async fn a_migration_whose_answer_does_not_come_ends() {
    let Through { proxy, stage } = Through::with(Duration::from_secs(1)).await;
    let another = server().client().await;
    another.batch_execute(&lock_of_migrations(&stage)).await.unwrap();
    let store = stage.store.clone();
    let migration = tokio::spawn(async move { store.migrate().await });
    waits_for_a_migration(&another).await;

    proxy.silence_connections();
    another.batch_execute("COMMIT").await.unwrap();

    let ended = timeout(LONG, migration).await.expect("the migration ends").unwrap();
    assert_eq!(ended.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

fn lock_of_migrations(stage: &Stage) -> String {
    let schema = stage.schema.name();
    format!("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{schema} migrations of batchsuite', 0))")
}

/// Returns when another session waits for a lock that this one holds.
async fn waits_for_a_migration(holder: &PostgresClient) {
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))";
    let wait = async || holder.query_one(blocked, &[]).await.unwrap().get::<_, i64>(0) == 1;
    eventually("a migration waits", wait).await;
}

#[tokio::test]
async fn a_listener_that_fell_silent_listens_again() {
    let Through { proxy, stage } = Through::new().await;
    let start = stage.store.changes(CIE, None, Duration::ZERO).await.unwrap().cursor;
    stage.store.changes(CIE, Some(start), Duration::ZERO).await.unwrap();
    let first = stage.listeners(1, &[]).await;

    proxy.silence_connections();

    // The store listens again. The server does not notice: from its view, the first listener still listens.
    stage.listeners(1, &first).await;
    // Idle connections in the pool are silent as well.
    let _ = stage.store.load(&company("acme")).await;
    let other = stage.another().await;
    let waiting = stage.store.changes(CIE, Some(start), LONG);
    let acme = company("acme");
    let (changes, _) = tokio::join!(waiting, paired(&other, &acme));
    assert_eq!(changes.unwrap().changed.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_in_hand_is_stored_over_a_new_connection_when_the_old_ones_fall_silent() {
    let through = Through::new().await;
    through.fill().await;
    let Through { proxy, stage } = through;
    let companies = stage.opted_in("company", 1).await;
    stage.schema.advance(5 * HOUR).await;
    let http = Gate::answering(move |_| {
        // The connections to the database fall silent just before UPS's answer arrives.
        proxy.silence_connections();
        new_pair()
    });
    let auth = stage.process(http).build().unwrap();

    let token = timeout(LONG, auth.access_token(&companies[0])).await.expect("the caller gets an answer");
    timeout(LONG, auth.shutdown()).await.expect("the shutdown ends");

    drop(token);
    let stored = stage.another().await.load(&company("company-0")).await.unwrap();
    let StoredTokens::Readable(tokens) = stored.tokens else { panic!("{stored:?}") };
    assert_eq!(tokens.refresh.unwrap().expose_secret(), "new-refresh");
}

/// A synchronous helper thread of the host makes the call. Afterwards its runtime is dropped, or kept without being
/// driven.
#[test]
fn a_connection_that_was_made_in_another_runtime_s_block_on_goes_on() {
    for leaves_it in [false, true] {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let through = runtime.block_on(Through::with(2 * LONG));
        let store = through.stage.store.clone();
        let fresh = runtime.block_on(async {
            let pool = PostgresPool::at(&through.proxy.url()).deadline(2 * LONG).build().unwrap();
            PostgresStore::builder(pool, keyring().await).schema(through.stage.schema.name()).build().unwrap()
        });
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        other.block_on(fresh.load(&company("acme"))).unwrap();
        let kept = leaves_it.then_some(other);
        let connections = through.proxy.connections();

        let answer = runtime.block_on(async { timeout(LONG, fresh.load(&company("acme"))).await });

        answer.expect("a runtime drives the connection").unwrap();
        assert_eq!(through.proxy.connections(), connections, "over the same connection");
        drop((kept, store));
    }
}

/// The connections ended with their runtime. New ones are opened in the next caller's runtime.
#[test]
fn a_store_outlives_the_runtime_in_which_it_was_made() {
    for leaves_it in [false, true] {
        let first = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stage = first.block_on(Stage::with(server().url(), |builder| builder.deadline(DEADLINE)));
        let kept = leaves_it.then_some(first);
        let second = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

        let answers = second.block_on(async {
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(timeout(LONG, stage.store.load(&company("acme"))).await.expect("it ends").is_ok());
            }
            answers
        });

        assert!(answers[1] && answers[2], "{answers:?}");
        drop(kept);
    }
}
