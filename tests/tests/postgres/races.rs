//! Two statements on one row: the first is held just before its commit, and the test checks the result of the second.

use batchsuite_auth::{
    events::EventKind,
    store::{RowKey, Saved, Store, StoreError},
};
use batchsuite_store::PostgresStore;
use tokio_postgres::Client;

use crate::stage::{
    CIE, Stage, are_tokens, company, consent, put, removal, rotation, server, told, unchanged, waiting,
};

/// Holds every statement that writes an event of one kind, after all its writes.
struct Gate {
    client: Client,
    lock: i32,
    schema: String,
}

impl Gate {
    async fn before(stage: &Stage, kind: EventKind) -> Self {
        let (client, lock) = (server().client().await, rand::random::<i32>());
        let schema = stage.schema.name().to_owned();
        let close = format!(
            "SELECT pg_advisory_lock({lock});
             CREATE FUNCTION {schema}.wait() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared({lock}); RETURN NULL; END $$;
             CREATE TRIGGER gate AFTER INSERT ON {schema}.events FOR EACH ROW WHEN (NEW.content ->> 'kind' = '{kind}')
                 EXECUTE FUNCTION {schema}.wait()"
        );
        client.batch_execute(&close).await.unwrap();
        Self { client, lock, schema }
    }

    /// Holds `wake` between its snapshot of the tables and its first row lock.
    async fn in_wake(stage: &Stage) -> Self {
        let (client, lock) = (server().client().await, rand::random::<i32>());
        let schema = stage.schema.name().to_owned();
        // Volatile, so that it is not called during planning.
        let close = format!(
            "SELECT pg_advisory_lock({lock});
             CREATE OR REPLACE FUNCTION {schema}.clock_offset() RETURNS interval LANGUAGE plpgsql VOLATILE AS
                 $$ BEGIN
                     IF current_query() LIKE '%SKIP LOCKED%' THEN PERFORM pg_advisory_xact_lock_shared({lock}); END IF;
                     RETURN interval '0';
                 END $$"
        );
        client.batch_execute(&close).await.unwrap();
        Self { client, lock, schema }
    }

    /// Waits until this many statements of the stage wait for a lock.
    async fn until_waiting(&self, statements: i64) {
        waiting(&self.client, &self.schema, statements).await;
    }

    async fn open(&self) {
        self.client.batch_execute(&format!("SELECT pg_advisory_unlock({})", self.lock)).await.unwrap();
    }

    /// Runs two calls so that the second meets the first just before its commit, and returns both answers.
    async fn meet<A, B, F, G>(
        &self,
        stage: &Stage,
        first: impl FnOnce(PostgresStore) -> F,
        second: impl FnOnce(PostgresStore) -> G,
    ) -> (A, B)
    where
        A: Send + 'static,
        B: Send + 'static,
        F: Future<Output = Result<A, StoreError>> + Send + 'static,
        G: Future<Output = Result<B, StoreError>> + Send + 'static,
    {
        let first = tokio::spawn(first(stage.store.clone()));
        self.until_waiting(1).await;
        let second = tokio::spawn(second(stage.store.clone()));
        self.until_waiting(2).await;
        self.open().await;
        (first.await.unwrap().unwrap(), second.await.unwrap().unwrap())
    }
}

fn acme() -> RowKey {
    company("acme")
}

