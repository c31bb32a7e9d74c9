//! A full disk and a read-only disk, each a small file system of the test's own.

use std::{
    env,
    process::{Command, Stdio},
};

use batchsuite_auth::store::{Row, Saved, Store, StoreError, StoreErrorKind, Swap};
use batchsuite_store::SqliteStore;
use batchsuite_tests::{acme, companies, company, postgres::keyring, sqlite::TestFile};

use crate::stage::{key, line, rotate, rotated, swap, tokens, version};

/// Runs the test `name` again in a process that may mount, with a tmpfs of `size` for its files. Returns whether this
/// is that process.
fn has_its_own_disk(name: &str, size: &str) -> bool {
    const MARK: &str = "SQLITE_TEST_HAS_ITS_OWN_DISK";
    if env::var_os(MARK).is_some() {
        return true;
    }
    let run = r#"mount -t tmpfs -o "size=$1" tmpfs "$TMPDIR" && shift && exec "$@""#;
    let disk = TestFile::new();
    let mut test = Command::new("unshare");
    test.args(["--user", "--map-root-user", "--mount", "sh", "-c", run, "sh", size]).arg(env::current_exe().unwrap());
    let output =
        test.args(["--exact", name]).env("TMPDIR", disk.directory()).env(MARK, "1").stdin(Stdio::null()).output();
    let output = output.expect("unshare and mount");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

fn remount(options: &str) {
    let mounted = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(env::temp_dir()).status();
    assert!(mounted.expect("mount").success());
}

/// A rotation with 16 KiB of tokens.
async fn rotate_much(store: &dyn Store, row: &Row) -> Result<Saved, StoreError> {
    let much = "x".repeat(8 << 10);
    store.save(Swap { tokens: tokens(&much, &much), ..swap(row) }).await
}

#[tokio::test]
async fn a_full_disk_fails_a_save_and_loses_nothing() {
    if !has_its_own_disk("room::a_full_disk_fails_a_save_and_loses_nothing", "600k") {
        return;
    }
    let file = TestFile::new();
    let store = file.store().await;
    rotated(&store, &acme()).await;
    let refused = 'full: {
        for company in companies(0..100) {
            let row = store.load(&key(&company)).await.unwrap();
            if let Err(refused) = rotate_much(&store, &row).await {
                break 'full refused;
            }
        }
        panic!("the disk does not become full");
    };

    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{}", line(&refused));
    assert_eq!(version(&store, &acme()).await, 1, "the row can still be read");
    rotate(&store, &acme()).await.unwrap_err();

    remount("size=8m");
    rotated(&store, &acme()).await;
    assert_eq!(version(&file.store().await, &acme()).await, 2);
    let check: String = file.connection().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn a_disk_that_becomes_read_only_refuses_a_save_and_works_again() {
    if !has_its_own_disk("room::a_disk_that_becomes_read_only_refuses_a_save_and_works_again", "8m") {
        return;
    }
    let file = TestFile::new();
    rotated(&file.store().await, &acme()).await;
    file.closed().await;
    remount("ro");

    let refused = SqliteStore::open(file.path(), keyring().await).await.expect_err("the disk is read-only");

    assert_eq!(refused.kind(), StoreErrorKind::Misconfigured);
    assert!(line(&refused).contains("batchsuite.db: Read-only file system"), "{}", line(&refused));
    let new = SqliteStore::open(file.directory().join("new.db"), keyring().await).await.unwrap_err();
    assert!(line(&new).contains("new.db: Read-only file system"), "{}", line(&new));
    remount("rw");
    let store = file.store().await;
    assert_eq!(version(&store, &acme()).await, 1);
    rotated(&store, &company("beta")).await;
}

/// Also to the administrator, who may write to each file that its disk allows.
#[tokio::test]
async fn a_file_that_is_read_only_is_refused_by_name() {
    if !has_its_own_disk("room::a_file_that_is_read_only_is_refused_by_name", "8m") {
        return;
    }
    let file = TestFile::new();
    rotated(&file.store().await, &acme()).await;
    file.closed().await;
    let path = file.path();
    let mount = |options: &[&str]| assert!(Command::new("mount").args(options).arg(&path).status().unwrap().success());
    mount(&["--bind", path.to_str().unwrap()]);
    mount(&["-o", "remount,bind,ro"]);

    let refused = SqliteStore::open(file.path(), keyring().await).await.expect_err("the file is read-only");

    assert_eq!(refused.kind(), StoreErrorKind::Misconfigured);
    assert!(line(&refused).ends_with("batchsuite.db: Read-only file system (os error 30)"), "{}", line(&refused));
}
