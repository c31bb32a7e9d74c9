//! Every column of every table with every value that its type allows and its meaning forbids.

use std::fmt::Write as _;

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId, CompanyQuery,
    events::EventId,
    fake_ups::FakeUps,
    status::{ListedAs, Status},
    store::{Delivery, DeliveryEnd, EventOrder, EventQuery, ListQuery, Store},
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{HOUR, acme, ada};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    sealed::{self, NEW},
    stage::{CIE, Stage, all, events, server},
};

/// The key of [`Stage`].
const TEST: &str = "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct World {
    stage: Stage,
    ups: FakeUps,
    client: Client,
    /// The store with another primary key, twice.
    with_other_keys: [PostgresStore; 2],
}

fn other() -> CompanyId {
    batchsuite_tests::company("other")
}

/// A process's reader of the log.
fn delivery() -> Delivery {
    Delivery { consumer: "mails".to_owned(), holder: Uuid::from_u128(rand::random()) }
}

impl World {
    fn process(&self) -> BatchSuiteAuth {
        self.process_over(&self.stage.store)
    }

    fn process_over(&self, store: &PostgresStore) -> BatchSuiteAuth {
        let process = self.ups.authenticator().http(self.ups.in_process()).store(store.clone());
        process.without_keeper().build().unwrap()
    }

    async fn authenticate(&self, auth: &BatchSuiteAuth, company: &CompanyId, actor: &ActorId) -> Result<(), String> {
        let trip = auth.authenticate(company, actor).await.map_err(|error| format!("authenticate: {error:?}"))?;
        let query = self.ups.consent(&trip.url, FakeUps::USER).await;
        let done = auth.callback(actor, &query, &trip.browser_secret).await;
        done.map(drop).map_err(|error| format!("callback: {error:?}"))
    }

    /// Checks everything that must still work for the other company, and every repair of this one.
    async fn live(&self, is_nameless: bool) -> Result<(), String> {
        let store: &PostgresStore = &self.stage.store;
        let auth = self.process();
        let page = auth.companies(CompanyQuery::default()).await.map_err(|error| format!("list: {error:?}"))?;
        let listed: Vec<_> = page.items.iter().map(|status| status.company.as_str()).collect();
        if !listed.contains(&"other") || (!is_nameless && !listed.contains(&"acme")) {
            return Err(format!("listed: {listed:?}"));
        }
        for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
            let query = EventQuery { order, ..events() };
            let events = store.events(query).await.map_err(|error| format!("events: {error:?}"))?;
            if events.items.is_empty() {
                return Err("no events".into());
            }
        }
        let changes = store.changes(CIE, Some(EventId::START), std::time::Duration::ZERO).await;
        changes.map_err(|error| format!("changes: {error:?}"))?;
        for listed_as in [ListedAs::Authenticated, ListedAs::ReauthRequired] {
            let query = ListQuery { listed_as: Some(vec![listed_as]), ..all() };
            store.list(query).await.map_err(|error| format!("list of some: {error:?}"))?;
        }
        store.wake(CIE, 10).await.map_err(|error| format!("wake: {error:?}"))?;
        store.overview(CIE).await.map_err(|error| format!("overview: {error:?}"))?;
        self.stage.schema.advance(HOUR).await;
        let delivery = delivery();
        let taken = store.take_delivery(CIE, &delivery, HOUR).await.map_err(|error| format!("take: {error:?}"))?;
        if let Some(cursor) = taken {
            let advanced = store.advance_delivery(CIE, &delivery, cursor, DeliveryEnd::End).await;
            advanced.map_err(|error| format!("advance: {error:?}"))?;
        }
        for store in &self.with_other_keys {
            let auth = self.process_over(store);
            auth.reencrypt().await.map_err(|error| format!("reencrypt: {error:?}"))?;
        }
        store.check().await.map_err(|error| format!("check: {error:?}"))?;
        auth.after_restore().await.map_err(|error| format!("after restore: {error:?}"))?;
        store.record_use(CIE, &[acme()]).await.map_err(|error| format!("use: {error:?}"))?;
        auth.prune_events(1000 * HOUR).await.map_err(|error| format!("prune: {error:?}"))?;
        auth.access_token(&other()).await.map_err(|error| format!("other's token: {error:?}"))?;
        let status = auth.status(&acme()).await.map_err(|error| format!("status: {error:?}"))?;
        let shown = format!("{status:?}");
        let _ = auth.access_token(&acme()).await;
        self.authenticate(&auth, &acme(), &ada()).await?;
        auth.access_token(&acme()).await.map_err(|error| format!("token: {error:?}, {shown}"))?;
        let status = auth.status(&acme()).await.map_err(|error| format!("status: {error:?}"))?;
        if !matches!(status.status, Status::Authenticated { .. }) || status.tokens_unreadable {
            return Err(format!("after: {status:?}"));
        }
        auth.remove_auth(&acme(), &ada()).await.map_err(|error| format!("remove: {error:?}"))?;
        let status = auth.status(&acme()).await.map_err(|error| format!("status: {error:?}"))?;
        if !matches!(status.status, Status::Unauthenticated) {
            return Err(format!("removed: {status:?}"));
        }
        Ok(())
    }

    /// Resets to two companies, one of them with a pending consent.
    async fn begin(&self) {
        let schema = self.stage.schema.name();
        let clean = format!(
            "DELETE FROM {schema}.grants; DELETE FROM {schema}.tokens; DELETE FROM {schema}.consents;
            DELETE FROM {schema}.deliveries; DELETE FROM {schema}.events; DELETE FROM {schema}.keys;
            DELETE FROM {schema}.event_log; INSERT INTO {schema}.event_log VALUES ('cie', 0)"
        );
        self.client.batch_execute(&clean).await.unwrap();
        self.stage.store.migrate().await.unwrap();
        let auth = self.process();
        for name in ["acme", "other"] {
            self.authenticate(&auth, &batchsuite_tests::company(name), &ada()).await.unwrap();
        }
        auth.authenticate(&acme(), &ada()).await.unwrap();
        self.stage.store.take_delivery(CIE, &delivery(), HOUR).await.unwrap();
    }
}

