//! `SqliteStore` on a file of its own, which another connection can lock and damage.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    clock::Clock,
    store::{RowKey, Store},
    test_util::store_contract::{Harness, Held, Part},
};
use batchsuite_tests::sqlite::TestFile;

#[derive(Debug, Default)]
struct Sqlite(TestFile);

#[async_trait]
impl Harness for Sqlite {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(self.0.store().await)
    }

    async fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    async fn set_back(&self, by: Duration) {
        self.0.clock.set(self.0.clock.now() - by);
    }

    async fn hold(&self, _: &RowKey) -> Option<Held> {
        let connection = self.0.connection();
        connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        Some(Held::new(async move { connection.execute_batch("ROLLBACK").expect("a transaction") }))
    }

    async fn damage(&self, key: &RowKey, part: Part) -> bool {
        let (set, table, id, from) = match part {
            Part::Tokens => ("access_token = ?3, refresh_token = ?3", "tokens", "id", "grants"),
            Part::Document => ("document = ?3", "grants", "id", "grants"),
            Part::Event => ("content = ?3", "events", "max(id)", "events"),
        };
        let damage = format!(
            "UPDATE {table} SET {set} WHERE id = (SELECT {id} FROM {from} WHERE environment = ?1 AND company = ?2)"
        );
        let rubbish = "\u{1}\u{4}test and then nothing that was ever sealed";
        let rubbish: &dyn rusqlite::ToSql = match part {
            Part::Tokens => &rubbish.as_bytes(),
            Part::Document => &rubbish,
            Part::Event => &r#"{"kind": "of_a_later_release"}"#,
        };
        let changed = self.0.connection().execute(&damage, (key.environment.name(), key.name(), rubbish));
        changed.expect("a statement") == 1
    }
}

batchsuite_auth::store_contract_tests!(Sqlite::default(), locks, damage);
