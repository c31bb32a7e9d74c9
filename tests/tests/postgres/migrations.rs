//! The schema and its versions.

use batchsuite_auth::store::{Store, StoreErrorKind};
use batchsuite_store::PostgresStore;
use batchsuite_tests::postgres::{TestSchema, keyring};

use crate::silence::CALLS;
use crate::stage::{CIE, Stage, company, consent, paired, put, removal, saved, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_processes_that_start_at_once_all_come_up() {
    let schema = TestSchema::new(server());
    let mut processes = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = PostgresStore::at(server().url(), keyring().await).schema(schema.name()).build().unwrap();
        processes.spawn(async move {
            store.migrate().await?;
            store.check().await?;
            store.load(&company("acme")).await.map(drop)
        });
    }

    for started in processes.join_all().await {
        started.unwrap();
    }
    let client = server().client().await;
    let applied = format!("SELECT version FROM {}.migrations ORDER BY version", schema.name());
    assert_eq!(client.query(&applied, &[]).await.unwrap().len(), 1);
}

/// A later release, in another process, migrates the schema while this one is running.
#[tokio::test]
async fn a_further_column_in_every_table_breaks_no_call_and_keeps_its_value() {
    let stage = Stage::new().await;
    for (name, call) in CALLS {
        call(&stage.store).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    let (client, schema) = (server().client().await, stage.schema.name());
    let tables = "SELECT table_name::text FROM information_schema.tables
        WHERE table_schema = $1 AND table_type = 'BASE TABLE'";
    let tables: Vec<String> = client.query(tables, &[&schema]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(tables.len() > 6, "{tables:?}");
    for table in &tables {
        let add = format!("ALTER TABLE {schema}.{table} ADD COLUMN of_a_later_release text NOT NULL DEFAULT 'kept'");
        client.batch_execute(&add).await.unwrap();
        client.batch_execute(&format!("UPDATE {schema}.{table} SET of_a_later_release = 'set'")).await.unwrap();
    }

    for (name, call) in CALLS {
        call(&stage.store).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    for table in ["grants", "tokens", "deliveries", "keys"] {
        let kept = format!("SELECT count(*) FROM {schema}.{table} WHERE of_a_later_release = 'set'");
        assert!(client.query_one(&kept, &[]).await.unwrap().get::<_, i64>(0) > 0, "{table}");
    }
}

#[tokio::test]
async fn a_repetition_changes_nothing() {
    let stage = Stage::new().await;
    let row = stage.paired(&company("acme")).await;

    stage.store.migrate().await.unwrap();

    assert_eq!(stage.store.load(&company("acme")).await.unwrap().change, row.change);
}

#[tokio::test]
async fn a_schema_that_was_not_migrated_is_an_operators_error() {
    let schema = TestSchema::new(server());
    let store = PostgresStore::at(server().url(), keyring().await).schema(schema.name()).build().unwrap();

    assert_eq!(store.check().await.unwrap_err().kind(), StoreErrorKind::Misconfigured);
    assert_eq!(store.load(&company("acme")).await.unwrap_err().kind(), StoreErrorKind::Misconfigured);
}

#[tokio::test]
async fn a_migration_with_another_content_is_an_operators_error() {
    let stage = Stage::new().await;
    let edit = format!("UPDATE {}.migrations SET checksum = 'edited'", stage.schema.name());
    server().client().await.batch_execute(&edit).await.unwrap();

    assert_eq!(stage.store.check().await.unwrap_err().kind(), StoreErrorKind::Misconfigured);
    assert_eq!(stage.store.migrate().await.unwrap_err().kind(), StoreErrorKind::Misconfigured);
}

#[tokio::test]
async fn a_migration_of_a_later_release_is_fine() {
    let stage = Stage::new().await;
    // Its row comes first in the table.
    let later = "INSERT INTO {schema}.migrations (version, name, checksum) VALUES (1000, 'later', '');
        UPDATE {schema}.migrations SET name = name WHERE version = 1";
    stage.execute(later).await;

    stage.store.check().await.unwrap();
    stage.store.migrate().await.unwrap();
}

/// The migrating role needs no right to create schemas, and the service's role needs no right to create anything.
#[tokio::test]
async fn the_rights_that_are_needed_are_few() {
    let schema = TestSchema::new(server());
    let (name, client) = (schema.name(), server().client().await);
    client
        .batch_execute(&format!(
            "CREATE ROLE {name}_owner LOGIN; CREATE ROLE {name}_service LOGIN;
             CREATE SCHEMA {name} AUTHORIZATION {name}_owner"
        ))
        .await
        .unwrap();
    let as_role = |role| server().url().replace("user=postgres", &format!("user={name}_{role}"));
    let owner = PostgresStore::at(&as_role("owner"), keyring().await).schema(name).build().unwrap();
    let service = PostgresStore::at(&as_role("service"), keyring().await).schema(name).build().unwrap();

    owner.migrate().await.unwrap();
    client
        .batch_execute(&format!(
            "GRANT USAGE ON SCHEMA {name} TO {name}_service;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {name}_service;
             GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {name} TO {name}_service"
        ))
        .await
        .unwrap();

    service.check().await.unwrap();
    put(&service, consent(&company("acme"))).await.unwrap();
    let row = paired(&service, &company("acme")).await;
    assert_eq!(service.wake(CIE, 10).await.unwrap().len(), 1);
    saved(&service, removal(&row)).await;
}

#[tokio::test]
async fn a_schema_name_that_needs_quoting_is_refused() {
    for name in ["Upper", "a b", "a\"; DROP TABLE x", "", "pg_catalog"] {
        let refused = PostgresStore::at(server().url(), keyring().await).schema(name).build();
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Misconfigured, "{name}");
    }
}