fn values(kind: &str) -> &'static [&'static str] {
    match kind {
        "text" => &["NULL", "''", "repeat('x', 5000)", "U&'a\\202Eb'"],
        "bigint" => &["NULL", "-1", "9223372036854775807", "4611686018427387999"],
        "boolean" => &["NULL", "true", "false"],
        "uuid" => &["NULL", "'00000000-0000-0000-0000-000000000000'"],
        "bytea" => &["NULL", "''", "sha256('x')"],
        "jsonb" => &["NULL", "'null'", "'[]'", "'7'", "'{}'", r#"'{"standing": 7}'"#],
        "timestamp with time zone" => &["NULL", "'infinity'", "'-infinity'", "'294276-01-01'", "'2000-01-01'"],
        other => panic!("{other}"),
    }
}

/// A column: its table, name and type.
type Column = (String, String, String);

impl World {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let with_other_keys = [
            sealed::store(&stage, &format!("{NEW},{TEST}")).await,
            sealed::store(&stage, &format!("{TEST},{NEW}")).await,
        ];
        Self { stage, ups: FakeUps::start().await, client: server().client().await, with_other_keys }
    }

    async fn columns(&self) -> Vec<Column> {
        let columns = "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
            WHERE table_schema = $1 AND is_generated = 'NEVER' AND is_identity = 'NO'
              AND table_name NOT IN ('migrations', 'keys', 'companies') ORDER BY ordinal_position, table_name";
        let columns = self.client.query(columns, &[&self.stage.schema.name()]).await.unwrap();
        columns.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    /// Damages one column with each value and returns a line per problem.
    async fn damage(&self, (table, column, kind): &Column) -> String {
        let schema = self.stage.schema.name();
        let whose = match table.as_str() {
            "event_log" | "deliveries" => "",
            "events" => "WHERE id = (SELECT max(id) FROM {schema}.events WHERE company = 'acme')",
            _ => "WHERE company = 'acme'",
        };
        let is_nameless = table == "grants" && ["company", "environment"].contains(&column.as_str());
        let mut broken = String::new();
        for value in values(kind) {
            self.begin().await;
            let damage =
                format!("UPDATE {{schema}}.{table} SET {column} = {value} {whose}").replace("{schema}", schema);
            // A value that the table itself rejects cannot occur.
            if self.client.batch_execute(&damage).await.is_err() {
                continue;
            }
            if let Err(error) = self.live(is_nameless).await {
                writeln!(broken, "{table}.{column} = {value}: {error}").unwrap();
            }
        }
        broken
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_holds_what_it_must_not_spoils_its_own_company_at_most_until_a_person_repairs_it() {
    const AT_ONCE: usize = 6;
    let columns = World::new().await.columns().await;
    assert!(columns.len() > 40, "{columns:?}");
    let mut worlds = JoinSet::new();
    for first in 0..AT_ONCE {
        let columns: Vec<_> = columns.iter().skip(first).step_by(AT_ONCE).cloned().collect();
        worlds.spawn(async move {
            let world = World::new().await;
            let mut broken = String::new();
            for column in columns {
                broken += &world.damage(&column).await;
            }
            broken
        });
    }

    let broken = worlds.join_all().await.concat();

    assert!(broken.is_empty(), "{broken}");
}
