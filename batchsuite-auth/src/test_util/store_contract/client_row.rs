//! The environment's client row: the same verbs, no company.

use super::case::*;

fn client() -> RowKey {
    RowKey::client(Environment::Cie)
}

/// As [`replacing`]; a client row has no tokens.
fn without_tokens(row: &Row) -> Swap {
    Swap { tokens: TokenChange::Keep, ..replacing(row) }
}

pub(super) async fn is_saved_and_loaded_like_a_company(case: Case) {
    let first = case.load(&client()).await;

    let row = case.saved(without_tokens(&first)).await;

    assert_eq!((row.key.clone(), row.revision), (client(), Revision { epoch: 1, version: 1 }));
    assert_eq!(json(&row), json_of(&without_tokens(&first)));
    assert_eq!(secrets(&row), None);
    assert_eq!(case.latest(&client()).await.id, row.change);
    case.conflicts(without_tokens(&first)).await;
}

fn json_of(swap: &Swap) -> serde_json::Value {
    serde_json::from_str(swap.document.as_str()).expect("a JSON object")
}

pub(super) async fn its_events_concern_no_company(case: Case) {
    case.opted_in(&acme()).await;
    let events = vec![event(EventKind::ClientChanged), event(EventKind::Restored)];

    let row = case.saved(Swap { events, ..without_tokens(&case.load(&client()).await) }).await;

    let log = case.log(Environment::Cie).await.split_off(1);
    assert_eq!(log.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::ClientChanged, EventKind::Restored]);
    assert!(log.iter().all(|event| event.company.is_none() && event.revision == row.revision), "{log:?}");
    assert_eq!(case.history(&acme()).await.len(), 1);
}

pub(super) async fn is_never_listed(case: Case) {
    case.opted_in(&acme()).await;
    case.saved(without_tokens(&case.load(&client()).await)).await;

    assert_eq!(names(&case.listed(list()).await), ["acme"]);
    let authenticated = ListQuery { listed_as: Some(ListedAs::ALL.to_vec()), ..list() };
    assert_eq!(names(&case.listed(authenticated).await), ["acme"]);
}

pub(super) async fn is_never_woken(case: Case) {
    let row = case.load(&client()).await;
    case.saved(Swap { wake: wake(earlier(row.as_of, HOUR), None), ..without_tokens(&row) }).await;

    assert!(case.woken().await.is_empty());
}

pub(super) async fn has_one_for_each_environment(case: Case) {
    case.saved(without_tokens(&case.load(&client()).await)).await;

    let other = case.load(&elsewhere(&client())).await;

    assert_same(&other, &Row::empty(elsewhere(&client()), other.as_of));
}

pub(super) async fn is_apart_from_every_company(case: Case) {
    let company = case.opted_in(&acme()).await;
    let row = case.saved(without_tokens(&case.load(&client()).await)).await;

    case.saved(swap(&case.load(&acme()).await)).await;

    assert_same(&row, &case.load(&client()).await);
    assert_eq!(secrets(&case.load(&acme()).await), secrets(&company));
}
