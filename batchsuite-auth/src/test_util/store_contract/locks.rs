//! Saves that wait for a row's lock: the clauses of [`Harness::hold`](super::Harness::hold).

use super::case::*;
use crate::store::MOST_AGE;

/// The age of the waiting decision and the duration of the wait: together, but not alone, they exceed the age limit.
const AGE: Duration = Duration::from_secs(4);
const WAIT: Duration = Duration::from_secs(2);

/// The outcome of a save that waits for a lock which is then rolled back, on a row that nobody has changed meanwhile. A
/// manual clock advances by `by_hand`.
async fn waited(case: &Case, swap: Swap, by_hand: Duration) -> Saved {
    let held = case.hold(&swap.key).await;
    let store = case.store.clone();
    let save = tokio::spawn(async move { store.save(swap).await });
    // In real time, for a store whose clock runs.
    tokio::time::sleep(WAIT).await;
    case.advance(by_hand).await;
    assert!(!save.is_finished(), "the row is not locked");

    held.roll_back().await;

    done(save.await.expect("the task ends"))
}

pub(super) async fn a_decision_that_became_6_seconds_old_behind_a_lock_is_a_conflict(case: Case) {
    assert!(AGE < MOST_AGE && AGE + WAIT > MOST_AGE);
    let row = case.opted_in(&acme()).await;
    case.advance(AGE).await;

    let saved = waited(&case, Swap { decided_at: Some(row.as_of), ..replacing(&row) }, WAIT).await;

    assert_eq!(saved, Saved::Conflict);
    assert_same(&row, &case.load(&acme()).await);
    assert_eq!(case.history(&acme()).await.len(), 1);
}

pub(super) async fn a_save_without_a_time_of_decision_is_stored_however_long_it_waited(case: Case) {
    let row = case.opted_in(&acme()).await;

    let (number, ..) = yes(waited(&case, replacing(&row), DAY).await);

    let after = case.load(&acme()).await;
    assert_eq!((after.number, secrets(&after)), (number, Some(secrets_of(&pair(after.revision)))));
}
