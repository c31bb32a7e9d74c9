//! Clauses of [`Store::changes`](crate::store::Store::changes).

use std::{collections::BTreeMap, time::Duration};

use super::case::*;
use crate::{
    config::Environment,
    events::{EventId, EventKind},
    store::{Changes, GrantKey, Store},
};

const NOW: Duration = Duration::ZERO;
/// Of real time. No store may be so slow as to tell a change later.
const LONG: Duration = Duration::from_secs(30);

async fn changes(case: &Case, after: EventId, wait: Duration) -> Changes {
    done(case.store.changes(Environment::Cie, Some(after), wait).await)
}

async fn cursor(case: &Case) -> EventId {
    done(case.store.changes(Environment::Cie, None, NOW).await).cursor
}

/// What is told of the company after the cursor: its latest change number.
async fn told(case: &Case, after: EventId, key: &GrantKey) -> Option<EventId> {
    let changes = changes(case, after, NOW).await;
    changes.changed.into_iter().filter(|(company, _)| *company == key.company).map(|(_, id)| id).max()
}

pub(super) async fn without_a_cursor_it_tells_the_present_one_at_once(case: Case) {
    let grant = case.authenticated(&acme()).await;

    let first = tokio::time::timeout(LONG, case.store.changes(Environment::Cie, None, 100 * LONG)).await;

    let first = done(first.expect("it does not wait"));
    assert!(first.changed.is_empty());
    assert!(first.cursor >= grant.change);
    assert!(changes(&case, first.cursor, NOW).await.changed.is_empty());
}

pub(super) async fn every_change_of_what_may_be_handed_out_is_told(case: Case) {
    let mut after = cursor(&case).await;

    let connected = case.authenticated(&acme()).await;
    assert_eq!(told(&case, after, &acme()).await, Some(connected.change), "connect");

    after = cursor(&case).await;
    let attempt = case.claimed(&connected).await;
    let rotated = committed(case.commit(commit(&connected, attempt, pair("2"))).await);
    assert_eq!(told(&case, after, &acme()).await, Some(rotated.change), "commit");

    after = cursor(&case).await;
    let attempt = case.claimed(&rotated).await;
    case.settled(refused(&rotated, attempt)).await;
    assert_eq!(told(&case, after, &acme()).await, Some(case.load(&acme()).await.change), "settle");

    after = cursor(&case).await;
    let removed = case.remove(&acme()).await;
    assert_eq!(told(&case, after, &acme()).await, Some(removed.change), "remove");
}

pub(super) async fn the_number_of_a_change_goes_up(case: Case) {
    let connected = case.authenticated(&acme()).await;
    let attempt = case.claimed(&connected).await;
    let rotated = committed(case.commit(commit(&connected, attempt, pair("2"))).await);
    let removed = case.remove(&acme()).await;

    assert!(connected.change < rotated.change && rotated.change < removed.change);
}

pub(super) async fn a_company_that_changed_twice_is_told_with_the_later_change(case: Case) {
    let start = cursor(&case).await;
    let other = case.authenticated(&company("other")).await;
    case.authenticated(&acme()).await;
    let removed = case.remove(&acme()).await;

    assert_eq!(told(&case, start, &acme()).await, Some(removed.change));
    assert_eq!(told(&case, start, &other.key).await, Some(other.change));
}

pub(super) async fn reading_on_tells_no_change_again_that_is_older_than_the_cursor(case: Case) {
    let start = cursor(&case).await;
    case.authenticated(&acme()).await;
    let read = changes(&case, start, NOW).await;
    let other = case.authenticated(&company("other")).await;

    let next = changes(&case, read.cursor, NOW).await;

    assert!(next.changed.contains(&(other.key.company.clone(), other.change)), "{next:?}");
    assert!(next.cursor >= other.change);
}

pub(super) async fn a_company_may_be_told_from_the_very_first_cursor(case: Case) {
    let grant = case.authenticated(&acme()).await;

    assert_eq!(changes(&case, EventId::START, NOW).await.changed, [(acme().company, grant.change)]);
}

pub(super) async fn the_other_environment_is_apart(case: Case) {
    let start = cursor(&case).await;

    case.authenticated(&elsewhere(&acme())).await;

    assert!(changes(&case, start, NOW).await.changed.is_empty());
}

pub(super) async fn returns_empty_after_the_wait(case: Case) {
    let start = cursor(&case).await;

    let quiet = changes(&case, start, Duration::from_millis(50)).await;

    assert!(quiet.changed.is_empty());
    assert!(quiet.cursor >= start);
}

pub(super) async fn returns_early_when_something_changes(case: Case) {
    let start = cursor(&case).await;
    let mut waiting = case.store.changes(Environment::Cie, Some(start), 100 * LONG);
    let quiet = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(quiet.is_err(), "nothing has changed yet: {quiet:?}");

    let grant = case.authenticated(&acme()).await;

    let changes = tokio::time::timeout(LONG, waiting).await.expect("it returns early");
    assert_eq!(done(changes).changed, [(acme().company, grant.change)]);
}

/// A store that looks first and listens second sleeps through a change in between.
pub(super) async fn a_change_at_the_moment_of_the_call_is_not_slept_through(case: Case) {
    let mut after = cursor(&case).await;
    for round in 0..200 {
        let (reading, writing) = (case.store.clone(), case.store.clone());
        let connect = connect(&company(round.to_string()));

        let race = case
            .race(async move { reading.changes(Environment::Cie, Some(after), 100 * LONG).await }, async move {
                writing.connect(connect).await
            });

        let (changes, connected) = tokio::time::timeout(LONG, race).await.expect("no change is slept through");
        let grant = stored(connected);
        assert_eq!(changes.changed, [(grant.key.company, grant.change)]);
        after = changes.cursor;
    }
}

pub(super) async fn an_event_that_changes_no_grant_ends_no_wait_with_a_change(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let start = cursor(&case).await;

    case.record(event(&acme(), EventKind::Failed)).await;
    case.begin(&consent(&acme(), &actor("alice"))).await;
    case.claimed(&grant).await;

    let quiet = changes(&case, start, Duration::from_millis(50)).await;
    assert!(quiet.changed.iter().all(|(_, change)| *change <= grant.change), "{quiet:?}");
}

/// A change that is written while a reader looks must be told to its next call, and must wake one that waits.
pub(super) async fn a_follower_misses_no_change_of_concurrent_writers(case: Case) {
    let start = cursor(&case).await;
    let store = case.store.clone();
    let follower = tokio::spawn(async move {
        let (mut after, mut latest) = (start, BTreeMap::new());
        while latest.len() < 60 {
            let changes = store.changes(Environment::Cie, Some(after), 100 * LONG);
            let changes = done(tokio::time::timeout(LONG, changes).await.expect("a change is told"));
            after = changes.cursor;
            latest.extend(changes.changed);
        }
        latest
    });

    let grants = case
        .at_once(60, |store, number| async move { store.connect(connect(&company(number.to_string()))).await })
        .await;

    let expected: BTreeMap<_, _> =
        grants.into_iter().map(stored).map(|grant| (grant.key.company, grant.change)).collect();
    assert_eq!(follower.await.expect("the follower ends"), expected);
}
