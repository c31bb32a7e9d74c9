//! `import`.

use batchsuite_auth::{fake_ups::FakeUps, status::Status};
use batchsuite_tests::{
    Backend, Database, acme, ada, company, on_each_backend,
    postgres::{Log, Server},
};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::{
    program::Running,
    stage::{Stage, in_hours},
};

on_each_backend!(
    without_yes_an_import_only_says_what_would_happen,
    an_import_can_be_repeated,
    a_later_opt_in_and_a_removal_stay,
    a_bad_line_is_told_by_its_number_and_never_shown,
    an_import_that_was_interrupted_is_resumed,
    an_imported_company_is_served,
);

async fn without_yes_an_import_only_says_what_would_happen(backend: Backend) {
    let stage = Stage::new(backend).await;
    let lines = format!("{}\n\n{}\n", stage.line("acme", ""), stage.line("bolt", ""));

    let dry = stage.run_on(&lines, &["import", "-"]).await.ended(0).says("Would import 2 companies.");
    dry.says("Nothing was stored.");
    let told = stage.run_on(&lines, &["import", "--json", "-"]).await.ended(0).objects();
    assert_eq!(told[0], json!({ "line": 1, "company": "acme", "outcome": "stored", "why": null }));
    assert_eq!((&told[2]["dry_run"], &told[2]["stored"], &told[2]["last_line"]), (&json!(true), &json!(2), &json!(3)));
    assert!(stage.run(&["list", "--json"]).await.ended(0).objects().is_empty());
}

