//! Files with changed bytes.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    time::Duration,
};

use batchsuite_auth::{
    Environment,
    events::EventId,
    store::{Store, StoreErrorKind},
};
use batchsuite_store::SqliteStore;
use batchsuite_tests::{companies, company, postgres::keyring, sqlite::TestFile};

use crate::stage::{line, rotated};

/// A database with some rows and without a log, as the last process leaves it.
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
        assert!(fs::read(file.path()).unwrap() == before, "page {page}: the file was changed");
        damaged.write_all_at(&healthy, 0).unwrap();
    }
    file.store().await;
}

#[tokio::test]
async fn a_file_that_was_cut_is_told() {
    let file = closed().await;
    let cut = OpenOptions::new().write(true).open(file.path()).unwrap();
    cut.set_len(fs::metadata(file.path()).unwrap().len() / 2).unwrap();

    let refused = SqliteStore::open(file.path(), keyring().await).await.expect_err("half of the file is missing");

    assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{}", line(&refused));
}

/// Its name is unreadable, so it cannot be shown.
#[tokio::test]
async fn a_company_whose_name_is_none_is_left_out_of_the_feed() {
    let file = TestFile::new();
    let store = file.store().await;
    for name in ["a", "b", "c"] {
        rotated(&store, &company(name)).await;
    }
    file.connection().execute("UPDATE grants SET company = 'b' || char(10) WHERE company = 'b'", []).unwrap();

    let changes = store.changes(Environment::Cie, Some(EventId::START), Duration::ZERO).await.unwrap();

    let changed: Vec<_> = changes.changed.into_iter().map(|(company, _)| company).collect();
    assert_eq!(changed, [company("a"), company("c")]);
}
