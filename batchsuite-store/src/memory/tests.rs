//! Properties specific to this store. `tests/contract` tests the clauses of the contract.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use batchsuite_auth::{
    events::EventKind,
    store::{Document, EventOrder, ListedAs, TokenChange, Wake},
};

use super::*;

fn key(environment: Environment) -> RowKey {
    RowKey::company(environment, CompanyId::new("acme").unwrap())
}

fn event() -> EventContent {
    EventContent::new(EventKind::Authenticated)
}

fn first_save(key: RowKey) -> Swap {
    Swap {
        key,
        expected: Default::default(),
        decided_at: None,
        step: "test",
        document: Document::new(r#"{"a":1}"#),
        revision: Revision { epoch: 1, version: 0 },
        listed_as: ListedAs::Authenticated,
        tokens: TokenChange::Keep,
        wake: Some(Wake::default()),
        used_at: None,
        events: vec![event()],
        announce: true,
    }
}

fn all(environment: Environment) -> EventQuery {
    EventQuery { environment, company: None, order: EventOrder::OldestFirst, after: None, limit: 10 }
}

#[tokio::test]
async fn a_clone_shares_what_is_stored_and_another_store_does_not() {
    let store = MemoryStore::new();

    let saved = store.clone().save(first_save(key(Environment::Cie))).await.unwrap();

    assert!(matches!(saved, Saved::Yes { .. }));
    assert_eq!(store.load(&key(Environment::Cie)).await.unwrap().document.as_str(), r#"{"a":1}"#);
    assert_eq!(MemoryStore::new().load(&key(Environment::Cie)).await.unwrap().document.as_str(), "{}");
}

#[tokio::test]
async fn a_backup_has_the_rows_and_events_of_its_time_and_a_life_of_its_own() {
    let (store, key) = (MemoryStore::new(), key(Environment::Cie));
    let _ = store.save(first_save(key.clone())).await.unwrap();
    let backup = store.backup(SystemClock);
    let _ = store.append(Environment::Cie, NewEvent { company: None, event: event() }).await.unwrap();

    assert_eq!(backup.load(&key).await.unwrap().document.as_str(), r#"{"a":1}"#);
    assert_eq!(backup.events(all(Environment::Cie)).await.unwrap().items.len(), 1);
    assert_eq!(store.events(all(Environment::Cie)).await.unwrap().items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_save_of_a_clone_ends_a_wait_for_changes_at_once() {
    let store = MemoryStore::new();
    let writer = store.clone();
    let start = tokio::time::Instant::now();

    let (changes, _) = tokio::join!(
        store.changes(Environment::Cie, Some(EventId::START), Duration::from_secs(600)),
        writer.save(first_save(key(Environment::Cie))),
    );

    assert_eq!(start.elapsed(), Duration::ZERO);
    let number = EventId::new(1);
    let company = CompanyId::new("acme").unwrap();
    assert_eq!(changes.unwrap(), Changes { changed: vec![(company, number)], cursor: number });
}

#[tokio::test]
async fn the_log_of_each_environment_counts_from_1() {
    let store = MemoryStore::new();
    for environment in [Environment::Cie, Environment::Production] {
        let _ = store.save(first_save(key(environment))).await.unwrap();
        let id = store.append(environment, NewEvent { company: None, event: event() }).await.unwrap();
        assert_eq!(id, EventId::new(2));
    }

    for environment in [Environment::Cie, Environment::Production] {
        let events = store.events(all(environment)).await.unwrap().items;
        let numbers: Vec<_> = events.iter().map(|event| (event.environment, event.id.number())).collect();
        assert_eq!(numbers, [(environment, 1), (environment, 2)]);
    }
}

#[derive(Debug, Default)]
struct FailingClock(AtomicBool);

impl Clock for FailingClock {
    fn now(&self) -> Timestamp {
        assert!(!self.0.load(Ordering::Relaxed), "the clock fails");
        Timestamp::UNIX_EPOCH
    }
}

#[tokio::test]
async fn a_clock_that_panicked_once_does_not_end_the_store() {
    let clock = Arc::new(FailingClock::default());
    let store = MemoryStore::with_clock(clock.clone());
    let saved = store.save(first_save(key(Environment::Cie))).await.unwrap();

    clock.0.store(true, Ordering::Relaxed);
    let failed = catch_unwind(AssertUnwindSafe(|| store.with(Environment::Cie, |_, _| ())));
    clock.0.store(false, Ordering::Relaxed);

    assert!(failed.is_err());
    let number = store.load(&key(Environment::Cie)).await.unwrap().number;
    assert!(matches!(saved, Saved::Yes { number: saved, .. } if saved == number));
}

#[test]
fn debug_shows_no_row() {
    let store = MemoryStore::new();
    store.with(Environment::Cie, |records, now| {
        let _ = records.save(first_save(key(Environment::Cie)), now);
    });

    let shown = format!("{store:?}");

    assert!(shown.contains("SystemClock"), "{shown}");
    assert!(!shown.contains("acme"), "{shown}");
}
