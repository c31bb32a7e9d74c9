//! `migrate`, `reencrypt`, `prune` and `after-restore`.

use batchsuite_auth::{
    Environment,
    clock::{Clock as _, SystemClock},
    fake_ups::FakeUps,
    store::RowKey,
};
use batchsuite_tests::{
    Backend, Database, acme, company, eventually, on_each_backend,
    postgres::{Log, Server, TestSchema},
    sqlite::TestFile,
};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    program::Running,
    stage::{KEY, NEW_KEY, Stage},
};

on_each_backend!(
    a_new_database_is_set_up_and_may_be_set_up_again,
    after_a_new_key_everything_is_encrypted_with_it,
    to_look_with_a_new_first_key_locks_nobody_out,
    a_re_encryption_that_is_ended_anywhere_goes_on_when_it_is_run_again,
    tokens_that_cannot_be_encrypted_again_are_named,
    old_events_are_deleted_and_the_gap_is_told,
    after_a_restore_every_opt_in_is_marked,
);

async fn a_new_database_is_set_up_and_may_be_set_up_again(backend: Backend) {
    let database = match backend {
        Backend::Postgres => Database::Postgres(TestSchema::new(Server::shared(Log::Normal))),
        Backend::Sqlite => Database::Sqlite(TestFile::new()),
    };
    let stage = Stage::over(database).await;

    stage.run(&["check"]).await.ended(1).says("batchsuite migrate");
    stage.run(&["migrate"]).await.ended(0).says("The schema is up to date.");
    stage.run(&["check"]).await.ended(0);
    let again = stage.run(&["migrate", "--json"]).await.ended(0).object();
    assert_eq!(again["up_to_date"], true);
}

async fn after_a_new_key_everything_is_encrypted_with_it(backend: Backend) {
    let stage = Stage::new(backend).await;
    let service = stage.service().await;
    for name in ["acme", "bolt"] {
        stage.opt_in(&service, &company(name), FakeUps::USER).await;
    }
    drop(service);
    let both = format!("{NEW_KEY},{KEY}");
    let (both, new) = ([("BATCHSUITE_KEYS", both.as_str())], [("BATCHSUITE_KEYS", NEW_KEY)]);

    stage.run_with(&["reencrypt"], &both).await.ended(0).says("the tokens of 2 companies again, with the key new.");
    let again = stage.run_with(&["reencrypt", "--json"], &both).await.ended(0).object();
    assert_eq!(again, json!({ "key": "new", "companies": 0, "unreadable": [] }));
    stage.run_with(&["check"], &new).await.ended(0).says("2 companies");
}

async fn to_look_with_a_new_first_key_locks_nobody_out(backend: Backend) {
    let stage = Stage::new(backend).await;
    let both = format!("{NEW_KEY},{KEY}");
    let both = [("BATCHSUITE_KEYS", both.as_str())];

    for (command, status) in
        [(&["check"][..], 0), (&["list"], 0), (&["why", "acme"], 1), (&["overview"], 0), (&["events"], 0)]
    {
        stage.run_with(command, &both).await.ended(status);
    }
    stage.run(&["check"]).await.ended(0);
    stage.run_with(&["check"], &[("BATCHSUITE_KEYS", NEW_KEY)]).await.ended(1).says("there is no key named test");

    // From then on the old key can go, also where there is no company yet.
    stage.run_with(&["reencrypt"], &both).await.ended(0).says("the tokens of 0 companies");
    stage.run_with(&["check"], &[("BATCHSUITE_KEYS", NEW_KEY)]).await.ended(0);
    stage.run(&["check"]).await.ended(1).says("there is no key named new");
}

async fn a_re_encryption_that_is_ended_anywhere_goes_on_when_it_is_run_again(backend: Backend) {
    let stage = Stage::new(backend).await;
    let lines: Vec<_> = (0..100).map(|number| stage.line(&format!("company-{number:02}"), "")).collect();
    stage.run_on(&lines.join("\n"), &["import", "--yes", "-"]).await.ended(0);
    let both = format!("{NEW_KEY},{KEY}");
    let (both, new) = ([("BATCHSUITE_KEYS", both.as_str())], [("BATCHSUITE_KEYS", NEW_KEY)]);
    let store = stage.store().await;
    let number = async |name| store.load(&RowKey::company(Environment::Cie, company(name))).await.unwrap().number;
    let (first, later) = ("company-00", "company-50");
    for (signal, name, imported) in
        [(Signal::INT, first, number(first).await), (Signal::KILL, later, number(later).await)]
    {
        let running = Running::start(stage.command_with(&["reencrypt"], &both), &stage.said);
        eventually("a company's tokens are encrypted again", async || number(name).await > imported).await;
        running.signal(signal);
        let ran = running.ended().await;
        match (signal, ran.status) {
            (Signal::INT, Some(2)) => drop(ran.complains("run the same command again")),
            (Signal::KILL, None) => {}
            // It was done already.
            _ => drop(ran.ended(0).says("Encrypted the tokens of")),
        }
    }

    stage.run_with(&["reencrypt"], &both).await.ended(0);
    stage.run_with(&["check"], &new).await.ended(0).says("100 companies");
}

