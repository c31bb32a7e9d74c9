//! Requirements on the server, the database and the role.

use super::{
    connection::PostgresTransaction,
    failure::{self, Result},
    schema::Schema,
};

/// Checks the required settings; returns the message for the first wrong one.
const SETTINGS: &str = "SELECT CASE
    WHEN pg_is_in_recovery() THEN
        'this server is a standby, which cannot be written to; connect to the primary'
    WHEN current_setting('transaction_read_only') = 'on' THEN
        'transactions are read-only here; set default_transaction_read_only = off, or connect to the primary'
    WHEN current_setting('server_encoding') <> 'UTF8' THEN
        'the encoding of this database is ' || current_setting('server_encoding')
            || '; it must be UTF8 (CREATE DATABASE … ENCODING ''UTF8'' TEMPLATE template0)'
    WHEN current_setting('fsync') <> 'on' THEN
        'the server runs with fsync = off, so a crash can lose what was stored; set fsync = on'
    WHEN current_setting('transaction_isolation') <> 'read committed' THEN
        'the default transaction isolation must be \"read committed\"'
END";

/// The rights that the statements need, prerequisites first. Objects that a later release has added are ignored. Every
/// role may call the functions of `pg_catalog` unless that was revoked.
const RIGHTS: &str = "WITH held (sort, missing, is_held) AS (
    SELECT 1, privilege || ' on table ' || c.oid::regclass, has_table_privilege(c.oid, privilege)
    FROM pg_catalog.pg_class c
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relkind IN ('r', 'p')
      AND (c.relname IN ('grants', 'tokens', 'consents', 'events', 'event_log', 'deliveries', 'keys')
           OR c.relname = 'migrations' AND privilege = 'SELECT')
    UNION ALL
    SELECT 2, privilege || ' on sequence ' || c.oid::regclass, has_sequence_privilege(c.oid, privilege)
    FROM pg_catalog.pg_class c
    CROSS JOIN unnest(ARRAY['SELECT', 'USAGE']) AS privilege
    -- The sequence of an identity column needs no right of its own.
    WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relkind = 'S' AND c.relname = 'event_number'
    UNION ALL
    SELECT 3, 'EXECUTE on function ' || p.oid::regprocedure, has_function_privilege(p.oid, 'EXECUTE')
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = to_regnamespace('{schema}')
      AND p.proname IN ('clock_offset', 'announce_event', 'next_event', 'append_event', 'take_turns', 'put_consent')
    UNION ALL
    SELECT 4, 'EXECUTE on function ' || name, has_function_privilege(name, 'EXECUTE')
    FROM unnest(ARRAY[
        'pg_catalog.current_setting(text)', 'pg_catalog.set_config(text,text,boolean)', 'pg_catalog.clock_timestamp()',
        'pg_catalog.pg_sequence_last_value(regclass)', 'pg_catalog.pg_stat_get_dead_tuples(oid)', 'pg_catalog.hashtextextended(text,bigint)',
        'pg_catalog.pg_advisory_xact_lock(bigint)', 'pg_catalog.pg_advisory_xact_lock_shared(integer,integer)'
    ]) AS name
    UNION ALL
    SELECT 5, 'SELECT on ' || name, has_table_privilege(name, 'SELECT')
    FROM unnest(ARRAY['pg_catalog.pg_locks', 'pg_catalog.pg_database']) AS name
)
SELECT missing || ' for role ' || quote_ident(current_user) FROM held WHERE NOT is_held ORDER BY sort, missing LIMIT 1";

/// Checks that the server keeps committed data and accepts writes.
pub(super) async fn settings(transaction: &mut PostgresTransaction) -> Result<()> {
    refuse(answer(transaction, SETTINGS).await?)
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
    let missing = answer(transaction, &schema.write(RIGHTS)).await?;
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
