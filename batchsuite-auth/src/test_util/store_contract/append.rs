//! Clauses of [`Store::append`].

use super::{case::*, save::causes};

pub(super) async fn gets_time_and_number_and_the_revision_of_its_company(case: Case) {
    case.opted_in(&acme()).await;
    let row = case.saved(replacing(&case.load(&acme()).await)).await;

    let id = case.append(&acme(), event(EventKind::Failed)).await;

    let event = case.latest(&acme()).await;
    assert_eq!((event.id, event.kind, event.company), (id, EventKind::Failed, acme().company));
    assert_eq!((event.environment, event.revision), (Environment::Cie, row.revision));
    assert_about(event.at, row.as_of);
}

pub(super) async fn every_kind_and_cause_is_kept(case: Case) {
    let kinds = EventKind::ALL.map(event);
    let caused = causes().map(|cause| SwapEvent { cause: Some(cause), ..event(EventKind::Invalidated) });
    for event in kinds.into_iter().chain(caused) {
        case.append(&acme(), event.clone()).await;

        let kept = case.latest(&acme()).await;
        assert_eq!((kept.kind, kept.cause), (event.kind, event.cause));
    }
}

pub(super) async fn actor_and_evidence_are_kept_whole(case: Case) {
    let written =
        SwapEvent { actor: Some(actor("Zoë 漢字")), evidence: Some(evidence()), ..event(EventKind::OddAnswer) };

    case.append(&acme(), written.clone()).await;

    let event = case.latest(&acme()).await;
    assert_eq!((event.actor, event.evidence), (written.actor, written.evidence));
}

pub(super) async fn one_that_concerns_all_has_no_company(case: Case) {
    let id = case.append(&RowKey::client(Environment::Cie), event(EventKind::Misconfigured)).await;

    let log = case.log(Environment::Cie).await;
    assert!(matches!(&log[..], [event] if event.id == id && event.company.is_none()), "{log:?}");
    assert!(case.history(&acme()).await.is_empty());
}

pub(super) async fn changes_no_row(case: Case) {
    let before = case.opted_in(&acme()).await;

    case.append(&acme(), event(EventKind::OddAnswer)).await;

    assert_same(&before, &case.load(&acme()).await);
    case.saved(replacing(&before)).await;
}

pub(super) async fn of_a_company_that_was_never_seen_leaves_no_row(case: Case) {
    case.append(&acme(), event(EventKind::Failed)).await;

    let row = case.load(&acme()).await;
    assert_same(&row, &Row::empty(acme(), row.as_of));
    assert_eq!(case.latest(&acme()).await.revision, Revision::default());
}
