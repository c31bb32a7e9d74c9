//! Clauses of [`Store::record`](crate::store::Store::record).

use super::case::*;
use crate::{config::Environment, events::EventKind, store::NewEvent};

pub(super) async fn writes_the_event_with_the_revision_of_its_company(case: Case) {
    let grant = case.authenticated(&acme()).await;

    let id = case
        .record(NewEvent {
            actor: Some(actor("bob")),
            evidence: Some(evidence("the host refused the opt-in")),
            ..event(&acme(), EventKind::Failed)
        })
        .await;

    let event = case.history(&acme()).await.pop().expect("an event");
    assert_eq!((event.id, event.kind, event.environment), (id, EventKind::Failed, Environment::Cie));
    assert_eq!((event.actor, event.company), (Some(actor("bob")), Some(acme().company)));
    assert_eq!(
        (event.evidence, event.revision),
        (Some(evidence("the host refused the opt-in")), grant.opt_in.revision)
    );
    assert_about(event.at, case.load(&acme()).await.as_of);
}

pub(super) async fn every_kind_of_event_is_kept(case: Case) {
    for kind in EventKind::ALL {
        case.record(event(&acme(), kind)).await;
    }

    assert_eq!(case.kinds(&acme()).await, EventKind::ALL);
}

pub(super) async fn an_event_that_concerns_all_has_no_company(case: Case) {
    let id = case.record(NewEvent { company: None, ..event(&acme(), EventKind::Misconfigured) }).await;

    let events = done(case.store.events(events(Environment::Cie)).await).items;
    assert!(matches!(&events[..], [event] if event.id == id && event.company.is_none()), "{events:?}");
    assert!(case.kinds(&acme()).await.is_empty());
}

pub(super) async fn changes_no_grant(case: Case) {
    let before = case.authenticated(&acme()).await;

    case.record(event(&acme(), EventKind::OddAnswer)).await;

    assert_unchanged(&before, &case.load(&acme()).await);
}

pub(super) async fn of_a_company_that_was_never_seen_lists_it_not(case: Case) {
    case.record(event(&acme(), EventKind::Failed)).await;

    assert!(done(case.store.list(list()).await).items.is_empty());
    assert_eq!(case.kinds(&acme()).await, [EventKind::Failed]);
}
