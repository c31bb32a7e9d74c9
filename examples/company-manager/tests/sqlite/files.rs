//! Files that cannot be used: one line says so, and nothing is touched.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rusqlite::Connection;

use crate::{instance::Site, process::command};

/// The one line with which the program ends.
async fn refusal(site: &Site, variables: &[(&str, &str)]) -> String {
    let stderr = site.refusal(variables).await;
    assert!(stderr.starts_with("company-manager: ") && stderr.lines().count() == 1, "{stderr}");
    assert!(!stderr.contains("canary"), "{stderr}");
    stderr
}

/// Every file of a directory, with its content.
fn content(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let content = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    let mut content: Vec<_> = content.collect();
    content.sort();
    content
}

#[tokio::test]
async fn a_file_that_is_not_the_program_s_is_refused_and_gets_no_keys() {
    let site = Site::new().await;
    let directory = site.stage.path().parent().unwrap().to_owned();
    fs::create_dir(&directory).unwrap();
    let theirs = Connection::open(site.stage.path()).unwrap();
    theirs.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(theirs);
    let before = content(&directory);
    assert!(refusal(&site, &[]).await.contains("batchsuite.db: it is a database of another program"));
    assert!(content(&directory) == before, "it was touched");

    fs::write(site.stage.path(), "name,key\n".repeat(1000)).unwrap();
    let before = content(&directory);
    assert!(refusal(&site, &[]).await.contains("file is not a database"));
    assert!(content(&directory) == before, "it was touched");
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_what_to_do() {
    let site = Site::new().await;
    site.start().await.end().await;
    // The last connection empties the log, which would hide the damage.
    site.stage.execute("SELECT 1").await;
    let mut bytes = fs::read(site.stage.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xa5);
    fs::write(site.stage.path(), &bytes).unwrap();

    let refused = refusal(&site, &[]).await;

    assert!(refused.contains("batchsuite.db: it is damaged; put a backup in its place"), "{refused}");
    assert!(fs::read(site.stage.path()).unwrap() == bytes, "it was touched");
}

#[tokio::test]
async fn where_nothing_can_be_created_the_line_names_the_place() {
    let site = Site::new().await;
    // Not even root can create a file there.
    for (url, named) in [
        ("sqlite:/proc/batchsuite/batchsuite.db", "/proc/batchsuite cannot be created: "),
        ("sqlite:/proc/batchsuite.db", "/proc/batchsuite.db.keys cannot be created: "),
    ] {
        let refused = refusal(&site, &[("DATABASE_URL", url)]).await;
        assert!(refused.contains(named), "{refused}");
    }
    let keys = ("BATCHSUITE_KEYS", crate::instance::KEYS);
    let refused = refusal(&site, &[("DATABASE_URL", "sqlite:/proc/batchsuite.db"), keys]).await;
    assert!(refused.contains("/proc/batchsuite.db: "), "{refused}");
}

#[tokio::test]
async fn a_database_without_its_keys_is_refused_until_they_are_back() {
    let site = Site::new().await;
    site.start().await.end().await;
    let (key_file, away) = (site.stage.key_file(), site.stage.directory().join("away"));
    fs::rename(&key_file, &away).unwrap();

    let refused = refusal(&site, &[]).await;

    assert!(refused.contains("the keys are not those of this database: there is no key named "), "{refused}");
    assert!(refused.trim().ends_with(&format!("there is no key file {}", key_file.display())), "{refused}");
    assert!(!key_file.exists(), "no new one takes its place");
    fs::rename(&away, &key_file).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&site, &[]).await.contains("open to others than its owner (mode 0644)"));
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    site.start().await.end().await;
}

#[tokio::test]
async fn keys_may_be_elsewhere_and_then_no_file_is_created_for_them() {
    let site = Site::new().await;

    let instance = site.start_with(&[("BATCHSUITE_KEYS", crate::instance::KEYS)]).await;

    assert!(instance.said.contains("Keys        in BATCHSUITE_KEYS\n"), "{}", instance.said);
    assert!(!site.stage.key_file().exists());
    instance.end().await;
}

/// The program encrypts access keys, too: its first key must be known before.
#[tokio::test]
async fn a_new_first_key_is_required_from_the_first_start_on() {
    let site = Site::new().await;
    let old = crate::instance::KEYS;
    let both = format!("2026-12:HxABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=,{old}");
    site.start_with(&[("BATCHSUITE_KEYS", old)]).await.end().await;

    site.start_with(&[("BATCHSUITE_KEYS", &both)]).await.end().await;

    let refused = refusal(&site, &[("BATCHSUITE_KEYS", old)]).await;
    assert!(refused.contains("there is no key named 2026-12"), "{refused}");
}

#[tokio::test]
async fn after_restore_is_not_for_the_demo() {
    let output = command(&[]).arg("after-restore").output().await.unwrap();

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("after-restore is not for the demo"), "{stderr}");
}
