//! The file: not accessible to other users, and left alone if it is not ours.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use batchsuite_auth::store::{StoreError, StoreErrorKind};
use batchsuite_store::SqliteStore;
use batchsuite_tests::{acme, company, postgres::keyring, sqlite::TestFile};
use rusqlite::Connection;

use crate::stage::{line, rotated, version};

/// Every file in a directory with its content, except SQLite's shared memory.
fn content(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let content = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    let mut content: Vec<_> = content.filter(|(name, _)| !name.ends_with("-shm")).collect();
    content.sort();
    content
}

/// The refusal to open a file, which must stay unchanged.
async fn refusal(file: &TestFile) -> StoreError {
    let before = content(file.directory());
    let refused = SqliteStore::open(file.path(), keyring().await).await.expect_err("the file must be refused");
    assert!(line(&refused).contains(file.path().to_str().unwrap()), "{}", line(&refused));
    assert!(content(file.directory()) == before, "the directory was changed");
    refused
}

#[tokio::test]
async fn the_database_and_what_is_beside_it_are_closed_to_others() {
    let file = TestFile::new();
    let store = file.store().await;
    rotated(&store, &acme()).await;

    let entries = fs::read_dir(file.directory()).unwrap().map(|entry| entry.unwrap());
    let modes = entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().permissions().mode() & 0o777));
    let modes: Vec<_> = modes.collect();

    assert_eq!(modes.len(), 3, "the database, its log, and the log's index: {modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn an_empty_file_becomes_a_database_and_keeps_its_mode() {
    let file = TestFile::new();
    fs::write(file.path(), "").unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();

    rotated(&file.store().await, &acme()).await;

    assert_eq!(version(&file.store().await, &acme()).await, 1);
    assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn a_name_may_hold_any_character() {
    let file = TestFile::new();
    let path = file.directory().join("a b?mode=memory&x#%41 ä.db");

    rotated(&SqliteStore::open(&path, keyring().await).await.unwrap(), &acme()).await;

    assert!(path.exists());
    assert_eq!(version(&SqliteStore::open(&path, keyring().await).await.unwrap(), &acme()).await, 1);
}

#[tokio::test]
async fn a_missing_directory_is_named_and_not_created() {
    let file = TestFile::new();
    let path = file.directory().join("missing").join("batchsuite.db");

    let refused = SqliteStore::open(&path, keyring().await).await.unwrap_err();

    assert_eq!(refused.kind(), StoreErrorKind::Misconfigured);
    assert!(line(&refused).contains("missing/batchsuite.db: No such file or directory"), "{}", line(&refused));
    assert!(!file.directory().join("missing").exists());
}

#[tokio::test]
async fn a_directory_is_no_database() {
    let file = TestFile::new();
    fs::create_dir(file.path()).unwrap();

    let refused = SqliteStore::open(file.path(), keyring().await).await.unwrap_err();

    assert_eq!(refused.kind(), StoreErrorKind::Misconfigured);
    assert!(line(&refused).ends_with("it is no file"), "{}", line(&refused));
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_not_touched() {
    const MAGIC: &str = "SQLite format 3\0";
    for content in ["name,key\n".repeat(1000), MAGIC.to_owned(), MAGIC.to_owned() + &"x".repeat(60)] {
        let file = TestFile::new();
        fs::write(file.path(), content).unwrap();

        let refused = refusal(&file).await;

        assert_eq!(refused.kind(), StoreErrorKind::Corrupt);
        assert!(line(&refused).ends_with("SQLite says 26: file is not a database"), "{}", line(&refused));
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_not_touched() {
    for journal in ["delete", "wal"] {
        for application in [0, 77] {
            let file = TestFile::new();
            let theirs = file.connection();
            theirs.pragma_update(None, "journal_mode", journal).unwrap();
            theirs.pragma_update(None, "application_id", application).unwrap();
            theirs.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
            // A killed program leaves its log behind.
            std::mem::forget(theirs);

            let refused = refusal(&file).await;

            assert_eq!(refused.kind(), StoreErrorKind::Misconfigured);
            assert!(line(&refused).ends_with("it is a database of another program"), "{}", line(&refused));
        }
    }
}

/// It left a journal, which SQLite plays back when it reads the database.
#[tokio::test]
async fn a_database_of_another_program_that_was_killed_at_work_is_not_touched() {
    let (theirs, file) = (TestFile::new(), TestFile::new());
    let connection = theirs.connection();
    let at_work = "PRAGMA cache_size = 1; CREATE TABLE theirs (x); INSERT INTO theirs VALUES (zeroblob(100000));
        BEGIN; UPDATE theirs SET x = randomblob(100000); INSERT INTO theirs VALUES (randomblob(100000))";
    connection.execute_batch(at_work).unwrap();
    for (name, content) in content(theirs.directory()) {
        fs::write(file.directory().join(name), content).unwrap();
    }
    assert_eq!(content(file.directory()).len(), 2, "the database and its journal");

    let refused = refusal(&file).await;

    assert!(line(&refused).ends_with("it is a database of another program"), "{}", line(&refused));
}

#[tokio::test]
async fn a_file_of_a_later_release_is_refused_and_not_touched() {
    let file = TestFile::new();
    rotated(&file.store().await, &acme()).await;
    file.closed().await;
    let later = Connection::open(file.path()).unwrap();
    later.pragma_update(None, "user_version", 1000).unwrap();
    drop(later);

    let refused = refusal(&file).await;

    assert_eq!(refused.kind(), StoreErrorKind::Misconfigured);
    assert!(line(&refused).ends_with("it was written by a later release; use that one"), "{}", line(&refused));
}

#[tokio::test]
async fn of_16_that_create_it_at_once_all_succeed() {
    let file = TestFile::new();
    let opened = (0..16).map(|_| {
        let (path, clock) = (file.path(), file.clock.clone());
        tokio::spawn(async move { SqliteStore::open_with_clock(path, keyring().await, clock).await })
    });

    for store in opened.collect::<Vec<_>>() {
        let store = store.await.unwrap().unwrap();
        rotated(&store, &company("acme")).await;
    }

    assert_eq!(version(&file.store().await, &acme()).await, 16);
}