#[tokio::test]
async fn a_consent_that_is_just_being_used_is_used_once() {
    let stage = Stage::new().await;
    let consent = consent(&acme());
    let id = consent.consent.id;
    put(&stage.store, consent).await.unwrap();
    let gate = Gate::before(&stage, EventKind::Declined).await;

    let (first, second) = gate
        .meet(
            &stage,
            |store| async move { store.use_consent(CIE, id, Some(told(&acme(), EventKind::Declined))).await },
            |store| async move { store.use_consent(CIE, id, None).await },
        )
        .await;

    assert!(first.is_some() && second.is_none(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_save_that_waited_for_another_one_is_a_conflict() {
    let stage = Stage::new().await;
    let row = stage.paired(&acme()).await;
    let (commit, claim) = (rotation(&row, "2"), unchanged(&row));
    let gate = Gate::before(&stage, EventKind::Refreshed).await;

    let (committed, claimed) = gate
        .meet(&stage, |store| async move { store.save(commit).await }, |store| async move { store.save(claim).await })
        .await;

    assert!(matches!(committed, Saved::Yes { .. }), "{committed:?}");
    assert_eq!(claimed, Saved::Conflict);
    let row = stage.store.load(&acme()).await.unwrap();
    assert!(are_tokens(&row.tokens, "2"), "{row:?}");
}

/// The row does not exist yet, so it cannot be locked.
#[tokio::test]
async fn of_two_first_saves_that_meet_the_second_is_a_conflict_and_a_removal_behind_it_finds_the_tokens() {
    let stage = Stage::new().await;
    let empty = stage.store.load(&acme()).await.unwrap();
    let (connect, remove) = (rotation(&empty, "1"), removal(&empty));
    let gate = Gate::before(&stage, EventKind::Refreshed).await;

    let (connected, removed) = gate
        .meet(&stage, |store| async move { store.save(connect).await }, |store| async move { store.save(remove).await })
        .await;

    assert!(matches!(connected, Saved::Yes { .. }), "{connected:?}");
    assert_eq!(removed, Saved::Conflict);
    let row = stage.store.load(&acme()).await.unwrap();
    assert!(are_tokens(&row.tokens, "1"), "{row:?}");
    assert!(matches!(stage.store.save(removal(&row)).await.unwrap(), Saved::Yes { .. }));
    let left = format!("SELECT count(*) FROM {}.tokens", stage.schema.name());
    assert_eq!(gate.client.query_one(&left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

/// The row that `wake` locks is newer than its snapshot of the tokens.
#[tokio::test]
async fn what_is_rotated_while_it_is_being_woken_is_not_handed_out_with_the_tokens_before() {
    let stage = Stage::new().await;
    let row = stage.paired(&acme()).await;
    let gate = Gate::in_wake(&stage).await;

    let store = stage.store.clone();
    let waking = tokio::spawn(async move { store.wake(CIE, 10).await });
    gate.until_waiting(1).await;
    let saved = stage.store.save(rotation(&row, "2")).await.unwrap();
    gate.open().await;

    assert!(matches!(saved, Saved::Yes { .. }), "{saved:?}");
    assert!(waking.await.unwrap().unwrap().is_empty(), "the row has another rotation");
    let [next] = &stage.store.wake(CIE, 10).await.unwrap()[..] else { panic!("the row was hidden") };
    assert!(next.revision.version == 2 && are_tokens(&next.tokens, "2"), "{next:?}");
}

/// Two keepers that record the same uses never wait for each other in a circle.
#[tokio::test]
async fn uses_are_recorded_in_the_order_of_the_companies() {
    let stage = Stage::new().await;
    for name in ["b", "a"] {
        stage.paired(&company(name)).await;
    }
    let (other, watch) = (server().client().await, server().client().await);
    let lock = |name| {
        let grants = format!("{}.grants", stage.schema.name());
        format!("SELECT FROM {grants} WHERE company = '{name}' FOR UPDATE NOWAIT")
    };
    other.batch_execute(&format!("BEGIN; {}", lock("a"))).await.unwrap();

    let store = stage.store.clone();
    let recording =
        tokio::spawn(async move { store.record_use(CIE, &["b", "a"].map(batchsuite_tests::company)).await });
    waiting(&watch, stage.schema.name(), 1).await;

    other.batch_execute(&lock("b")).await.expect("the store waits for the first company and locks no other");
    other.batch_execute("COMMIT").await.unwrap();
    recording.await.unwrap().unwrap();
}
