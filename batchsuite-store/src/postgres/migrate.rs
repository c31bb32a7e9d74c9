//! Schema migrations.

use tokio_postgres::types::Type;

use super::{
    Inner, check,
    connection::{Parameter, PostgresTransaction},
    failure::{self, Result},
};

/// Ordered by version. A released migration is never edited: every database stores its checksum.
const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "opt_ins", sql: include_str!("migrations/V1__opt_ins.sql") }];

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

impl Inner {
    /// Applies the missing migrations, all or nothing; processes take turns.
    pub(super) async fn migrate(&self) -> Result<()> {
        let mut transaction = self.pool.begin_without_time_limit().await?;
        // A transaction-level lock, because a pooler may share a session between clients. The statements after the wait
        // see the previous process's migrations.
        let begin = "SELECT pg_advisory_xact_lock(hashtextextended('{name} migrations of batchsuite', 0))";
        transaction.run(&begin.replace("{name}", self.schema.name())).await?;
        // Checked first: `CREATE … IF NOT EXISTS` may need a right that the role does not have.
        if !self.exists(&mut transaction, "SELECT to_regnamespace('{schema}') IS NOT NULL").await? {
            transaction.run(&self.schema.write("CREATE SCHEMA {schema}")).await?;
        }
        if !self.exists(&mut transaction, "SELECT to_regclass('{schema}.migrations') IS NOT NULL").await? {
            let table = "CREATE TABLE {schema}.migrations (
                version integer PRIMARY KEY, name text NOT NULL, checksum bytea NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now())";
            transaction.run(&self.schema.write(table)).await?;
        }
        for migration in self.missing(&mut transaction).await? {
            transaction.run(&self.schema.write(migration.sql)).await?;
            self.note(&mut transaction, migration).await?;
        }
        transaction.commit().await
    }

    /// Checks that every migration of this release was applied and that no migration differs. Migrations of a later
    /// release are accepted: they leave this release's columns and functions as they are.
    pub(super) async fn check(&self) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        check::settings(&mut transaction).await?;
        check::may_use_schema(&mut transaction, &self.schema).await?;
        if !self.exists(&mut transaction, "SELECT to_regclass('{schema}.migrations') IS NOT NULL").await? {
            return Err(failure::misconfigured(
                "the schema does not exist; run `batchsuite migrate`, or call migrate()",
            ));
        }
        check::rights(&mut transaction, &self.schema).await?;
        if !self.missing(&mut transaction).await?.is_empty() {
            return Err(failure::misconfigured("migrations are missing; run `batchsuite migrate`, or call migrate()"));
        }
        transaction.commit().await
    }

    /// The migrations not applied yet. Fails if a different migration was applied under the same number.
    async fn missing(&self, transaction: &mut PostgresTransaction) -> Result<Vec<&'static Migration>> {
        let applied = "SELECT checksum = sha256(convert_to($2, 'UTF8')) FROM {schema}.migrations WHERE version = $1";
        let applied = self.schema.write(applied);
        let mut missing = Vec::new();
        for migration in MIGRATIONS {
            let Migration { version, name, sql } = migration;
            let rows = transaction.rows(&applied, &[Type::INT4, Type::TEXT], &[version, sql]).await?;
            match rows.first().map(|row| row.try_get(0)) {
                None => missing.push(migration),
                Some(Ok(true)) => {}
                Some(_) => {
                    let why = "was applied with different content: does the schema belong to another program?";
                    return Err(failure::misconfigured(format!("migration {version} ({name}) {why}")));
                }
            }
        }
        Ok(missing)
    }

    async fn note(&self, transaction: &mut PostgresTransaction, migration: &Migration) -> Result<()> {
        let sql = "INSERT INTO {schema}.migrations (version, name, checksum)
            VALUES ($1, $2, sha256(convert_to($3, 'UTF8')))";
        let parameters: &[Parameter<'_>] = &[&migration.version, &migration.name, &migration.sql];
        transaction.rows(&self.schema.write(sql), &[Type::INT4, Type::TEXT, Type::TEXT], parameters).await.map(drop)
    }

    async fn exists(&self, transaction: &mut PostgresTransaction, question: &str) -> Result<bool> {
        let rows = transaction.rows(&self.schema.write(question), &[], &[]).await?;
        Ok(rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
    }
}
