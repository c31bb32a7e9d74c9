//! No secret in the `Debug` of anything that a store hands out.

use std::fmt::Debug;

use super::case::*;
use crate::{
    config::Environment,
    events::EventId,
    store::{EventOrder, EventQuery, Snapshot},
};

#[track_caller]
fn assert_hides(shown: impl Debug) {
    for shown in [format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!shown.contains(CANARY), "a secret is shown in {shown}");
    }
}

/// A grant with an unanswered attempt and a pending consent.
async fn filled(case: &Case) -> Snapshot {
    let grant = case.authenticated(&acme()).await;
    assert!(secrets(&grant).is_some_and(|(access, _)| access.is_some_and(|access| access.contains(CANARY))));
    case.begin(&consent(&acme(), &actor("alice"))).await;
    case.unanswered(&grant).await;
    grant
}

pub(super) async fn the_store_itself_shows_none(case: Case) {
    filled(&case).await;

    assert_hides(&case.store);
}

pub(super) async fn what_the_writing_verbs_hand_out_shows_none(case: Case) {
    let pending = consent(&acme(), &actor("alice"));
    case.begin(&pending).await;

    assert_hides(case.take(other_browser(&pending)).await);
    assert_hides(case.take(take(&pending)).await);
    let connect = connect(&acme());
    let connected = case.connect(connect.clone()).await;
    assert_hides(&connected);
    assert_hides(case.connect(connect).await);
    let grant = stored(connected);
    let attempt = case.claimed(&grant).await;
    let commit = commit(&grant, attempt, pair("2"));
    assert_hides(case.commit(commit.clone()).await);
    assert_hides(case.commit(commit).await);
    assert_hides(case.remove(&acme()).await);
}

pub(super) async fn what_the_reading_verbs_hand_out_shows_none(case: Case) {
    filled(&case).await;

    assert_hides(case.load(&acme()).await);
    assert_hides(done(case.store.list(list()).await));
    for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
        assert_hides(done(case.store.events(EventQuery { order, ..events(Environment::Cie) }).await));
    }
    case.advance(ACCESS_LIFETIME).await;
    case.used(&[acme()]).await;
    let due = case.due_grants(due()).await;
    assert!(!due.is_empty());
    assert_hides(due);
    let changes = case.store.changes(Environment::Cie, Some(EventId::START), std::time::Duration::ZERO).await;
    assert_hides(done(changes));
}