async fn tokens_that_cannot_be_encrypted_again_are_named(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;
    stage.database.execute("UPDATE {schema}.tokens SET refresh_token = access_token").await;
    let both = format!("{NEW_KEY},{KEY}");

    let told = stage.run_with(&["reencrypt"], &[("BATCHSUITE_KEYS", &both)]).await.ended(1);
    told.says("acme: its tokens cannot be read").says("Keep the older keys");
    let told = stage.run_with(&["--json", "reencrypt"], &[("BATCHSUITE_KEYS", &both)]).await.ended(1).object();
    assert_eq!(told["unreadable"], json!(["acme"]));
}

async fn old_events_are_deleted_and_the_gap_is_told(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;

    stage.run(&["prune", "--older-than", "30d"]).await.ended(0).says("Deleted 0 events.");
    // Younger events explain what `why` finds.
    for age in ["29d", "0s"] {
        stage.run(&["prune", "--older-than", age]).await.ended(2).complains("the last 30 days").complains("add --yes");
    }
    assert_eq!(stage.run(&["events", "--json"]).await.ended(0).objects().len(), 2);
    let pruned = stage.run(&["prune", "--json", "--older-than", "0s", "--yes"]).await.ended(0).object();
    assert_eq!(pruned, json!({ "events": 2 }));
    stage.run(&["events"]).await.ended(0).says("No event.");
    stage.run(&["events", "--after", "0"]).await.ended(2).complains("were pruned; read on with --after");
    stage.run(&["why", "acme"]).await.ended(0);
    let undelivered = stage.run(&["prune", "--older-than", "0s", "--undelivered", "--yes"]).await;
    undelivered.ended(0).says("Deleted 0 events.");
    stage.run(&["prune"]).await.ended(2).complains("--older-than");
    stage.run(&["prune", "--older-than", "1y"]).await.ended(2).complains("a number and a unit");
}

async fn after_a_restore_every_opt_in_is_marked(backend: Backend) {
    let stage = Stage::new(backend).await;
    let service = stage.service().await;
    for name in ["acme", "bolt"] {
        stage.opt_in(&service, &company(name), FakeUps::USER).await;
    }
    let sent = format!("{:?}", stage.ups.requests());

    stage.run(&["after-restore"]).await.ended(2).complains("before any process serves").complains("--yes");
    stage.run(&["why", "acme"]).await.ended(0).says("It works.");
    let marked = stage.run(&["after-restore", "--yes", "--json"]).await.ended(0).object();
    assert_eq!(marked, json!({ "marked": 2 }));
    stage.run(&["why", "acme", "--json"]).await.ended(0);
    stage.run(&["check"]).await.ended(0);
    let event = stage.run(&["events", "--json", "--last", "1"]).await.ended(0).object();
    assert_eq!((&event["kind"], &event["company"]), (&json!("restored"), &json!(null)));
    assert_eq!(format!("{:?}", stage.ups.requests()), sent);

    // As an interrupted one leaves it.
    let now = SystemClock.now().timestamp_micros();
    stage.database.set_field("", "restored_at", &json!(now)).await;
    stage.run(&["check"]).await.ended(1).says("restore: after a restore, the opt-ins are marked only in part");
    stage.run(&["after-restore", "--yes"]).await.ended(0);
    stage.run(&["check"]).await.ended(0);

    // A password change is now told as a lost rotation.
    let token = service.access_token(&acme()).await.unwrap();
    stage.ups.change_password(FakeUps::USER);
    service.report_rejected(&acme(), &token).await.unwrap_err();
    stage.run(&["why", "acme"]).await.ended(1).says("UPS's answer to a renewal was lost");
}
