//! Two statements that meet on one row, the first held up just before its commit: what the second makes of it.

use std::time::Duration;

use batchsuite_auth::{
    events::EventKind,
    ids::AttemptId,
    machine::{Standing, Verdict},
    store::{
        Claimed, Committed, Connect, Connected, GrantKey, NewConsent, NewPair, SettleRefresh, Store, StoreError,
        TakeConsent, TakenConsent, Written,
    },
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::ada;
use tokio_postgres::Client;

use crate::stage::{Stage, commit, company, connect, consent, due, pair, server, stored, waiting};

/// Holds up every statement that writes an event of one kind, after all that it writes.
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
             CREATE TRIGGER gate AFTER INSERT ON {schema}.events FOR EACH ROW WHEN (NEW.kind = '{kind}')
                 EXECUTE FUNCTION {schema}.wait()"
        );
        client.batch_execute(&close).await.unwrap();
        Self { client, lock, schema }
    }

    /// Holds up `due` after its view of the tables is taken, before it locks a row.
    async fn in_due(stage: &Stage) -> Self {
        let (client, lock) = (server().client().await, rand::random::<i32>());
        let schema = stage.schema.name().to_owned();
        // Volatile, so that it is not called while the statement is planned.
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

    /// Until so many statements of the stage wait for a lock.
    async fn until_waiting(&self, statements: i64) {
        waiting(&self.client, &self.schema, statements).await;
    }

    async fn open(&self) {
        self.client.batch_execute(&format!("SELECT pg_advisory_unlock({})", self.lock)).await.unwrap();
    }

    /// The answers of two calls of which the second meets the first just before its commit.
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

fn take(consent: &NewConsent) -> TakeConsent {
    TakeConsent {
        environment: consent.key.environment,
        state: consent.state,
        browser: consent.browser,
        actor: consent.actor.clone(),
        event: Some((EventKind::Declined, None)),
    }
}

fn acme() -> GrantKey {
    company("acme")
}

#[tokio::test]
async fn a_consent_that_is_just_being_taken_is_taken_once() {
    let stage = Stage::new().await;
    let consent = consent(&acme());
    stage.store.begin_consent(consent.clone()).await.unwrap();
    let (one, other) = (take(&consent), TakeConsent { event: None, ..take(&consent) });
    let gate = Gate::before(&stage, EventKind::Declined).await;

    let (first, second) = gate
        .meet(
            &stage,
            |store| async move { store.take_consent(one).await },
            |store| async move { store.take_consent(other).await },
        )
        .await;

    assert!(matches!((&first, &second), (TakenConsent::Taken(_), TakenConsent::Unknown)), "{first:?} {second:?}");
}

/// The row of the tokens is younger than the removal's view of the table.
#[tokio::test]
async fn a_removal_erases_the_tokens_of_a_first_opt_in_that_it_waited_for() {
    let stage = Stage::new().await;
    let gate = Gate::before(&stage, EventKind::Authenticated).await;

    let (connected, removed) = gate
        .meet(
            &stage,
            |store| async move { store.connect(connect(&acme())).await },
            |store| async move { store.remove(&acme(), &ada()).await },
        )
        .await;

    assert!(matches!(connected, Connected::Stored(_)), "{connected:?}");
    assert_eq!((removed.opt_in.revision.epoch, removed.opt_in.standing), (2, Standing::Unauthenticated));
    let left = format!("SELECT count(access_token) + count(refresh_token) FROM {}.tokens", stage.schema.name());
    assert_eq!(gate.client.query_one(&left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_connect_that_waited_for_a_removal_is_refused() {
    let stage = Stage::new().await;
    let gate = Gate::before(&stage, EventKind::Removed).await;

    let (_, connected) = gate
        .meet(
            &stage,
            |store| async move { store.remove(&acme(), &ada()).await },
            |store| async move { store.connect(connect(&acme())).await },
        )
        .await;

    assert!(matches!(connected, Connected::RemovedSince), "{connected:?}");
    assert!(stage.store.load(&acme()).await.unwrap().tokens.is_none());
}

#[tokio::test]
async fn a_pair_that_waited_for_a_refusal_is_stored_over_it() {
    let stage = Stage::new().await;
    let grant = stage.authenticated(&acme()).await;
    let attempt = stage.claimed(&grant).await;
    let (revision, pair) = (grant.opt_in.revision, commit(&grant, attempt, pair("2")));
    let refused = SettleRefresh {
        key: acme(),
        revision,
        attempt,
        verdict: Verdict::Refused,
        evidence: Default::default(),
        retry_in: Duration::ZERO,
    };
    let gate = Gate::before(&stage, EventKind::Invalidated).await;

    let (verdict, committed) = gate
        .meet(
            &stage,
            |store| async move { store.settle_refresh(refused).await },
            |store| async move { store.commit_refresh(pair).await },
        )
        .await;

    let Committed::Stored(stored) = committed else { panic!("{committed:?}") };
    assert_eq!((verdict, stored.opt_in.standing), (Written::Yes, Standing::Authenticated));
    assert!(stored.opt_in.suspect && stored.cause.is_none());
    let tokens = stage.store.load(&acme()).await.unwrap().tokens.unwrap();
    assert!(tokens.refresh_token.unwrap().matches(&crate::stage::pair("2").refresh_token.unwrap()));
    let kinds = format!("SELECT kind FROM {}.events ORDER BY id DESC LIMIT 1", stage.schema.name());
    assert_eq!(gate.client.query_one(&kinds, &[]).await.unwrap().get::<_, &str>(0), "recovered");
}

#[tokio::test]
async fn a_claim_that_waited_for_a_commit_is_lost() {
    let stage = Stage::new().await;
    let grant = stage.authenticated(&acme()).await;
    let attempt = stage.claimed(&grant).await;
    stage.schema.advance(Duration::from_secs(120)).await;
    let pair = commit(&grant, attempt, pair("2"));
    let claim = batchsuite_auth::store::ClaimRefresh {
        key: acme(),
        revision: grant.opt_in.revision,
        attempt: batchsuite_auth::ids::AttemptId::random(),
        lease: Duration::from_secs(60),
    };
    let gate = Gate::before(&stage, EventKind::Refreshed).await;

    let (committed, claimed) = gate
        .meet(
            &stage,
            |store| async move { store.commit_refresh(pair).await },
            |store| async move { store.claim_refresh(claim).await },
        )
        .await;

    assert!(matches!(committed, Committed::Stored(_)), "{committed:?}");
    assert_eq!(claimed, Claimed::Lost);
}

/// The row that `due` locks is younger than its view of the tokens.
#[tokio::test]
async fn what_is_rotated_while_it_is_being_reserved_is_not_handed_out_with_the_tokens_before() {
    let stage = Stage::new().await;
    let unusable = |name| NewPair { access_token: None, ..pair(name) };
    let grant = stored(stage.store.connect(Connect { pair: unusable("1"), ..connect(&acme()) }).await.unwrap());
    stage.store.record_use(acme().environment, &[acme().company]).await.unwrap();
    let gate = Gate::in_due(&stage).await;

    let store = stage.store.clone();
    let reserving = tokio::spawn(async move { store.due(due()).await });
    gate.until_waiting(1).await;
    stage.store.commit_refresh(commit(&grant, AttemptId::random(), unusable("2"))).await.unwrap();
    gate.open().await;

    assert!(reserving.await.unwrap().unwrap().is_empty(), "it is another rotation");
    let [next] = &stage.store.due(due()).await.unwrap()[..] else { panic!("it was not reserved either") };
    assert_eq!(next.opt_in.revision.version, 2);
    assert!(next.tokens.as_ref().unwrap().is_pair(&unusable("2")));
}
