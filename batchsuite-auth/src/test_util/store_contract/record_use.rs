//! Clauses of [`Store::record_use`], and the effect of a use on [`Store::save`].

use super::case::*;

/// The row after a first save that wakes in ten hours, or in one hour if its tokens are used.
async fn sleeping(case: &Case, key: &RowKey) -> Row {
    let row = case.load(key).await;
    case.saved(Swap { wake: wake(in_hours(&row, 10), in_hours(&row, 1)), ..replacing(&row) }).await
}

/// The row of a company that was never saved, and of which a consent was put.
async fn seen(case: &Case, key: &RowKey) -> Row {
    case.put(&consent(key, &actor("alice"))).await;
    case.load(key).await
}

fn in_hours(row: &Row, hours: u32) -> Timestamp {
    later(row.as_of, hours * HOUR)
}

pub(super) async fn brings_the_wake_time_forward_also_from_never(case: Case) {
    for hours in [Some(10), None] {
        let row = case.load(&acme()).await;
        let at = hours.map(|hours| in_hours(&row, hours));
        let saved = case.saved(Swap { wake: wake(at, in_hours(&row, 1)), ..replacing(&row) }).await;
        assert_eq!(saved.wake_at.is_some(), at.is_some());

        case.used(&acme()).await;

        assert_about(case.load(&acme()).await.wake_at, in_hours(&row, 1));
        case.advance(HOUR + SECOND).await;
        assert_eq!(names(&case.woken().await), ["acme"]);
    }
}

pub(super) async fn never_puts_the_wake_time_off(case: Case) {
    let row = case.load(&acme()).await;
    for if_used in [Some(in_hours(&row, 20)), None] {
        let row = case.load(&acme()).await;
        case.saved(Swap { wake: wake(in_hours(&row, 10), if_used), ..replacing(&row) }).await;
        case.advance(10 * MINUTE).await;

        case.used(&acme()).await;

        assert_about(case.load(&acme()).await.wake_at, in_hours(&row, 10));
    }
}

pub(super) async fn remembers_when(case: Case) {
    sleeping(&case, &acme()).await;
    assert_eq!(case.load(&acme()).await.used_at, None);

    for _ in 0..3 {
        case.used(&acme()).await;
        let row = case.load(&acme()).await;
        assert_about(row.used_at, row.as_of);
        // A use within five minutes of the recorded one need not be written.
        case.advance(6 * MINUTE).await;
    }
}

pub(super) async fn changes_nothing_else(case: Case) {
    let before = sleeping(&case, &acme()).await;
    let (cursor, events) = (case.cursor().await, case.log(Environment::Cie).await);

    case.used(&acme()).await;

    let after = case.load(&acme()).await;
    assert_same(&before, &Row { wake_at: before.wake_at, used_at: None, ..after });
    assert_eq!(case.log(Environment::Cie).await, events);
    assert!(case.changes(cursor, Duration::ZERO).await.changed.is_empty());
    case.saved(replacing(&before)).await;
}

pub(super) async fn leaves_a_hidden_row_hidden(case: Case) {
    let row = sleeping(&case, &acme()).await;
    case.saved(Swap { wake: wake(earlier(row.as_of, HOUR), earlier(row.as_of, 2 * HOUR)), ..swap(&row) }).await;
    assert_eq!(case.woken().await.len(), 1);

    case.used(&acme()).await;

    assert!(case.woken().await.is_empty());
}

pub(super) async fn between_the_read_and_the_save_it_still_counts(case: Case) {
    for read in [sleeping(&case, &acme()).await, seen(&case, &company("seen")).await] {
        case.used(&read.key).await;

        let next = wake(in_hours(&read, 20), in_hours(&read, 2));
        let saved = case.saved(Swap { wake: next, ..replacing(&read) }).await;

        assert_about(saved.wake_at, in_hours(&read, 2));
        assert_about(saved.used_at, saved.as_of);
    }
}

pub(super) async fn a_use_that_the_step_was_computed_from_changes_no_wake_time(case: Case) {
    sleeping(&case, &acme()).await;
    seen(&case, &company("seen")).await;
    for key in [acme(), company("seen")] {
        case.used(&key).await;
        let read = case.load(&key).await;

        let next = wake(in_hours(&read, 20), in_hours(&read, 2));
        let saved = case.saved(Swap { wake: next, ..replacing(&read) }).await;

        assert_about(saved.wake_at, in_hours(&read, 20));
        assert_eq!(saved.used_at, read.used_at);
    }
}

/// The step was computed with the first use but without the second.
pub(super) async fn a_use_soon_after_another_brings_the_wake_time_forward_too(case: Case) {
    sleeping(&case, &acme()).await;
    case.used(&acme()).await;
    for hours in [Some(20), None] {
        let read = case.load(&acme()).await;
        let at = hours.map(|hours| in_hours(&read, hours));
        case.saved(Swap { wake: wake(at, in_hours(&read, 2)), ..replacing(&read) }).await;

        case.used(&acme()).await;

        assert_about(case.load(&acme()).await.wake_at, in_hours(&read, 2));
    }
}

/// In either order, the row wakes as a used company's.
pub(super) async fn at_the_moment_of_a_save_it_counts(case: Case) {
    for round in 0..20 {
        let key = company(format!("company-{round}"));
        let read = sleeping(&case, &key).await;
        let next = wake(in_hours(&read, 20), in_hours(&read, 1));
        let swap = Swap { wake: next, ..replacing(&read) };

        case.at_once(2, |store, number| {
            let swap = swap.clone();
            async move {
                match number {
                    0 => store.record_use(Environment::Cie, swap.key.company.as_slice()).await,
                    _ => store.save(swap).await.map(|saved| _ = yes(saved)),
                }
            }
        })
        .await;

        assert_about(case.load(&key).await.wake_at, in_hours(&read, 1));
    }
}

pub(super) async fn a_save_that_keeps_wake_times_keeps_those_of_a_use(case: Case) {
    let read = sleeping(&case, &acme()).await;
    case.saved(Swap { wake: None, ..replacing(&read) }).await;

    case.used(&acme()).await;
    let used = case.load(&acme()).await;
    assert_about(used.wake_at, in_hours(&read, 1));

    let kept = case.saved(Swap { wake: None, ..replacing(&used) }).await;
    assert_eq!(kept.wake_at, used.wake_at);
}

pub(super) async fn of_many_companies_each_counts_and_no_row_is_made(case: Case) {
    let keys: Vec<_> = (0..20).map(|number| company(format!("company-{number}"))).collect();
    for key in &keys {
        sleeping(&case, key).await;
        sleeping(&case, &elsewhere(key)).await;
    }
    let unused = sleeping(&case, &acme()).await;
    let mut companies: Vec<_> = keys.iter().chain(&keys).map(id).collect();
    let never_seen = company("never-seen");
    companies.push(id(&never_seen));

    done(case.store.record_use(Environment::Cie, &companies).await);
    done(case.store.record_use(Environment::Cie, &[]).await);

    for key in &keys {
        let row = case.load(key).await;
        assert_about(row.used_at, row.as_of);
        assert_eq!(case.load(&elsewhere(key)).await.used_at, None);
    }
    assert_same(&unused, &case.load(&acme()).await);
    assert_same(&case.load(&never_seen).await, &Row::empty(never_seen, unused.as_of));
    assert_eq!(case.listed(list()).await.len(), keys.len() + 1);
}
