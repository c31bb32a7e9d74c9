//! Clauses of [`Store::wake`], and the effect of [`Store::save`] on it.

use std::collections::BTreeSet;

use super::case::*;

/// Creates rows with these names, all overdue, the first one longest.
async fn overdue(case: &Case, names: &[impl AsRef<str>]) {
    for (number, name) in (1..).zip(names) {
        let key = company(name);
        let at = earlier(case.load(&key).await.as_of, DAY - number * MINUTE);
        case.waking(&key, at).await;
    }
}

pub(super) async fn a_row_wakes_when_its_time_has_passed(case: Case) {
    let now = case.load(&acme()).await.as_of;
    case.waking(&acme(), later(now, HOUR)).await;
    case.waking(&company("later"), later(now, DAY)).await;
    case.saved(Swap { wake: wake(None, None), ..replacing(&case.load(&company("never")).await) }).await;
    assert!(case.woken().await.is_empty());

    case.advance(HOUR + SECOND).await;

    assert_eq!(names(&case.woken().await), ["acme"]);
}

pub(super) async fn a_woken_row_comes_as_load_shows_it_and_is_not_changed(case: Case) {
    overdue(&case, &["acme"]).await;
    case.put(&consent(&acme(), &actor("alice"))).await;
    case.used(&acme()).await;
    let (loaded, events) = (case.load(&acme()).await, case.log(Environment::Cie).await);
    assert!(loaded.used_at.is_some() && !loaded.consents.is_empty() && secrets(&loaded).is_some());

    let [woken] = &case.woken().await[..] else { panic!("the call does not return exactly one row") };

    assert_same(&loaded, woken);
    assert_about(woken.as_of, loaded.as_of);
    assert_same(&loaded, &case.load(&acme()).await);
    assert_eq!(case.log(Environment::Cie).await, events);
}

/// A wrong clock set such a time.
pub(super) async fn a_row_that_wakes_more_than_two_days_ahead_is_woken(case: Case) {
    let now = case.load(&acme()).await.as_of;
    case.waking(&company("47-hours"), later(now, 47 * HOUR)).await;
    case.waking(&company("49-hours"), later(now, 49 * HOUR)).await;
    case.waking(&company("a-year"), later(now, 365 * DAY)).await;

    assert_eq!(names_in_order(&case.woken().await), ["49-hours", "a-year"]);
    assert!(case.woken().await.is_empty(), "these rows are hidden, too");
}

fn names_in_order(rows: &[Row]) -> Vec<&str> {
    let mut names = names(rows);
    names.sort_unstable();
    names
}

pub(super) async fn the_longest_overdue_come_first_at_most_as_many_as_asked(case: Case) {
    overdue(&case, &["c", "a", "e", "b", "d"]).await;

    for expected in [vec!["c", "a"], vec!["e", "b"], vec!["d"], vec![]] {
        let rows = done(case.store.wake(Environment::Cie, 2).await);
        assert_eq!(names(&rows), expected);
    }
}

pub(super) async fn a_woken_row_is_hidden_for_two_minutes(case: Case) {
    overdue(&case, &["acme"]).await;
    assert_eq!(case.woken().await.len(), 1);

    case.advance(HIDDEN_FOR - MINUTE).await;
    assert!(case.woken().await.is_empty());
    case.advance(MINUTE + SECOND).await;
    assert_eq!(case.woken().await.len(), 1);
}

pub(super) async fn what_hides_a_row_for_longer_does_not_count(case: Case) {
    overdue(&case, &["acme"]).await;
    case.advance(HOUR).await;
    assert_eq!(case.woken().await.len(), 1);

    case.set_back(HOUR).await;

    assert_eq!(case.woken().await.len(), 1);
    assert!(case.woken().await.is_empty());
}

pub(super) async fn of_20_callers_at_once_no_two_get_the_same_row(case: Case) {
    let all: Vec<_> = (10..60).map(|number| format!("company-{number}")).collect();
    overdue(&case, &all).await;

    let woken = case.at_once(20, |store, _| async move { store.wake(Environment::Cie, 5).await }).await;

    let mut woken: Vec<_> = woken.into_iter().flatten().collect();
    let at_once = woken.len();
    assert_eq!(names(&woken).into_iter().collect::<BTreeSet<_>>().len(), at_once, "a row was woken twice");
    woken.extend(case.woken().await);
    assert_eq!(names_in_order(&woken), all, "a row got lost");
}

pub(super) async fn of_20_callers_at_once_for_one_row_exactly_one_gets_it(case: Case) {
    for round in 0..10 {
        overdue(&case, &[round.to_string()]).await;

        let woken = case.at_once(20, |store, _| async move { store.wake(Environment::Cie, 5).await }).await;

        let woken: Vec<_> = woken.into_iter().flatten().collect();
        assert_eq!(names(&woken), [round.to_string()]);
    }
}

pub(super) async fn a_hidden_row_is_saved_and_is_shown_again_if_that_sets_wake_times(case: Case) {
    overdue(&case, &["acme"]).await;
    let [row] = &case.woken().await[..] else { panic!("the call does not return exactly one row") };

    let at = wake(earlier(row.as_of, HOUR), None);
    case.saved(Swap { decided_at: Some(row.as_of), wake: at, ..replacing(row) }).await;

    assert_eq!(names(&case.woken().await), ["acme"]);
}

pub(super) async fn a_save_that_keeps_wake_times_leaves_it_hidden(case: Case) {
    overdue(&case, &["acme"]).await;
    let [row] = &case.woken().await[..] else { panic!("the call does not return exactly one row") };

    let kept = case.saved(Swap { wake: None, ..replacing(row) }).await;

    assert_eq!(kept.wake_at, row.wake_at);
    assert!(case.woken().await.is_empty());
    case.advance(HIDDEN_FOR + SECOND).await;
    assert_eq!(case.woken().await.len(), 1);
}

pub(super) async fn a_save_replaces_the_wake_time(case: Case) {
    let mut row = case.opted_in(&acme()).await;
    for hours in [5, 1, 30] {
        let at = later(row.as_of, hours * HOUR);
        row = case.waking(&acme(), at).await;
        assert_about(row.wake_at, at);
    }

    row = case.saved(Swap { wake: wake(None, None), ..swap(&row) }).await;

    assert_eq!(row.wake_at, None);
}

pub(super) async fn the_other_environment_is_apart(case: Case) {
    overdue(&case, &["acme"]).await;

    assert!(done(case.store.wake(Environment::Production, 100).await).is_empty());
    assert_eq!(case.woken().await.len(), 1);

    // A row that is overdue for longer in the other environment takes nobody's place.
    let first = case.load(&elsewhere(&company("first"))).await;
    case.waking(&first.key, earlier(first.as_of, 2 * DAY)).await;
    overdue(&case, &["second"]).await;
    let woken = done(case.store.wake(Environment::Cie, 1).await);
    assert_eq!(names(&woken), ["second"]);
}

pub(super) async fn a_limit_beyond_any_number_wakes_all(case: Case) {
    overdue(&case, &["a", "b", "c"]).await;

    assert_eq!(done(case.store.wake(Environment::Cie, usize::MAX).await).len(), 3);
}
