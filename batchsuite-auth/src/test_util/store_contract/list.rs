//! Clauses of [`Store::list`].

use super::case::*;

/// Creates rows with these names and statuses that wake in an hour.
async fn listed_as(case: &Case, rows: &[(&str, ListedAs)]) {
    for (name, listed_as) in rows {
        case.saved(Swap { listed_as: *listed_as, ..replacing(&case.load(&company(name)).await) }).await;
    }
}

fn only(listed_as: &[ListedAs]) -> ListQuery {
    ListQuery { listed_as: Some(listed_as.to_vec()), ..list() }
}

pub(super) async fn goes_by_id_whatever_the_size_of_a_page(case: Case) {
    for name in ["d", "b", "é", "a", "a b", "Z", "c"] {
        case.opted_in(&company(name)).await;
    }

    for limit in [1, 2, 7, 100] {
        let rows = case.listed(ListQuery { limit, ..list() }).await;
        assert_eq!(names(&rows), ["Z", "a", "a b", "b", "c", "d", "é"], "limit {limit}");
    }
}

pub(super) async fn begins_after_the_cursor(case: Case) {
    for name in ["a", "b", "c"] {
        case.opted_in(&company(name)).await;
    }

    for (after, expected) in [("a", vec!["b", "c"]), ("aa", vec!["b", "c"]), ("c", vec![]), ("z", vec![])] {
        let rows = case.listed(ListQuery { after: company(after).company, ..list() }).await;
        assert_eq!(names(&rows), expected, "after {after}");
    }
}

pub(super) async fn only_companies_that_were_seen_are_listed(case: Case) {
    case.put(&consent(&company("began"), &actor("alice"))).await;
    case.opted_in(&company("saved")).await;
    case.load(&company("loaded")).await;
    case.used(&company("used")).await;
    case.append(&company("told"), event(EventKind::Failed)).await;
    let conflict = Swap { expected: RowNumber::new(7), ..replacing(&case.load(&company("conflict")).await) };
    assert_eq!(case.save(conflict).await, Saved::Conflict);

    assert_eq!(names(&case.listed(list()).await), ["began", "saved"]);
}

pub(super) async fn shows_what_load_shows_without_opening_tokens(case: Case) {
    case.opted_in(&company("a")).await;
    case.used(&company("a")).await;
    case.put(&consent(&company("a"), &actor("bob"))).await;
    case.put(&consent(&company("b"), &actor("bob"))).await;
    let half = Tokens { access: None, ..pair("half") };
    let row = case.load(&company("c")).await;
    case.saved(Swap { tokens: TokenChange::Replace(half), ..replacing(&row) }).await;
    case.saved(Swap { tokens: TokenChange::Erase, ..replacing(&case.load(&company("d")).await) }).await;

    let rows = case.listed(list()).await;

    assert_eq!(names(&rows), ["a", "b", "c", "d"]);
    for row in &rows {
        let loaded = case.load(&row.key).await;
        assert_eq!(state(row), state(&loaded));
        assert_about(row.as_of, loaded.as_of);
        match row.tokens {
            StoredTokens::None => assert_eq!(secrets(&loaded), None),
            StoredTokens::Sealed { with_older_key } => assert!(secrets(&loaded).is_some() && !with_older_key),
            ref opened => panic!("{opened:?}"),
        }
    }
}

pub(super) async fn finds_what_was_last_saved_as_listed_so(case: Case) {
    let mut statuses = ListedAs::ALL.to_vec();
    for _ in 0..statuses.len() {
        statuses.rotate_left(1);
        let all = ["a", "b", "c", "d"].into_iter().zip(statuses.iter().copied()).collect::<Vec<_>>();
        listed_as(&case, &all).await;

        for (name, one) in &all {
            assert_eq!(names(&case.listed(only(&[*one])).await), [*name]);
            let others: Vec<_> = ListedAs::ALL.iter().copied().filter(|other| other != one).collect();
            let rows = case.listed(ListQuery { limit: 1, ..only(&others) }).await;
            assert!(rows.len() == 3 && !names(&rows).contains(name), "{rows:?}");
        }
    }
    assert!(case.listed(only(&[])).await.is_empty());
}

pub(super) async fn a_list_of_some_goes_by_id_whatever_the_size_of_a_page(case: Case) {
    const OUT: ListedAs = ListedAs::ReauthRequired;
    const NEVER: ListedAs = ListedAs::Unauthenticated;
    const IN: ListedAs = ListedAs::Authenticated;
    let rows = [("f", OUT), ("a", OUT), ("d", NEVER), ("b", IN), ("e", IN), ("c", OUT), ("g", NEVER)];
    listed_as(&case, &rows).await;

    for (statuses, expected) in [
        (&[OUT][..], vec!["a", "c", "f"]),
        (&[NEVER, OUT], vec!["a", "c", "d", "f", "g"]),
        (&[IN], vec!["b", "e"]),
        (&[IN, NEVER], vec!["b", "d", "e", "g"]),
    ] {
        for limit in [1, 2, 3, 5, 100] {
            let rows = case.listed(ListQuery { limit, ..only(statuses) }).await;
            assert_eq!(names(&rows), expected, "limit {limit}");
        }
    }

    case.advance(HOUR + SECOND).await;
    for limit in [1, 2, 3, 7, 100] {
        let rows = case.listed(ListQuery { limit, ..only(&[NEVER]) }).await;
        assert_eq!(names(&rows), ["a", "b", "c", "d", "e", "f", "g"], "all are overdue; limit {limit}");
    }
}

