//! Requirements on the server, the database and the role.

use super::{
    connection::PostgresTransaction,
    failure::{self, Result},
    schema::Schema,
};

/// Checks that the server keeps committed data and accepts writes.
pub(super) async fn settings(transaction: &mut PostgresTransaction) -> Result<()> {
    refuse(answer(transaction, include_str!("sql/settings.sql")).await?)
}

/// Checks that the role may use the schema, if the schema exists.
pub(super) async fn may_use_schema(transaction: &mut PostgresTransaction, schema: &Schema) -> Result<()> {
    let usage =
        "SELECT 'the right USAGE on schema {name} is missing for role ' || quote_ident(current_user) || '; grant it'
        FROM pg_catalog.pg_namespace WHERE nspname = '{name}' AND NOT has_schema_privilege(oid, 'USAGE')";
    refuse(answer(transaction, &schema.write(&usage.replace("{name}", schema.name()))).await?)
}

/// Checks that the role has every right that the statements need.
pub(super) async fn rights(transaction: &mut PostgresTransaction, schema: &Schema) -> Result<()> {
    let missing = answer(transaction, &schema.write(include_str!("sql/rights.sql"))).await?;
    refuse(missing.map(|missing| format!("the right {missing} is missing; grant it")))
}

fn refuse(line: Option<String>) -> Result<()> {
    line.map_or(Ok(()), |line| Err(failure::misconfigured(line)))
}

/// The answer to a question, if it is not null.
async fn answer(transaction: &mut PostgresTransaction, question: &str) -> Result<Option<String>> {
    let rows = transaction.rows(question, &[], &[]).await?;
    let text = rows.first().map(|row| row.try_get(0)).transpose();
    Ok(text.map_err(|error| failure::of_database(&error))?.flatten())
}