async fn an_import_can_be_repeated(backend: Backend) {
    let stage = Stage::new(backend).await;
    let lines = format!("{}\n{}", stage.line("acme", r#","actor":"ada""#), stage.line("bolt", ""));
    let file = std::env::temp_dir().join(format!("batchsuite-import-{backend:?}-{}", std::process::id()));
    std::fs::write(&file, format!("\u{feff}{lines}")).unwrap();
    let import = ["import", "--yes", "--actor", "move-2026", file.to_str().unwrap()];

    stage.run(&import).await.ended(0).says("Imported 2 companies.");
    stage.run(&import).await.ended(0).says("Imported 0 companies.").says("2 lines: imported before.");
    let events = stage.run(&["events", "--json"]).await.ended(0).objects();
    let actors: Vec<_> = events.iter().map(|event| event["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, ["ada", "move-2026"]);
    std::fs::remove_file(&file).unwrap();
    stage.run(&import).await.ended(2).complains("cannot be read");
    let told = stage.run(&["import", env!("CARGO_MANIFEST_DIR")]).await.ended(2).complains("cannot be read");
    assert_eq!(told.stdout, "", "a directory: nothing was looked at, so nothing is advised");
}

async fn a_later_opt_in_and_a_removal_stay(backend: Backend) {
    let stage = Stage::new(backend).await;
    let service = stage.service().await;
    for name in ["acme", "gone"] {
        stage.opt_in(&service, &company(name), FakeUps::USER).await;
    }
    service.remove_auth(&company("gone"), &ada()).await.unwrap();
    let before = service.status(&acme()).await.unwrap();
    let older = format!(r#","issued_at":{}"#, in_hours(-48));
    let lines =
        format!("{}\n{}\n{}", stage.line("acme", &older), stage.line("gone", &older), stage.line("new", &older));

    for arguments in [&["import", "--json", "-"][..], &["import", "--json", "--yes", "-"]] {
        let told = stage.run_on(&lines, arguments).await.ended(0).objects();
        let outcomes: Vec<_> = told[..3].iter().map(|line| line["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["kept", "removed", "stored"], "{arguments:?}");
    }
    stage
        .run_on(&lines, &["import", "--yes", "-"])
        .await
        .ended(0)
        .says("line 1 (acme): kept:")
        .says("line 2 (gone): removed:");
    assert_eq!(service.status(&acme()).await.unwrap(), before);
    assert_eq!(service.status(&company("gone")).await.unwrap().status, Status::Unauthenticated);
}

async fn a_bad_line_is_told_by_its_number_and_never_shown(backend: Backend) {
    let stage = Stage::new(backend).await;
    let good = stage.line("acme", "");
    let broken = stage.line("bolt", "").replace('}', "");
    let misspelt = stage.line("coil", r#","isued_at":1"#);
    let again = stage.line("acme", "");
    let stolen = good.replace("\"acme\"", "\"dyno\"");
    let ended = stage.line("edge", &format!(r#","issued_at":{},"refresh_expires_at":{}"#, in_hours(-9), in_hours(-1)));
    let ahead = stage.line("fuse", &format!(r#","issued_at":{}"#, in_hours(99)));
    let seconds = stage.line("gate", r#","issued_at":1763000000"#);
    let lines = [&good, &broken, &misspelt, &again, &stolen, &ended, &ahead, &seconds].map(String::as_str).join("\n");

    for arguments in [&["import", "-"][..], &["import", "--yes", "-"]] {
        let told = stage.run_on(&lines, arguments).await.ended(1).says("7 lines: refused.");
        let told = told.says("line 2: refused: it is not a JSON object").says("line 3: refused: a field is not known");
        let told = told.says("line 4 (acme): refused: its company is that of line 1, too");
        let told = told.says("line 5 (dyno): refused: its refresh token is that of line 1, too");
        let told = told.says("line 6 (edge): refused: the refresh token has ended");
        let told = told.says("line 7 (fuse): refused: these cannot be tokens of UPS: they were issued in the future");
        told.says(
            "line 8 (gate): refused: these cannot be tokens of UPS: they were issued or ended more than ten years",
        );
    }
    let listed = stage.run(&["list", "--json"]).await.ended(0).object();
    assert_eq!(listed["company"], "acme");
}

async fn an_import_that_was_interrupted_is_resumed(backend: Backend) {
    let stage = Stage::new(backend).await;
    let lines: Vec<_> = (0..60).map(|number| stage.line(&format!("company-{number:02}"), "")).collect();
    for (signal, first, status) in [(Signal::INT, 20, Some(2)), (Signal::KILL, 40, None)] {
        let mut import = Running::start(stage.command(&["import", "--yes", "--json", "-"]), &stage.said);
        // The rest of the lines never comes.
        let some = format!("{}\n", lines[..first].join("\n"));
        import.child.stdin.as_mut().unwrap().write_all(some.as_bytes()).await.unwrap();
        import.until(&format!("\"line\":{first},")).await;
        import.signal(signal);
        let ran = import.ended().await;
        assert_eq!(ran.status, status, "{ran:#?}");
        if status.is_some() {
            ran.complains("run the same command again");
        }
    }

    let told = stage.run_on(&lines.join("\n"), &["import", "--yes", "--json", "-"]).await.ended(0).objects();
    assert_eq!((&told[60]["already_stored"], &told[60]["stored"]), (&json!(40), &json!(20)));
    assert_eq!(stage.run(&["list", "--json"]).await.ended(0).objects().len(), 60);
}

/// On a server of its own, which goes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_waits_for_a_database_that_is_away() {
    let server: &'static Server = Box::leak(Box::new(Server::start(Log::Normal)));
    let stage = Stage::over(Database::on(server).await).await;
    let mut import = Running::start(stage.command(&["import", "--yes", "--json", "-"]), &stage.said);
    let mut stdin = import.child.stdin.take().unwrap();
    let mut give = async |company| {
        let line = format!("{}\n", stage.line(company, ""));
        stdin.write_all(line.as_bytes()).await.unwrap();
    };
    give("acme").await;
    import.until("\"line\":1,").await;

    server.stop();
    give("bolt").await;
    give("coil").await;
    server.start_again();
    drop(stdin);

    import.until("\"line\":3,").await;
    let told = import.ended().await.ended(0).object();
    assert_eq!((&told["refused"], &told["last_line"]), (&json!(0), &json!(3)));
    assert_eq!(stage.run(&["list", "--json"]).await.ended(0).objects().len(), 3);
}

async fn an_imported_company_is_served(backend: Backend) {
    let stage = Stage::new(backend).await;
    let kept = stage.ups.opt_in_elsewhere(FakeUps::USER);
    let (refresh, access) = (kept.refresh_token.expose_secret(), kept.access_token.expose_secret());
    stage.secrets.add("refresh token", refresh);
    stage.secrets.add("access token", access);
    let issued_at = kept.issued_at.timestamp_millis();
    // As UPS answered to the other system.
    let line = format!(
        r#"{{"company":"acme","refresh_token_expires_in":"5183999","refresh_token_status":"approved","token_type":"Bearer",
        "issued_at":"{issued_at}","client_id":"x","access_token":"{access}","refresh_token":"{refresh}",
        "refresh_token_issued_at":"{issued_at}","expires_in":"3599","status":"approved"}}"#
    );
    stage.run_on(&line.replace('\n', ""), &["import", "--yes", "-"]).await.ended(0).says("Imported 1 company.");

    let service = stage.service().await;
    let token = service.access_token(&acme()).await.unwrap();
    assert_eq!(token.expose_secret(), access);
    let next = service.report_rejected(&acme(), &token).await.unwrap();
    assert_eq!(next.revision().version, 2, "the refresh token was good, and is replaced");
}
