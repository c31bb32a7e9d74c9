//! The application's tables in Postgres, in the schema `company_manager`.

use batchsuite_auth::store::StoreError;
use batchsuite_store::{PostgresPool, PostgresTransaction};
use tokio_postgres::types::{ToSql, Type};

use super::value::{Parameter, Row};

/// The first statement of a transaction that must not run concurrently: an instance that starts at the same time waits
/// here, and then finds the work done.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtextextended('start of company_manager', 0))";
/// Creates all tables that don't exist.
const TABLES: &str = include_str!("postgres.sql");

/// Creates or migrates the tables, in one transaction, one instance at a time. If they are up to date, it needs only
/// the right to read.
pub(super) async fn migrate(pool: &PostgresPool) -> Result<(), StoreError> {
    let mut transaction = begin_one_at_a_time(pool).await?;
    if !is_applied(&mut transaction).await? {
        transaction.run(TABLES).await?;
        let note = "INSERT INTO company_manager.applied (checksum) VALUES (sha256(convert_to($1, 'UTF8')))";
        transaction.rows(note, &[Type::TEXT], &[&TABLES]).await?;
    }
    transaction.commit().await
}

pub(super) async fn begin_one_at_a_time(pool: &PostgresPool) -> Result<PostgresTransaction, StoreError> {
    let mut transaction = pool.begin_without_time_limit().await?;
    transaction.run(ONE_AT_A_TIME).await?;
    Ok(transaction)
}

/// Runs one statement in `transaction`.
pub(super) async fn rows_within(
    transaction: &mut PostgresTransaction,
    sql: &str,
    parameters: &[Parameter],
) -> Result<Vec<Row>, StoreError> {
    let (types, parameters) = split(parameters);
    Ok(transaction.rows(sql, &types, &parameters).await?.iter().map(Row::of_postgres).collect())
}

/// Runs one statement as its own transaction.
pub(super) async fn rows(pool: &PostgresPool, sql: &str, parameters: &[Parameter]) -> Result<Vec<Row>, StoreError> {
    let (types, parameters) = split(parameters);
    Ok(pool.rows(sql, &types, &parameters).await?.iter().map(Row::of_postgres).collect())
}

fn split(parameters: &[Parameter]) -> (Vec<Type>, Vec<&(dyn ToSql + Sync)>) {
    parameters.iter().map(|parameter| (parameter.postgres_type(), parameter.for_postgres())).unzip()
}

/// Whether this version's tables exist. Checked first, because `CREATE … IF NOT EXISTS` needs a right that the role may
/// not have.
async fn is_applied(transaction: &mut PostgresTransaction) -> Result<bool, StoreError> {
    let exists = "SELECT 1 WHERE to_regclass('company_manager.applied') IS NOT NULL";
    if transaction.rows(exists, &[], &[]).await?.is_empty() {
        return Ok(false);
    }
    let applied = "SELECT 1 FROM company_manager.applied WHERE checksum = sha256(convert_to($1, 'UTF8'))";
    Ok(!transaction.rows(applied, &[Type::TEXT], &[&TABLES]).await?.is_empty())
}