pub(super) async fn a_company_of_whom_only_a_consent_was_put_is_listed_as_unauthenticated(case: Case) {
    case.put(&consent(&acme(), &actor("alice"))).await;

    assert_eq!(names(&case.listed(only(&[ListedAs::Unauthenticated])).await), ["acme"]);
    assert!(case.listed(only(&[ListedAs::Authenticated])).await.is_empty());
}

/// The caller re-evaluates such a row: its status may have changed with time.
pub(super) async fn a_row_whose_wake_time_has_passed_is_listed_as_anything(case: Case) {
    listed_as(&case, &[("a", ListedAs::Authenticated), ("b", ListedAs::ReauthRequired)]).await;
    let at = later(case.load(&acme()).await.as_of, DAY);
    case.waking(&company("c"), at).await;
    assert_eq!(names(&case.listed(only(&[ListedAs::ReauthRequired])).await), ["b"]);

    case.advance(HOUR + SECOND).await;

    assert_eq!(names(&case.listed(only(&[ListedAs::ReauthRequired])).await), ["a", "b"]);
    assert_eq!(names(&case.listed(only(&[])).await), ["a", "b"]);
    assert_eq!(case.woken().await.len(), 2);
    assert_eq!(names(&case.listed(only(&[])).await), ["a", "b"], "also while the row is hidden");
}

pub(super) async fn one_call_reads_at_most_1000_rows(case: Case) {
    const ROWS: usize = 1_100;
    let row = case.load(&acme()).await;
    let saves = case
        .at_once(20, |store, task| {
            let first = replacing(&row);
            async move {
                for number in (task..ROWS).step_by(20) {
                    let last = number == ROWS - 1;
                    let listed_as = if last { ListedAs::Authenticated } else { ListedAs::ReauthRequired };
                    let key = company(format!("company-{number:04}"));
                    yes(store.save(Swap { key, listed_as, ..first.clone() }).await?);
                }
                Ok(())
            }
        })
        .await;
    assert_eq!(saves.len(), 20);

    let page = done(case.store.list(ListQuery { limit: usize::MAX, ..list() }).await);
    assert!(page.items.len() <= 1_000 && page.next.is_some(), "{} rows", page.items.len());
    assert_eq!(case.listed(ListQuery { limit: usize::MAX, ..list() }).await.len(), ROWS);
    let last = case.listed(only(&[ListedAs::Authenticated])).await;
    assert_eq!(names(&last), [format!("company-{:04}", ROWS - 1)], "a page may be empty and have a next");
    let others = case.listed(ListQuery { limit: usize::MAX, ..only(&[ListedAs::ReauthRequired]) }).await;
    assert_eq!(others.len(), ROWS - 1);

    case.advance(HOUR + SECOND).await;
    let overdue = case.listed(ListQuery { limit: 300, ..only(&[ListedAs::Authenticated]) }).await;
    assert_eq!(overdue.len(), ROWS, "more rows than one call reads");
    assert!(names(&overdue).is_sorted());
}

pub(super) async fn environments_are_apart(case: Case) {
    case.opted_in(&acme()).await;
    case.put(&consent(&company("began"), &actor("alice"))).await;

    for query in [list(), only(ListedAs::ALL)] {
        assert!(case.listed(ListQuery { environment: Environment::Production, ..query }).await.is_empty());
    }

    // The same companies: in the other environment one must opt in again, and one is overdue.
    let due = case.load(&company("due")).await;
    case.saved(Swap { wake: wake(later(due.as_of, HOUR), None), ..replacing(&due) }).await;
    for (key, listed_as, at) in
        [(acme(), ListedAs::ReauthRequired, HOUR), (company("due"), ListedAs::Authenticated, SECOND)]
    {
        let row = case.load(&elsewhere(&key)).await;
        case.saved(Swap { listed_as, wake: wake(later(row.as_of, at), None), ..replacing(&row) }).await;
    }
    case.advance(2 * SECOND).await;
    assert!(case.listed(only(&[ListedAs::ReauthRequired])).await.is_empty());
    let elsewhere = ListQuery { environment: Environment::Production, ..only(&[ListedAs::ReauthRequired]) };
    assert_eq!(names(&case.listed(elsewhere).await), ["acme", "due"]);
}
