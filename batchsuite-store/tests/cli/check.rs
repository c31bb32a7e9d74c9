//! `check`, and the settings of every command.

use batchsuite_auth::fake_ups::FakeUps;
use batchsuite_tests::{Backend, Database, acme, company, on_each_backend, sqlite::TestFile};
use serde_json::json;

use crate::{
    program,
    stage::{KEY, NEW_KEY, PASSWORD, Stage},
};

on_each_backend!(
    a_database_in_order_is_told_as_such,
    keys_that_are_missing_or_wrong_are_named,
    a_company_whose_tokens_do_not_open_is_named_and_the_others_are_opened,
    another_client_id_is_told,
    a_database_of_the_other_environment_is_told,
    a_setting_that_is_missing_is_named,
    a_database_that_is_not_there_is_told_with_what_to_do,
);

async fn a_database_in_order_is_told_as_such(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;

    stage.run(&["check"]).await.ended(0).says("All is in order").says("of 1 company.");
    let checked = stage.run(&["check", "--json"]).await.ended(0).object();
    assert_eq!(checked, json!({ "troubles": [], "companies": 1 }));
}

async fn keys_that_are_missing_or_wrong_are_named(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;
    let exchanged = format!("test:{}", NEW_KEY.split_once(':').unwrap().1);

    stage.run_with(&["check"], &[("BATCHSUITE_KEYS", "")]).await.ended(2).complains("keys are missing");
    stage
        .run_with(&["check"], &[("BATCHSUITE_KEYS", "no-key")])
        .await
        .ended(2)
        .complains("BATCHSUITE_KEYS cannot be used")
        .complains("\n  cause: key entry 1 is not of the form name:key");
    let wrong = stage.run_with(&["check"], &[("BATCHSUITE_KEYS", &exchanged)]).await.ended(1);
    let wrong = wrong.says("the key named test is another one").says("Nothing else was checked");
    assert!(!wrong.stdout.contains("To do"), "the message says what to do: {wrong:#?}");
    stage.run_with(&["check"], &[("BATCHSUITE_KEYS", NEW_KEY)]).await.ended(1).says("there is no key named test");
    let told = stage.run_with(&["check", "--json"], &[("BATCHSUITE_KEYS", NEW_KEY)]).await.ended(1).object();
    assert_eq!((&told["companies"], &told["troubles"][0]["what"]), (&json!(null), &json!("database")));
    // Every command refuses them, and says the same.
    for command in [&["list"][..], &["why", "acme"], &["overview"], &["events"], &["reencrypt"]] {
        let refused = stage.run_with(command, &[("BATCHSUITE_KEYS", &exchanged)]).await.ended(2);
        refused.complains("the key named test is another one");
    }
}

async fn a_company_whose_tokens_do_not_open_is_named_and_the_others_are_opened(backend: Backend) {
    let stage = Stage::new(backend).await;
    let service = stage.service().await;
    for name in ["acme", "bolt"] {
        stage.opt_in(&service, &company(name), FakeUps::USER).await;
    }
    let of_acme = match backend {
        Backend::Postgres => "company = 'acme'",
        Backend::Sqlite => "id = (SELECT id FROM {schema}.grants WHERE company = 'acme')",
    };
    // A ciphertext opens in its own field only.
    let damage = format!("UPDATE {{schema}}.tokens SET refresh_token = access_token WHERE {of_acme}");
    stage.database.execute(&damage).await;

    stage.run(&["check"]).await.ended(1).says("tokens of acme cannot be read").says("Checked 2 companies.");
    let told = stage.run(&["--json", "check"]).await.ended(1).object();
    assert_eq!(told["companies"], 2);
    assert_eq!(told["troubles"].as_array().unwrap().len(), 1);
    assert_eq!(told["troubles"][0]["company"], "acme");
    stage.run(&["why", "acme"]).await.ended(1).says("cannot be read").says("an operator");
}

