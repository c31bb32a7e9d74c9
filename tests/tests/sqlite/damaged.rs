//! Files whose bytes are not what was written.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
};

use batchsuite_auth::store::StoreErrorKind;
use batchsuite_store::SqliteStore;
use batchsuite_tests::{companies, postgres::keyring, sqlite::TestFile};

use crate::stage::{line, rotated};

/// A database with some rows and without a log, as its last process leaves it.
async fn closed() -> TestFile {
    let file = TestFile::new();
    let store = file.store().await;
    for company in companies(0..50) {
        rotated(&store, &company).await;
    }
    drop(store);
    file.closed().await;
    file
}

#[tokio::test]
async fn a_damaged_page_is_told_and_the_file_left_as_it_is() {
    let file = closed().await;
    let length = fs::metadata(file.path()).unwrap().len();
    for page in [1, 3, length / 4096 - 1] {
        let damaged = OpenOptions::new().write(true).open(file.path()).unwrap();
        let healthy = fs::read(file.path()).unwrap();
        damaged.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
        let before = fs::read(file.path()).unwrap();

        let refused = SqliteStore::open(file.path(), keyring().await).await.expect_err("a page is damaged");

        assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "page {page}");
        assert!(line(&refused).contains("batchsuite.db: "), "{}", line(&refused));
        assert!(fs::read(file.path()).unwrap() == before, "page {page}: it was touched");
        damaged.write_all_at(&healthy, 0).unwrap();
    }
    file.store().await;
}

#[tokio::test]
async fn a_file_that_was_cut_is_told() {
    let file = closed().await;
    let cut = OpenOptions::new().write(true).open(file.path()).unwrap();
    cut.set_len(fs::metadata(file.path()).unwrap().len() / 2).unwrap();

    let refused = SqliteStore::open(file.path(), keyring().await).await.expect_err("half of it is missing");

    assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{}", line(&refused));
}
