//! Clauses of [`Store::settle_refresh`](crate::store::Store::settle_refresh).

use super::case::*;
use crate::{
    events::EventKind,
    ids::AttemptId,
    machine::{Phase, RecordedCause, Standing},
    store::{SettleRefresh, Store, Written},
};

const INVALIDATED: Standing = Standing::ReauthRequired(RecordedCause::OptInInvalidated);
const LOST: Standing = Standing::ReauthRequired(RecordedCause::RotationLost);

pub(super) async fn refused_ends_an_opt_in_whose_token_was_certainly_unused(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    case.settled(refused(&grant, attempt)).await;

    let after = case.load(&acme()).await;
    assert_eq!((after.opt_in.standing, after.opt_in.phase), (INVALIDATED, Phase::Idle));
    assert_eq!(after.opt_in.revision, grant.opt_in.revision);
    assert!(after.tokens.is_none());
}

pub(super) async fn refused_keeps_the_evidence_and_the_time(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.advance(HOUR).await;
    let attempt = case.claimed(&grant).await;

    case.settled(refused(&grant, attempt)).await;

    let after = case.load(&acme()).await;
    let (at, kept) = after.cause.clone().expect("a cause");
    assert_about(at, after.as_of);
    assert_eq!(kept, evidence("Invalid Refresh Token"));
}

pub(super) async fn refused_writes_invalidated_with_the_evidence(case: Case) {
    let ended = case.invalidated(&acme()).await;

    let event = case.history(&acme()).await.pop().expect("an event");

    assert_eq!((event.kind, event.revision, event.id), (EventKind::Invalidated, ended.opt_in.revision, ended.change));
    assert_eq!(event.evidence, Some(evidence("Invalid Refresh Token")));
}

pub(super) async fn refused_after_a_clean_give_back_ends_the_opt_in(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let first = case.claimed(&grant).await;
    case.given_back(give_back(&grant, first)).await;
    let second = case.claimed(&grant).await;

    case.settled(refused(&grant, second)).await;

    assert_eq!(case.load(&acme()).await.opt_in.standing, INVALIDATED);
}

pub(super) async fn refused_after_an_unanswered_attempt_is_a_lost_rotation_and_keeps_the_tokens(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.unanswered(&grant).await;
    case.advance(LEASE).await;
    let probe = case.claimed(&grant).await;

    case.settled(refused(&grant, probe)).await;

    let after = case.load(&acme()).await;
    assert_eq!((after.opt_in.standing, after.opt_in.phase), (LOST, Phase::Idle));
    assert_eq!(secrets(&after), secrets(&grant));
    assert_eq!(after.cause.map(|(_, evidence)| evidence), Some(evidence("Invalid Refresh Token")));
    assert_eq!(case.kinds(&acme()).await.last(), Some(&EventKind::Invalidated));
}

pub(super) async fn refused_after_two_silences_is_a_lost_rotation(case: Case) {
    let grant = case.authenticated(&acme()).await;
    for _ in 0..2 {
        case.unanswered(&grant).await;
        case.advance(LEASE).await;
    }
    let probe = case.claimed(&grant).await;

    case.settled(refused(&grant, probe)).await;

    assert_eq!(case.load(&acme()).await.opt_in.standing, LOST);
}

pub(super) async fn refused_over_an_attempt_that_was_never_settled_is_a_lost_rotation(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.claimed(&grant).await;
    case.advance(LEASE).await;
    let taken_over = case.claimed(&grant).await;

    case.settled(refused(&grant, taken_over)).await;

    assert_eq!(case.load(&acme()).await.opt_in.standing, LOST);
}

pub(super) async fn unanswered_marks_the_row_and_keeps_the_lease_and_the_tokens(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let lease = case.load(&acme()).await.opt_in.phase.lease_until();
    case.advance(3 * MINUTE).await;

    case.settled(unanswered(&grant, attempt)).await;

    let after = case.load(&acme()).await;
    assert!(after.opt_in.unanswered);
    assert!(matches!(after.opt_in.phase, Phase::Travelling { .. }), "{:?}", after.opt_in.phase);
    assert_eq!(after.opt_in.phase.lease_until(), lease);
    assert_eq!((after.opt_in.standing, secrets(&after)), (Standing::Authenticated, secrets(&grant)));
    assert_eq!(after.cause, None);
}

pub(super) async fn after_an_unanswered_attempt_the_next_try_is_due_after_its_lease_and_the_pause(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let lease_end = case.load(&acme()).await.as_of + LEASE;
    case.advance(3 * MINUTE).await;

    case.settled(SettleRefresh { retry_in: HOUR, ..unanswered(&grant, attempt) }).await;

    assert_about(case.load(&acme()).await.retry_at, lease_end + HOUR);
}

