//! The indexes that statements use, and the columns that they leave alone.

use std::time::Duration;

use batchsuite_auth::{
    events::{EventId, EventKind},
    status::ListedAs,
    store::{Delivery, DeliveryEnd, EventOrder, EventQuery, ListQuery, Prune, Store},
};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::{HOUR, eventually, postgres::keyring};

use crate::stage::{
    CIE, Stage, all, company, consent, events, id, paired, put, removal, rotation, saved, server, told, unchanged,
};

/// A store on one connection, so that the test sees its prepared statements.
struct Session {
    stage: Stage,
    store: PostgresStore,
    pool: PostgresPool,
}

impl Session {
    async fn on(stage: Stage) -> Self {
        let pool = PostgresPool::at(server().url()).connections(1).build().unwrap();
        let store = PostgresStore::builder(pool.clone(), keyring().await).schema(stage.schema.name()).build().unwrap();
        Self { stage, store, pool }
    }

    /// Sends every statement of the store once.
    async fn say_everything(&self) {
        let store = &self.store;
        let new = consent(&company("acme"));
        put(store, new.clone()).await.unwrap();
        store.find_consent(CIE, &new.state).await.unwrap();
        store.use_consent(CIE, new.consent.id, None).await.unwrap();
        let row = paired(store, &company("acme")).await;
        let row = saved(store, unchanged(&row)).await;
        let row = saved(store, rotation(&row, "2")).await;
        let telling =
            batchsuite_auth::store::Swap { tokens: batchsuite_auth::store::TokenChange::Keep, ..rotation(&row, "2") };
        let row = saved(store, telling).await;
        saved(store, removal(&row)).await;
        store.wake(CIE, 10).await.unwrap();
        store.record_use(CIE, &[id(&row.key)]).await.unwrap();
        for listed_as in [None, Some(vec![ListedAs::ReauthRequired])] {
            store.list(ListQuery { listed_as, ..all() }).await.unwrap();
        }
        for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
            for company in [None, Some(id(&row.key))] {
                store.events(EventQuery { company, order, ..events() }).await.unwrap();
            }
        }
        store.append(CIE, told(&row.key, EventKind::Failed)).await.unwrap();
        store.changes(CIE, Some(EventId::START), Duration::ZERO).await.unwrap();
        let delivery = Delivery { consumer: "mails".to_owned(), holder: uuid::Uuid::nil() };
        let cursor = store.take_delivery(CIE, &delivery, HOUR).await.unwrap().unwrap();
        assert!(store.advance_delivery(CIE, &delivery, cursor, DeliveryEnd::End).await.unwrap());
        let prune = Prune { environment: CIE, older_than: 100 * HOUR, limit: 10, undelivered: false };
        store.prune(prune).await.unwrap();
        store.overview(CIE).await.unwrap();
    }

    /// The store's prepared statements: the name at the start of the statement, the name in the session, the text, and
    /// the number of parameters.
    async fn prepared(&self) -> Vec<(String, String, String, i32)> {
        let prepared = "SELECT substring(statement FROM '^/\\* batchsuite (\\w+) \\*/'), name, statement, cardinality(parameter_types)
            FROM pg_prepared_statements WHERE statement LIKE '/* batchsuite %' ORDER BY 1";
        let rows = self.pool.rows(prepared, &[], &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
    }

    /// The generic plan of a statement.
    async fn plan(&self, name: &str) -> String {
        let prepared = self.prepared().await;
        let (_, in_session, _, parameters) = prepared.iter().find(|(known, ..)| known == name).expect(name);
        let nulls = vec!["NULL"; usize::try_from(*parameters).unwrap()].join(", ");
        self.pool.rows("SET plan_cache_mode = force_generic_plan", &[], &[]).await.unwrap();
        let rows = self.pool.rows(&format!("EXPLAIN EXECUTE {in_session}({nulls})"), &[], &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>().join("\n")
    }
}

/// A stage with many companies. Few of them are due, and few are listed as anything but authenticated.
async fn crowded() -> Stage {
    let stage = Stage::new().await;
    let fill = "INSERT INTO {schema}.grants (environment, company, number, epoch, version, listed_as, wake_at, change)
        SELECT 'cie', 'company-' || n, n, 1, 1, CASE WHEN n % 1000 = 7 THEN 'reauth_required' ELSE 'authenticated' END,
            now() + interval '1 second' * (n - 100), n
        FROM generate_series(1, 20000) AS n;
        INSERT INTO {schema}.tokens SELECT environment, company, 'a', 'r' FROM {schema}.grants;
        INSERT INTO {schema}.events (environment, id, at, company, epoch, version, content)
        SELECT 'cie', 3 * n, now(), 'company-' || n, 1, 1, '{}' FROM generate_series(1, 20000) AS n;
        INSERT INTO {schema}.consents (environment, id, company, actor, state, browser, redirect_uri, client_id, removals,
            expires_at)
        SELECT 'cie', gen_random_uuid(), 'company-' || n, 'ada-' || n, sha256(n::text::bytea), '', '', '', 0,
            now() + interval '1 hour'
        FROM generate_series(1, 20000) AS n;
        SELECT setval('{schema}.event_number', 60000)";
    stage.execute(fill).await;
    for table in ["grants", "tokens", "events", "consents"] {
        stage.execute(&format!("VACUUM ANALYZE {{schema}}.{table}")).await;
    }
    stage
}

#[tokio::test]
async fn each_statement_goes_by_an_index() {
    let session = Session::on(crowded().await).await;
    session.say_everything().await;

    for (name, indexes) in [
        ("load", &["grants_pkey", "tokens_pkey", "consents_company"][..]),
        ("save", &["grants_pkey"]),
        ("save_with_events", &["grants_pkey"]),
        ("save_and_replace", &["grants_pkey"]),
        ("save_and_erase", &["grants_pkey", "tokens_pkey"]),
        ("wake", &["grants_wake", "grants_pkey", "tokens_pkey", "consents_company"]),
        ("record_use", &["grants_pkey"]),
        ("list", &["grants_pkey", "tokens_pkey", "consents_company"]),
        ("list_some", &["grants_listed", "grants_wake", "grants_pkey", "tokens_pkey", "consents_company"]),
        ("find_consent", &["consents_state"]),
        ("use_consent", &["consents_id"]),
        ("events_oldest_first", &["events_pkey"]),
        ("events_newest_first", &["events_pkey"]),
        ("company_events_oldest_first", &["events_company"]),
        ("company_events_newest_first", &["events_company"]),
        ("changes", &["grants_change"]),
        ("prune", &["events_pkey"]),
    ] {
        let plan = session.plan(name).await;
        for table in ["grants", "tokens", "events", "consents"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{name}:\n{plan}");
        }
        for index in indexes {
            assert!(plan.contains(index), "{name} does not use {index}:\n{plan}");
        }
    }
}

/// A comparison with the volatile `clock_timestamp()` could not use an index.
#[tokio::test]
async fn what_wakes_is_searched_by_its_time_and_comes_from_the_index_in_order() {
    let session = Session::on(crowded().await).await;
    session.say_everything().await;

    for name in ["wake", "list_some"] {
        let plan = session.plan(name).await;

        let by_index = |line: &str| line.contains("Index Cond:") && line.contains("wake_at <= ");
        assert!(plan.lines().any(by_index), "{plan}");
        assert!(!plan.contains("Sort Key: grants.wake_at"), "{plan}");
    }
}

/// Planning these statements takes longer than running them.
#[tokio::test]
async fn the_plans_of_a_refresh_are_kept() {
    let session = Session::on(crowded().await).await;
    let mut row = paired(&session.store, &company("acme")).await;
    for _ in 0..10 {
        row = saved(&session.store, unchanged(&row)).await;
        row = saved(&session.store, rotation(&row, "2")).await;
        session.store.wake(CIE, 100).await.unwrap();
    }

    let kept = "SELECT generic_plans, statement FROM pg_prepared_statements
        WHERE statement ~ '^/\\* batchsuite (load|save|save_and_replace|wake) '";
    let kept = session.pool.rows(kept, &[], &[]).await.unwrap();

    assert_eq!(kept.len(), 4);
    for statement in kept {
        // Postgres plans the first five executions for their parameters.
        assert!(statement.get::<_, i64>(0) >= 5, "{}", statement.get::<_, &str>(1));
    }
}

/// An update that changes no indexed column writes to no index.
#[tokio::test]
async fn a_claim_and_a_wake_write_to_no_index_and_to_no_token() {
    let session = Session::on(Stage::new().await).await;
    let mut row = paired(&session.store, &company("acme")).await;
    let counted = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
        WHERE schemaname = $1 AND relname IN ('grants', 'tokens') ORDER BY relname";
    let client = server().client().await;
    let count = async || {
        // The server counts a session's work once the session flushes its statistics.
        session.pool.rows("SELECT pg_stat_force_next_flush()", &[], &[]).await.unwrap();
        let rows = client.query(counted, &[&session.stage.schema.name()]).await.unwrap();
        rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1))).collect::<Vec<_>>()
    };
    let before = count().await;

    for _ in 0..20 {
        row = saved(&session.store, unchanged(&row)).await;
    }
    assert_eq!(session.store.wake(CIE, 10).await.unwrap().len(), 1);

    let is_counted = async || count().await[0].0 == before[0].0 + 21;
    eventually("the updates are counted", is_counted).await;
    assert_eq!(count().await, [(before[0].0 + 21, before[0].1 + 21), before[1]]);
}

#[tokio::test]
async fn every_statement_names_its_schema_and_itself_and_notifies_nobody() {
    let session = Session::on(Stage::new().await).await;
    session.say_everything().await;

    let prepared = session.prepared().await;

    let names: Vec<_> = prepared.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names.len(), 25, "all except the statement that introduces a key: {names:?}");
    let schema = format!("\"{}\".", session.stage.schema.name());
    for (name, _, sql, _) in prepared {
        assert!(!sql.contains('{') && !sql.to_lowercase().contains("notify"), "{name}");
        for table in ["grants", "tokens", "consents", "events", "event_log", "deliveries"] {
            for (at, _) in sql.match_indices(&format!(" {table} ")) {
                let line = sql[..at].rsplit('\n').next().unwrap_or_default();
                assert!(line.trim_start().starts_with("--"), "{name} names {table} without its schema");
            }
        }
        assert!(sql.contains(&schema), "{name} names no schema");
    }
}
