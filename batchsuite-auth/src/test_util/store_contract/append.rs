//! Clauses of [`Store::append`].

use super::case::*;

pub(super) async fn gets_time_and_number_and_the_revision_of_its_company(case: Case) {
    case.opted_in(&acme()).await;
    let row = case.saved(replacing(&case.load(&acme()).await)).await;

    let id = case.append(&acme(), event(EventKind::Failed)).await;

    let event = case.latest(&acme()).await;
    assert_eq!((event.id, event.kind, event.company), (id, EventKind::Failed, acme().company));
    assert_eq!((event.environment, event.revision), (Environment::Cie, row.revision));
    assert_about(event.at, row.as_of);
}

pub(super) async fn one_that_concerns_all_has_no_company(case: Case) {
    let id = case.append(&RowKey::client(Environment::Cie), event(EventKind::Misconfigured)).await;

    let log = case.log(Environment::Cie).await;
    assert!(matches!(&log[..], [event] if event.id == id && event.company.is_none()), "{log:?}");
    assert!(case.history(&acme()).await.is_empty());
}

pub(super) async fn every_sort_is_kept_whole(case: Case) {
    for event in all_sorts_of_events() {
        case.append(&acme(), event.clone()).await;

        assert_eq!(written_as(case.latest(&acme()).await), event);
    }
}

pub(super) async fn changes_no_row_and_makes_none(case: Case) {
    for before in [case.opted_in(&acme()).await, case.load(&company("never-seen")).await] {
        case.append(&before.key, event(EventKind::OddAnswer)).await;

        assert_same(&before, &case.load(&before.key).await);
        assert_eq!(case.latest(&before.key).await.revision, before.revision);
    }
    assert_eq!(names(&case.listed(list()).await), ["acme"]);
}
