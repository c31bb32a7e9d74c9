//! The environment's client row: the same verbs, no company.

use super::case::*;

fn client() -> RowKey {
    RowKey::client(Environment::Cie)
}

/// Like [`replacing`]; a client row has no tokens.
fn without_tokens(row: &Row) -> Swap {
    Swap { tokens: TokenChange::Keep, ..replacing(row) }
}

pub(super) async fn is_saved_and_loaded_like_a_company(case: Case) {
    let first = case.load(&client()).await;

    let row = case.saved(without_tokens(&first)).await;

    assert_eq!((&row.key, row.revision), (&client(), Revision { epoch: 1, version: 1 }));
    assert_eq!(json(&row)["pair"], "1.1");
    assert_eq!(secrets(&row), None);
    assert_eq!(case.latest(&client()).await.id, row.change);
    case.conflicts(without_tokens(&first)).await;
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

pub(super) async fn is_never_listed_nor_woken(case: Case) {
    let row = case.load(&client()).await;
    case.saved(Swap { wake: wake(earlier(row.as_of, HOUR), None), ..without_tokens(&row) }).await;
    case.waking(&acme(), earlier(row.as_of, MINUTE)).await;

    for listed_as in [None, Some(ListedAs::ALL.to_vec()), Some(vec![])] {
        assert_eq!(names(&case.listed(ListQuery { listed_as, ..list() }).await), ["acme"]);
    }
    let first = done(case.store.wake(Environment::Cie, 1).await);
    assert_eq!(names(&first), ["acme"], "the client row does not count as a company");
    assert!(case.woken().await.is_empty());
}

pub(super) async fn is_apart_from_companies_and_from_that_of_the_other_environment(case: Case) {
    let company = case.opted_in(&acme()).await;
    let row = case.saved(without_tokens(&case.load(&client()).await)).await;
    assert_same(&company, &case.load(&acme()).await);

    case.saved(replacing(&company)).await;
    case.saved(without_tokens(&case.load(&elsewhere(&client())).await)).await;

    assert_same(&row, &case.load(&client()).await);
}