pub(super) async fn unanswered_counts_a_failure_and_writes_its_event(case: Case) {
    let grant = case.authenticated(&acme()).await;
    for failures in 1..=2 {
        case.unanswered(&grant).await;
        assert_eq!(case.load(&acme()).await.failures, failures);
        case.advance(LEASE).await;
    }

    let event = case.history(&acme()).await.pop().expect("an event");
    assert_eq!((event.kind, event.revision), (EventKind::RefreshUnanswered, grant.opt_in.revision));
    assert_eq!(event.evidence, Some(evidence("timed out")));
    assert_eq!(case.count(&acme(), EventKind::RefreshUnanswered).await, 2);
}

pub(super) async fn the_verdict_of_an_attempt_that_lost_the_row_writes_nothing(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let slow = case.claimed(&grant).await;
    case.advance(LEASE).await;
    case.claimed(&grant).await;
    let before = case.load(&acme()).await;

    for attempt in [slow, AttemptId::random()] {
        assert_eq!(case.settle(refused(&grant, attempt)).await, Written::No);
        assert_eq!(case.settle(unanswered(&grant, attempt)).await, Written::No);
    }

    assert_unchanged(&before, &case.load(&acme()).await);
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated]);
}

/// The race loser's refusal must not kill what the winner stored.
pub(super) async fn the_verdict_of_an_older_version_writes_nothing(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let rotated = committed(case.commit(commit(&grant, attempt, pair("2"))).await);

    assert_eq!(case.settle(refused(&grant, attempt)).await, Written::No);
    assert_eq!(case.settle(unanswered(&grant, attempt)).await, Written::No);

    assert_unchanged(&rotated, &case.load(&acme()).await);
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated, EventKind::Refreshed]);
}

/// An attempt keeps its id over versions only by mistake; the revision is compared all the same.
pub(super) async fn the_revision_is_compared_as_well_as_the_attempt(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let rotated = committed(case.commit(commit(&grant, attempt, pair("2"))).await);
    let again = crate::store::ClaimRefresh { attempt, ..claim(&rotated) };
    assert_eq!(case.claim(again).await, crate::store::Claimed::Yes);

    assert_eq!(case.settle(refused(&grant, attempt)).await, Written::No);
    assert_eq!(case.give_back(give_back(&grant, attempt)).await, Written::No);

    assert_eq!(case.load(&acme()).await.opt_in.standing, Standing::Authenticated);
}

pub(super) async fn after_a_removal_writes_nothing(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let removed = case.remove(&acme()).await;

    assert_eq!(case.settle(refused(&grant, attempt)).await, Written::No);
    assert_eq!(case.settle(unanswered(&grant, attempt)).await, Written::No);

    assert_unchanged(&removed, &case.load(&acme()).await);
}

pub(super) async fn a_repetition_writes_nothing(case: Case) {
    for settle in [refused, unanswered] {
        let key = company(format!("{:?}", settle(&case.load(&acme()).await, AttemptId::random()).verdict));
        let grant = case.authenticated(&key).await;
        let attempt = case.claimed(&grant).await;
        case.settled(settle(&grant, attempt)).await;
        let (before, events) = (case.load(&key).await, case.kinds(&key).await);

        assert_eq!(case.settle(settle(&grant, attempt)).await, Written::No);

        assert_unchanged(&before, &case.load(&key).await);
        assert_eq!(case.kinds(&key).await, events);
    }
}

pub(super) async fn of_50_at_once_exactly_one_writes(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let answers = case
        .at_once(50, |store, _| {
            let settle = refused(&grant, attempt);
            async move { store.settle_refresh(settle).await }
        })
        .await;

    assert_eq!(answers.into_iter().filter(|answer| *answer == Written::Yes).count(), 1);
    assert_eq!(case.count(&acme(), EventKind::Invalidated).await, 1);
}

pub(super) async fn a_verdict_and_a_take_over_at_the_same_moment_never_both_hold(case: Case) {
    for round in 0..20 {
        let grant = case.authenticated(&company(format!("company-{round}"))).await;
        let slow = case.claimed(&grant).await;
        case.advance(LEASE).await;
        let (settling, claiming) = (case.store.clone(), case.store.clone());
        let (settle, claim) = (refused(&grant, slow), claim(&grant));

        let (verdict, claimed) =
            case.race(async move { settling.settle_refresh(settle).await }, async move {
                claiming.claim_refresh(claim).await
            })
            .await;

        assert_eq!(verdict == Written::Yes, claimed == crate::store::Claimed::Lost, "{verdict:?} and {claimed:?}");
        let after = case.load(&grant.key).await;
        match verdict {
            Written::Yes => assert_eq!(after.opt_in.standing, INVALIDATED),
            Written::No => assert!(after.opt_in.unanswered && after.tokens.is_some()),
        }
    }
}
