//! The problems that `check()` names, so that an operator can fix them.

use batchsuite_auth::{
    events::{EventKind, Evidence},
    store::{NewEvent, Store, StoreError, StoreErrorKind},
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::postgres::{Log, Server, TestSchema, keyring};

use crate::stage::{CIE, Stage, event, server};

async fn at(url: &str, schema: &str) -> PostgresStore {
    PostgresStore::at(url, keyring().await).schema(schema).build().unwrap()
}

#[track_caller]
fn assert_names(words: &str, checked: Result<(), StoreError>) {
    let error = checked.expect_err(words);
    let line = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{line}");
    assert!(line.contains(words) && line.lines().count() == 1, "{words}: {line}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_was_committed_is_named() {
    let careless = Server::start_with(Log::Normal, &[], "-c fsync=off");
    let store = at(careless.url(), "batchsuite").await;
    store.migrate().await.unwrap();

    assert_names("set fsync = on", store.check().await);
}

#[tokio::test]
async fn a_database_that_does_not_take_every_character_is_named() {
    let database = format!("encoded_{:08x}", rand::random::<u32>());
    let create =
        format!("CREATE DATABASE {database} ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    server().client().await.batch_execute(&create).await.unwrap();
    let store = at(&server().url().replace("dbname=postgres", &format!("dbname={database}")), "batchsuite").await;

    assert_names("it must be UTF8", store.check().await);

    // A text that the database rejects is distinguished from a failure that may pass.
    store.migrate().await.unwrap();
    let told = |text: &str| {
        let mut evidence = Evidence::default();
        evidence.message = Some(text.to_owned());
        NewEvent { company: None, event: event(EventKind::Failed).with_evidence(evidence) }
    };
    assert_eq!(store.append(CIE, told("a \u{2192} b")).await.unwrap_err().kind(), StoreErrorKind::Rejected);
    store.append(CIE, told("a -> b")).await.unwrap();
}

#[tokio::test]
async fn a_standby_and_a_role_whose_transactions_are_of_another_kind_are_named() {
    let stage = Stage::new().await;
    let (schema, client) = (stage.schema.name(), server().client().await);
    let role = format!(
        "CREATE ROLE {schema}_reader SUPERUSER LOGIN;
        ALTER ROLE {schema}_reader SET default_transaction_read_only = on"
    );
    client.batch_execute(&role).await.unwrap();
    let url = server().url().replace("user=postgres", &format!("user={schema}_reader target_session_attrs=any"));
    assert_names("default_transaction_read_only = off", at(&url, schema).await.check().await);
    let serializable = format!(
        "ALTER ROLE {schema}_reader RESET default_transaction_read_only;
        ALTER ROLE {schema}_reader SET default_transaction_isolation = 'serializable'"
    );
    client.batch_execute(&serializable).await.unwrap();
    // The pool sets the isolation of its own sessions.
    at(&url, schema).await.check().await.unwrap();
    let as_it_comes = at(&format!("{url} pgbouncer=true"), schema).await;
    assert_names("isolation must be \"read committed\"", as_it_comes.check().await);

    let standby = Server::start(Log::Normal);
    at(standby.url(), "batchsuite").await.migrate().await.unwrap();
    standby.stop();
    standby.become_standby();
    standby.start_again();
    let url = format!("{} target_session_attrs=any", standby.url());
    assert_names("is a standby", at(&url, "batchsuite").await.check().await);
}

/// Takes each documented right away alone, including those that every role has by default.
#[tokio::test]
async fn a_missing_right_is_named_with_its_object() {
    let schema = TestSchema::new(server());
    let (name, client) = (schema.name(), server().client().await);
    at(server().url(), name).await.migrate().await.unwrap();
    let grant = "CREATE ROLE {name}_service LOGIN;
        REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {name} FROM PUBLIC;
        GRANT USAGE ON SCHEMA {name} TO {name}_service;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {name}_service;
        REVOKE INSERT, UPDATE, DELETE ON {name}.migrations FROM {name}_service;
        GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {name} TO {name}_service;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {name} TO {name}_service";
    client.batch_execute(&grant.replace("{name}", name)).await.unwrap();
    let service = at(&server().url().replace("user=postgres", &format!("user={name}_service")), name).await;
    // Objects of a later release do not matter to this one, and neither do those of another schema.
    let later = "CREATE TABLE {name}.later (x integer); CREATE SEQUENCE {name}.later_number;
        CREATE FUNCTION {name}.later() RETURNS integer LANGUAGE sql AS 'SELECT 1';
        REVOKE EXECUTE ON FUNCTION {name}.later() FROM PUBLIC;
        CREATE SCHEMA {name}_other; CREATE TABLE {name}_other.grants (x integer);
        CREATE SEQUENCE {name}_other.event_number;
        CREATE FUNCTION {name}_other.next_event() RETURNS integer LANGUAGE sql AS 'SELECT 1';
        REVOKE EXECUTE ON FUNCTION {name}_other.next_event() FROM PUBLIC";
    client.batch_execute(&later.replace("{name}", name)).await.unwrap();
    service.check().await.unwrap();

    let mut rights = vec![("USAGE", "SCHEMA", name.to_owned()), ("SELECT", "TABLE", format!("{name}.migrations"))];
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p')
        AND relname NOT IN ('migrations', 'later')";
    for table in client.query(tables, &[&name]).await.unwrap() {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            rights.push((right, "TABLE", format!("{name}.{}", table.get::<_, &str>(0))));
        }
    }
    assert_eq!(rights.len(), 2 + 4 * 7);
    for right in ["SELECT", "USAGE"] {
        rights.push((right, "SEQUENCE", format!("{name}.event_number")));
    }
    let functions = "SELECT oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = to_regnamespace($1) AND proname NOT LIKE 'later%'";
    let functions = client.query(functions, &[&name]).await.unwrap();
    assert_eq!(functions.len(), 6);
    rights.extend(functions.iter().map(|function| ("EXECUTE", "FUNCTION", function.get(0))));
    for (right, kind, object) in rights {
        let role = format!("{name}_service");
        client.batch_execute(&format!("REVOKE {right} ON {kind} {object} FROM {role}")).await.unwrap();
        let words = format!("{right} on {} {object}", kind.to_lowercase());
        assert_names(&words, service.check().await);
        client.batch_execute(&format!("GRANT {right} ON {kind} {object} TO {role}")).await.unwrap();
    }
    service.check().await.unwrap();

    // Of several, one at a time: tables first, then by name.
    let several = "REVOKE EXECUTE ON FUNCTION {name}.next_event() FROM {name}_service;
        REVOKE SELECT, INSERT ON {name}.grants FROM {name}_service";
    client.batch_execute(&several.replace("{name}", name)).await.unwrap();
    assert_names(&format!("INSERT on table {name}.grants"), service.check().await);
}

/// Every role has them, unless an operator took them away from all roles of a database.
#[tokio::test]
async fn a_missing_right_of_the_catalog_is_named() {
    let database = format!("careful_{:08x}", rand::random::<u32>());
    let client = server().client().await;
    for create in [format!("CREATE DATABASE {database}"), format!("CREATE ROLE {database}_service LOGIN")] {
        client.batch_execute(&create).await.unwrap();
    }
    let url = server().url().replace("dbname=postgres", &format!("dbname={database}"));
    at(&url, "batchsuite").await.migrate().await.unwrap();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let grant = "GRANT USAGE ON SCHEMA batchsuite TO {role};
        GRANT ALL ON ALL TABLES IN SCHEMA batchsuite TO {role};
        GRANT ALL ON ALL SEQUENCES IN SCHEMA batchsuite TO {role}";
    client.batch_execute(&grant.replace("{role}", &format!("{database}_service"))).await.unwrap();
    let service = at(&url.replace("user=postgres", &format!("user={database}_service")), "batchsuite").await;
    service.check().await.unwrap();

    for (right, kind, object) in [
        ("EXECUTE", "function", "pg_catalog.pg_advisory_xact_lock_shared(integer,integer)"),
        ("EXECUTE", "function", "pg_catalog.pg_stat_get_dead_tuples(oid)"),
        ("SELECT", "", "pg_catalog.pg_database"),
        ("SELECT", "", "pg_catalog.pg_locks"),
    ] {
        client.batch_execute(&format!("REVOKE {right} ON {kind} {object} FROM PUBLIC")).await.unwrap();
        let on = format!("{right} on {kind} {object}").replace("  ", " ");
        assert_names(&on, service.check().await);
        client.batch_execute(&format!("GRANT {right} ON {kind} {object} TO PUBLIC")).await.unwrap();
    }
    service.check().await.unwrap();
}
