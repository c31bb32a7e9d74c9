//! A Postgres server of its own.

use batchsuite_tests::postgres::{Log, Server};
use company_manager::database::Database;

use crate::instance::KEYS;

pub(crate) struct Stage {
    pub(crate) server: Server,
}

impl Stage {
    /// The last thing that an instance says when it begins.
    pub(crate) const LAST_WORDS: &str = "Everything is kept in the database";

    pub(crate) async fn new() -> Self {
        Self { server: tokio::task::spawn_blocking(|| Server::start(Log::Everything)).await.unwrap() }
    }

    /// What an instance is told of it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        [("DATABASE_URL", self.server.url().to_owned()), ("BATCHSUITE_KEYS", KEYS.to_owned())].into_iter()
    }

    /// The application's tables, as one more instance has them.
    pub(crate) async fn database(&self) -> Database {
        let (database, _) = Database::connect(&self.server.url().into()).await.unwrap();
        database.migrate().await.unwrap();
        database
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.server.client().await.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn execute_without_checks(&self, sql: &str) {
        self.execute("ALTER TABLE company_manager.companies DROP CONSTRAINT companies_pod_retention_years_check").await;
        self.execute(sql).await;
    }

    /// How many rows there are in a table.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM company_manager.{table}");
        self.server.client().await.query_one(&count, &[]).await.unwrap().get(0)
    }
}
