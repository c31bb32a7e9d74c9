//! The schema, version by version.

use batchsuite_auth::store::StoreError;
use deadpool_postgres::{Client, Transaction};
use tokio_postgres::types::Type;

use super::{Inner, check, failure};

/// In the order of their versions. What was released is never edited: its checksum is in every database.
const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "opt_ins", sql: include_str!("migrations/V1__opt_ins.sql") }];

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

/// How a database stands to this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    No,
    Yes,
    /// Under the same number, something else was applied.
    Otherwise,
}

impl Inner {
    /// Applies what is missing: all or nothing, one process after the other.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let mut client = self.database.pool.get().await.map_err(failure::of_pool)?;
        self.apply(&mut client).await
    }

    async fn apply(&self, client: &mut Client) -> Result<(), StoreError> {
        let transaction = client.transaction().await.map_err(|error| failure::of_database(&error))?;
        // A transaction's lock, not a session's: behind a pooler, a session is nobody's. Whoever waits here sees, after it,
        // what the one before has done.
        let begin = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
            SET LOCAL synchronous_commit = on;
            SELECT pg_advisory_xact_lock(hashtextextended('{name} migrations of batchsuite', 0))";
        run(&transaction, &begin.replace("{name}", self.schema.name())).await?;
        // Asked first: to create what exists may need a right that the role does not have.
        if !self.exists(&transaction, "SELECT to_regnamespace('{schema}') IS NOT NULL").await? {
            run(&transaction, &self.schema.write("CREATE SCHEMA {schema}")).await?;
        }
        if !self.exists(&transaction, "SELECT to_regclass('{schema}.migrations') IS NOT NULL").await? {
            let table = "CREATE TABLE {schema}.migrations (
                version integer PRIMARY KEY, name text NOT NULL, checksum bytea NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now())";
            run(&transaction, &self.schema.write(table)).await?;
        }
        for migration in MIGRATIONS {
            match self.applied(&transaction, migration).await? {
                Applied::Yes => {}
                Applied::Otherwise => return Err(edited(migration)),
                Applied::No => {
                    run(&transaction, &self.schema.write(migration.sql)).await?;
                    self.note(&transaction, migration).await?;
                }
            }
        }
        transaction.commit().await.map_err(|error| failure::of_database(&error))
    }

    /// Whether everything that this release needs was applied, and nothing of it otherwise. What a later release applied
    /// on top is fine: its migrations leave this one's columns and functions as they are.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let mut client = self.database.pool.get().await.map_err(failure::of_pool)?;
        let transaction = client.transaction().await.map_err(|error| failure::of_database(&error))?;
        check::settings(&transaction).await?;
        check::may_use_schema(&transaction, &self.schema).await?;
        if !self.exists(&transaction, "SELECT to_regclass('{schema}.migrations') IS NOT NULL").await? {
            return Err(failure::misconfigured("the schema is not there; call migrate()"));
        }
        check::rights(&transaction, &self.schema).await?;
        for migration in MIGRATIONS {
            match self.applied(&transaction, migration).await? {
                Applied::Yes => {}
                Applied::Otherwise => return Err(edited(migration)),
                Applied::No => return Err(failure::misconfigured("migrations are missing; call migrate()")),
            }
        }
        Ok(())
    }

    async fn applied(&self, transaction: &Transaction<'_>, migration: &Migration) -> Result<Applied, StoreError> {
        let sql = "SELECT checksum = sha256(convert_to($2, 'UTF8')) FROM {schema}.migrations WHERE version = $1";
        let row = transaction
            .query_typed(&self.schema.write(sql), &[(&migration.version, Type::INT4), (&migration.sql, Type::TEXT)])
            .await
            .map_err(|error| failure::of_database(&error))?;
        Ok(match row.first().map(|row| row.try_get(0)) {
            None => Applied::No,
            Some(Ok(true)) => Applied::Yes,
            Some(_) => Applied::Otherwise,
        })
    }

    async fn note(&self, transaction: &Transaction<'_>, migration: &Migration) -> Result<(), StoreError> {
        let sql = "INSERT INTO {schema}.migrations (version, name, checksum)
            VALUES ($1, $2, sha256(convert_to($3, 'UTF8')))";
        let parameters: &[(super::database::Parameter<'_>, Type)] =
            &[(&migration.version, Type::INT4), (&migration.name, Type::TEXT), (&migration.sql, Type::TEXT)];
        let noted = transaction.query_typed(&self.schema.write(sql), parameters).await;
        noted.map(drop).map_err(|error| failure::of_database(&error))
    }

    async fn exists(&self, transaction: &Transaction<'_>, question: &str) -> Result<bool, StoreError> {
        let rows = transaction
            .query_typed(&self.schema.write(question), &[])
            .await
            .map_err(|error| failure::of_database(&error))?;
        Ok(rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
    }
}

async fn run(transaction: &Transaction<'_>, sql: &str) -> Result<(), StoreError> {
    transaction.batch_execute(sql).await.map_err(|error| failure::of_database(&error))
}

fn edited(migration: &Migration) -> StoreError {
    let Migration { version, name, .. } = migration;
    failure::misconfigured(format!(
        "migration {version} ({name}) was applied with another content: is it the schema of something else?"
    ))
}
