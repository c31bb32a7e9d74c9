//! Several stores on one file, like several processes.

use std::time::Duration;

use batchsuite_auth::{
    Environment,
    store::{Saved, Store, StoreErrorKind, Swap, Wake},
};
use batchsuite_tests::{acme, companies, company, sqlite::TestFile};

use crate::stage::{key, rotate, rotated, swap, version};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_saves_of_one_row_over_4_connections_exactly_one_succeeds() {
    let file = TestFile::new();
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(file.store().await);
    }
    let row = stores[0].load(&key(&acme())).await.unwrap();

    let saves = (0..64).map(|number| {
        let (store, swap) = (stores[number % 4].clone(), swap(&row));
        tokio::spawn(async move { store.save(swap).await.unwrap() })
    });
    let mut saved = 0;
    for save in saves.collect::<Vec<_>>() {
        saved += usize::from(matches!(save.await.unwrap(), Saved::Yes { .. }));
    }

    assert_eq!(saved, 1);
    assert_eq!(version(&stores[3], &acme()).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_rotation_is_lost_between_connections() {
    let file = TestFile::new();
    let mut writers = Vec::new();
    for _ in 0..4 {
        let store = file.store().await;
        writers.push(tokio::spawn(async move {
            for _ in 0..16 {
                while !matches!(rotate(&store, &acme()).await.unwrap(), Saved::Yes { .. }) {}
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }

    assert_eq!(version(&file.store().await, &acme()).await, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_store_to_close_leaves_the_whole_database_in_its_file_and_no_log() {
    let file = TestFile::new();
    for _ in 0..100 {
        let (here, there) = (file.store().await, file.store().await);
        rotated(&here, &acme()).await;
        let drops = [here, there].map(|store| tokio::task::spawn_blocking(|| drop(store)));
        futures_util::future::try_join_all(drops).await.unwrap();
        file.closed().await;
    }
}

#[tokio::test]
async fn a_store_that_was_closed_has_left_everything_in_the_file_and_does_nothing_more() {
    let file = TestFile::new();
    let store = file.store().await;
    let clone = store.clone();
    rotated(&store, &acme()).await;

    store.close().await;

    assert!(!file.path().with_extension("db-wal").exists());
    let refused = clone.load(&key(&acme())).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused}");
    store.close().await;
    assert_eq!(version(&file.store().await, &acme()).await, 1);
}

/// A host may retry any number of times.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn to_open_a_file_again_costs_no_descriptor() {
    let file = TestFile::new();
    file.store().await.close().await;
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();

    for _ in 0..100 {
        file.store().await.close().await;
    }

    // Other tests of this program open files, too.
    assert!(open() < before + 90, "{before}, then {}", open());
}

#[tokio::test]
async fn a_change_of_another_process_is_told_within_seconds() {
    let file = TestFile::new();
    let (here, there) = (file.store().await, file.store().await);
    let cursor = here.changes(Environment::Cie, None, Duration::ZERO).await.unwrap().cursor;
    let told = tokio::spawn(async move { here.changes(Environment::Cie, Some(cursor), Duration::from_secs(60)).await });

    rotated(&there, &acme()).await;

    let told = tokio::time::timeout(Duration::from_secs(10), told).await.expect("the store looks every second");
    assert_eq!(told.unwrap().unwrap().changed[0].0, acme());
}

#[tokio::test]
async fn a_row_that_waits_is_handed_to_one_process() {
    let file = TestFile::new();
    let (here, there) = (file.store().await, file.store().await);
    for company in companies(0..20) {
        let row = here.load(&key(&company)).await.unwrap();
        let wake = Wake { at: Some(row.as_of), if_used: None };
        let _ = here.save(Swap { wake: Some(wake), ..swap(&row) }).await.unwrap();
    }

    let (one, other) = tokio::join!(here.wake(Environment::Cie, 15), there.wake(Environment::Cie, 15));

    let mut woken: Vec<_> =
        one.unwrap().into_iter().chain(other.unwrap()).map(|row| row.key.company.unwrap()).collect();
    woken.sort();
    assert_eq!(woken, companies(0..20));
}

#[tokio::test]
async fn a_process_that_never_ends_its_transaction_fails_a_save_in_time() {
    let file = TestFile::new();
    let store = file.store().await;
    rotated(&store, &acme()).await;
    let stuck = file.connection();
    stuck.execute_batch("BEGIN IMMEDIATE").unwrap();

    let refused = rotate(&store, &acme()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert_eq!(version(&store, &acme()).await, 1, "readers do not wait");

    stuck.execute_batch("ROLLBACK").unwrap();
    rotated(&store, &company("beta")).await;
}
