//! One damaged row affects no other: the clauses of [`Harness::damage`](super::Harness::damage).

use super::{case::*, harness::Part};

/// Creates three overdue rows and damages the middle one; returns that row as it was.
async fn damaged(case: &Case, part: Part) -> Row {
    for name in ["a", "b", "c"] {
        let key = company(name);
        let at = earlier(case.load(&key).await.as_of, HOUR);
        case.waking(&key, at).await;
    }
    let before = case.load(&company("b")).await;
    case.damage(&before.key, part).await;
    before
}

/// Asserts that a row with unreadable tokens keeps everything else.
#[track_caller]
fn assert_unreadable(before: &Row, row: &Row) {
    assert_eq!(state(before), state(row));
    let StoredTokens::Unreadable(error) = &row.tokens else { panic!("not unreadable: {row:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

/// Asserts that a row with an unreadable document keeps its columns. (Its tokens may be readable or not.)
#[track_caller]
fn assert_found(before: &Row, row: &Row) {
    assert_eq!(
        (&row.key, row.number, row.revision, row.change),
        (&before.key, before.number, before.revision, before.change)
    );
    assert_ne!(row.document, before.document);
}

#[track_caller]
fn the_middle(rows: &[Row]) -> &Row {
    assert_eq!(names(rows), ["a", "b", "c"]);
    &rows[1]
}

async fn others_are_well(case: &Case) {
    for name in ["a", "c"] {
        assert!(secrets(&case.load(&company(name)).await).is_some(), "{name}");
    }
}

pub(super) async fn tokens_that_cannot_be_read_come_as_such(case: Case) {
    let before = damaged(&case, Part::Tokens).await;

    assert_unreadable(&before, &case.load(&before.key).await);
    others_are_well(&case).await;
}

pub(super) async fn a_row_with_damaged_tokens_is_woken_among_the_others(case: Case) {
    let before = damaged(&case, Part::Tokens).await;

    let mut rows = case.woken().await;

    rows.sort_by(|one, other| one.key.cmp(&other.key));
    assert_unreadable(&before, the_middle(&rows));
}

pub(super) async fn a_row_with_damaged_tokens_is_listed_among_the_others(case: Case) {
    let before = damaged(&case, Part::Tokens).await;

    let rows = case.listed(list()).await;

    assert_eq!(state(&before), state(the_middle(&rows)));
}

pub(super) async fn damaged_tokens_are_kept_replaced_and_erased_like_others(case: Case) {
    let before = damaged(&case, Part::Tokens).await;

    let kept = case.saved(swap(&case.load(&before.key).await)).await;
    assert!(matches!(kept.tokens, StoredTokens::Unreadable(_)), "{kept:?}");
    let replaced = case.saved(replacing(&kept)).await;
    assert_eq!(secrets(&replaced), Some(secrets_of(&pair(replaced.revision))));

    case.damage(&before.key, Part::Tokens).await;
    let erased = case.saved(Swap { tokens: TokenChange::Erase, ..swap(&replaced) }).await;
    assert_eq!(secrets(&erased), None);
}

pub(super) async fn a_row_with_a_damaged_document_is_loaded_woken_and_listed_among_the_others(case: Case) {
    let before = damaged(&case, Part::Document).await;

    assert_found(&before, &case.load(&before.key).await);
    assert_found(&before, the_middle(&case.listed(list()).await));
    let mut rows = case.woken().await;
    rows.sort_by(|one, other| one.key.cmp(&other.key));
    assert_found(&before, the_middle(&rows));
    others_are_well(&case).await;
}

pub(super) async fn a_damaged_document_is_replaced_by_a_save(case: Case) {
    let before = damaged(&case, Part::Document).await;
    let damaged = case.load(&before.key).await;

    let row = case.saved(replacing(&damaged)).await;

    assert_eq!(json(&row)["pair"].as_str(), Some(&*row.revision.to_string()));
    assert!(row.revision > before.revision);
}

pub(super) async fn an_event_that_cannot_be_read_is_named_among_the_others(case: Case) {
    let [first, unreadable, last] = ["a", "b", "c"].map(company);
    for key in [&first, &unreadable, &last] {
        case.opted_in(key).await;
    }
    let ids = case.log(Environment::Cie).await.into_iter().map(|event| event.id).collect::<Vec<_>>();

    case.damage(&unreadable, Part::Event).await;

    let read = async |query| {
        let page = done(case.store.events(query).await);
        (page.items.into_iter().map(|event| event.id).collect::<Vec<_>>(), page.unreadable, page.next)
    };
    let oldest = events(Environment::Cie);
    let newest = EventQuery { order: EventOrder::NewestFirst, ..oldest.clone() };
    assert_eq!(read(oldest.clone()).await, (vec![ids[0], ids[2]], vec![ids[1]], Some(ids[2])));
    assert_eq!(read(newest).await, (vec![ids[2], ids[0]], vec![ids[1]], Some(ids[0])));
    let second = EventQuery { after: Some(ids[0]), limit: 1, ..oldest };
    assert_eq!(read(second).await, (vec![], vec![ids[1]], Some(ids[1])), "the cursor passes it");
}