async fn another_client_id_is_told(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.announce().await;
    let service = stage.service().await;
    stage.opt_in(&service, &acme(), FakeUps::USER).await;

    let other = [("UPS_CLIENT_ID", "another-client")];
    stage.run_with(&["check"], &other).await.ended(1).says("client: UPS_CLIENT_ID is not the client id");
    // What the service announced counts, so nothing reads as a changed client.
    let unset = [("UPS_CLIENT_ID", "")];
    stage.run_with(&["check"], &unset).await.ended(0);
    stage.run_with(&["why", "acme"], &unset).await.ended(0).says("It works.");
    stage.run_with(&["why", "acme"], &other).await.ended(1).says("another UPS client id");
    // Nothing is written for a client that is not the service's.
    for command in [&["reencrypt"][..], &["after-restore", "--yes"], &["import", "-"]] {
        stage.run_with(command, &other).await.ended(2).complains("is not the client id that the service announced");
    }
    // A row that cannot be read holds up nobody who knows the id.
    let column = if backend == Backend::Postgres { "state" } else { "document" };
    stage.database.execute(&format!(r#"UPDATE {{schema}}.grants SET {column} = '"x"' WHERE company = ''"#)).await;
    stage.run(&["check"]).await.ended(1).says("the row that holds the client id cannot be read");
    stage.run(&["why", "acme"]).await.ended(0);
    stage.run_with(&["why", "acme"], &unset).await.ended(2).complains("stored data cannot be read");
}

async fn a_database_of_the_other_environment_is_told(backend: Backend) {
    let stage = Stage::new(backend).await;
    let production = async |command: &[&str], client_id: &str| {
        let arguments = [command, &["--environment", "production"]].concat();
        stage.run_with(&arguments, &[("UPS_CLIENT_ID", client_id)]).await
    };
    production(&["check"], "").await.ended(0);
    production(&["why", "acme"], "").await.ended(2).complains("the client id is not known");
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;

    let words = "this database has companies of cie and none of production";
    production(&["check"], "").await.ended(1).says(&format!("environment: {words}"));
    production(&["check"], "client").await.ended(1).says(words);
    let told = production(&["check", "--json"], "").await.ended(1).object();
    assert_eq!((&told["troubles"][0]["what"], &told["companies"]), (&json!("environment"), &json!(0)));
    for command in [&["why", "acme"][..], &["list"]] {
        let told = production(command, "").await.ended(2).complains(words);
        assert!(!told.stderr.contains("set UPS_CLIENT_ID"), "{told:#?}");
    }
    stage.run(&["check"]).await.ended(0);
}

async fn a_setting_that_is_missing_is_named(backend: Backend) {
    let stage = Stage::new(backend).await;

    stage.run_with(&["list"], &[("DATABASE_URL", "")]).await.ended(2).complains("DATABASE_URL is missing");
    for other in ["mysql://user@host/database", "batchsuite.db"] {
        let told = stage.run_with(&["list"], &[("DATABASE_URL", other)]).await.ended(2);
        told.complains("DATABASE_URL must be postgres://").complains("sqlite:PATH");
    }
    let unknown = stage.run_with(&["list"], &[("UPS_CLIENT_ID", "")]).await.ended(2);
    unknown.complains("the client id is not known").complains("UPS_CLIENT_ID");
    let told = stage.run_with(&["list", "--json"], &[("DATABASE_URL", "")]).await.ended(2);
    let line = told.stderr.lines().find(|line| line.starts_with('{')).unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(line).unwrap()["error"].as_str().unwrap().contains("DATABASE_URL")
    );
    // The URL and the keys may come from files.
    let directory = std::env::temp_dir().join(format!("batchsuite-cli-{:?}-{}", backend, std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (url, keys) = (directory.join("url"), directory.join("keys"));
    let variables = stage.variables();
    std::fs::write(&url, format!("{}\n", variables[0].1)).unwrap();
    std::fs::write(&keys, format!("{KEY}\n")).unwrap();
    std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let files = [
        ("DATABASE_URL", ""),
        ("BATCHSUITE_KEYS", ""),
        ("DATABASE_URL_FILE", url.to_str().unwrap()),
        ("BATCHSUITE_KEYS_FILE", keys.to_str().unwrap()),
    ];
    stage.run_with(&["check"], &files).await.ended(0);
    std::fs::remove_dir_all(directory).unwrap();
}

async fn a_database_that_is_not_there_is_told_with_what_to_do(backend: Backend) {
    let stage = Stage::new(backend).await;
    match backend {
        Backend::Postgres => {
            let away = format!("postgres://batchsuite:{PASSWORD}@127.0.0.1:1/batchsuite");
            for command in [&["check"][..], &["migrate"], &["list"], &["overview"], &["import", "-"]] {
                let told = stage.run_with(command, &[("DATABASE_URL", &away)]).await.ended(2);
                told.complains("the database cannot be reached").complains("Connection refused");
            }
            let missing = ["--environment", "cie", "--schema", "not_there"];
            for (command, status) in [("check", 1), ("list", 2)] {
                let command = program::command(&[&missing[..], &[command]].concat(), &stage.variables());
                let told = program::run(command, None, &stage.said).await.ended(status);
                let said = format!("{}{}", told.stdout, told.stderr);
                assert!(said.contains("the schema does not exist; run `batchsuite migrate`"), "{said}");
            }
        }
        Backend::Sqlite => {
            let away = [("DATABASE_URL", "sqlite:/not-there/batchsuite.db")];
            stage.run_with(&["check"], &away).await.ended(1).says("there is no database").says("batchsuite migrate");
            stage.run_with(&["list"], &away).await.ended(2).complains("there is no database");
            stage.run_with(&["migrate"], &away).await.ended(2);
        }
    }
}

#[tokio::test]
async fn a_file_that_another_program_has_locked_is_told() {
    let file = TestFile::new();
    let stuck = file.connection();
    let stage = Stage::over(Database::Sqlite(file)).await;
    stage.store().await;
    stuck.execute_batch("BEGIN IMMEDIATE").unwrap();

    let told = stage.run(&["check"]).await.ended(2).complains("another program holds the lock of the database file");
    assert!(!told.stderr.contains("DATABASE_URL names it"), "{told:#?}");

    stuck.execute_batch("ROLLBACK").unwrap();
    stage.run(&["check"]).await.ended(0);
}
