//! Clauses of [`Store::give_back`](crate::store::Store::give_back).

use super::case::*;
use crate::{
    events::EventKind,
    ids::AttemptId,
    machine::{Phase, RecordedCause, Standing},
    store::{GiveBack, Store, Written},
};

pub(super) async fn ends_the_attempt_and_keeps_the_tokens(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    case.given_back(give_back(&grant, attempt)).await;

    let after = case.load(&acme()).await;
    assert_eq!((after.opt_in.phase, after.opt_in.revision), (Phase::Idle, grant.opt_in.revision));
    assert_eq!((secrets(&after), after.opt_in.standing), (secrets(&grant), Standing::Authenticated));
}

pub(super) async fn the_next_try_is_due_after_the_given_time(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    case.given_back(GiveBack { retry_in: HOUR, ..give_back(&grant, attempt) }).await;

    let after = case.load(&acme()).await;
    assert_about(after.retry_at, after.as_of + HOUR);
}

pub(super) async fn with_an_event_counts_a_failure_and_writes_it(case: Case) {
    let grant = case.authenticated(&acme()).await;
    for failures in 1..=2 {
        let attempt = case.claimed(&grant).await;
        let event = Some((EventKind::RefreshFailed, evidence("Too Many Requests")));

        case.given_back(GiveBack { event, ..give_back(&grant, attempt) }).await;

        assert_eq!(case.load(&acme()).await.failures, failures);
    }
    let events = case.history(&acme()).await;
    let [_, event, again] = &events[..] else { panic!("not three events: {events:?}") };
    assert_eq!((event.kind, again.kind), (EventKind::RefreshFailed, EventKind::RefreshFailed));
    assert_eq!(event.evidence, Some(evidence("Too Many Requests")));
    assert_eq!(event.revision, grant.opt_in.revision);
}

pub(super) async fn without_an_event_nothing_failed_and_none_is_written(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    case.given_back(give_back(&grant, attempt)).await;

    assert_eq!(case.load(&acme()).await.failures, 0);
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated]);
}

pub(super) async fn of_an_attempt_that_lost_the_row_writes_nothing(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let slow = case.claimed(&grant).await;
    case.advance(LEASE).await;
    case.claimed(&grant).await;
    let before = case.load(&acme()).await;
    let event = Some((EventKind::RefreshFailed, evidence("too late")));

    for attempt in [slow, AttemptId::random()] {
        let late = GiveBack { event: event.clone(), retry_in: HOUR, ..give_back(&grant, attempt) };
        assert_eq!(case.give_back(late).await, Written::No);
    }

    assert_unchanged(&before, &case.load(&acme()).await);
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated]);
}

pub(super) async fn a_repetition_writes_nothing(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let event = Some((EventKind::RefreshFailed, evidence("connection refused")));
    let given_back = GiveBack { event, ..give_back(&grant, attempt) };
    case.given_back(given_back.clone()).await;
    let before = case.load(&acme()).await;

    assert_eq!(case.give_back(given_back).await, Written::No);

    assert_unchanged(&before, &case.load(&acme()).await);
    assert_eq!(case.count(&acme(), EventKind::RefreshFailed).await, 1);
}

pub(super) async fn of_50_at_once_exactly_one_writes(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let answers = case
        .at_once(50, |store, _| {
            let event = Some((EventKind::RefreshFailed, evidence("connection refused")));
            let give_back = GiveBack { event, ..give_back(&grant, attempt) };
            async move { store.give_back(give_back).await }
        })
        .await;

    assert_eq!(answers.into_iter().filter(|answer| *answer == Written::Yes).count(), 1);
    assert_eq!(case.load(&acme()).await.failures, 1);
    assert_eq!(case.count(&acme(), EventKind::RefreshFailed).await, 1);
}

pub(super) async fn of_an_attempt_that_was_settled_writes_nothing(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.unanswered(&grant).await;
    let before = case.load(&acme()).await;

    assert_eq!(case.give_back(give_back(&grant, attempt)).await, Written::No);

    assert_unchanged(&before, &case.load(&acme()).await);
}

pub(super) async fn after_a_commit_writes_nothing(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let rotated = committed(case.commit(commit(&grant, attempt, pair("2"))).await);

    assert_eq!(case.give_back(give_back(&grant, attempt)).await, Written::No);

    assert_unchanged(&rotated, &case.load(&acme()).await);
}

/// That this attempt was not sent (a 429, say) tells nothing of an earlier one.
pub(super) async fn does_not_clear_unanswered(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.unanswered(&grant).await;
    case.advance(LEASE).await;
    let probe = case.claimed(&grant).await;

    case.given_back(give_back(&grant, probe)).await;

    assert!(case.load(&acme()).await.opt_in.unanswered);
    let attempt = case.claimed(&grant).await;
    case.settled(refused(&grant, attempt)).await;
    let standing = case.load(&acme()).await.opt_in.standing;
    assert_eq!(standing, Standing::ReauthRequired(RecordedCause::RotationLost));
}
