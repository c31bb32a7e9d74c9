//! `PostgresStore` in a schema of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    store::{RowKey, Store},
    test_util::store_contract::{Harness, Held, Part},
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::postgres::{Log, Server, TestSchema, keyring};

/// Statements that wait for a lock must outlast the longest lock of the tests.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Postgres(TestSchema);

impl Postgres {
    fn new() -> Self {
        Self(TestSchema::new(Server::shared(Log::Normal)))
    }

    /// A statement on one row, whose environment and company are its first two parameters.
    async fn execute(&self, sql: &str, key: &RowKey) -> u64 {
        let sql = sql.replace("{schema}", self.0.name());
        let client = self.0.server().client().await;
        client.execute(&sql, &[&key.environment.name(), &key.name()]).await.expect("a statement")
    }
}

#[async_trait]
impl Harness for Postgres {
    async fn fresh(&self) -> Arc<dyn Store> {
        let store = PostgresStore::at(self.0.server().url(), keyring().await).schema(self.0.name());
        let store = store.deadline(DEADLINE).build().expect("a store");
        store.migrate().await.expect("a schema of its own");
        Arc::new(store)
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by).await;
    }

    async fn set_back(&self, by: Duration) {
        self.0.set_back(by).await;
    }

    async fn hold(&self, key: &RowKey) -> Option<Held> {
        let client = self.0.server().client().await;
        client.batch_execute("BEGIN").await.expect("a transaction");
        let lock = format!("SELECT FROM {}.grants WHERE environment = $1 AND company = $2 FOR UPDATE", self.0.name());
        client.query_one(&lock, &[&key.environment.name(), &key.name()]).await.expect("a saved row");
        Some(Held::new(async move {
            client.batch_execute("ROLLBACK").await.expect("a transaction");
        }))
    }

    async fn damage(&self, key: &RowKey, part: Part) -> bool {
        let sql = match part {
            Part::Tokens => {
                "UPDATE {schema}.tokens SET access_token = set_byte(access_token, 20, 255 - get_byte(access_token, 20)),
                     refresh_token = set_byte(refresh_token, 20, 255 - get_byte(refresh_token, 20))
                 WHERE environment = $1 AND company = $2"
            }
            Part::Document => "UPDATE {schema}.grants SET state = '[]' WHERE environment = $1 AND company = $2",
            Part::Event => {
                r#"UPDATE {schema}.events SET content = '{"kind": "of_a_later_release"}' WHERE environment = $1
                     AND id = (SELECT max(id) FROM {schema}.events WHERE environment = $1 AND company = $2)"#
            }
        };
        self.execute(sql, key).await == 1
    }
}

batchsuite_auth::store_contract_tests!(Postgres::new(), locks, damage);
