//! Clauses of [`Store::commit_refresh`](crate::store::Store::commit_refresh).

use super::case::*;
use crate::{
    events::EventKind,
    ids::{AttemptId, Revision},
    machine::{Phase, RecordedCause, Standing},
    store::{CommitRefresh, Committed, NewPair, Store, Written},
};

pub(super) async fn stores_the_new_pair_as_the_next_version(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    case.advance(MINUTE).await;

    let after = committed(case.commit(commit(&grant, attempt, pair("2"))).await);

    assert_holds(&after, &pair("2"));
    assert_eq!(after.opt_in.revision, Revision { epoch: 1, version: 2 });
    assert_eq!((after.opt_in.standing, after.opt_in.phase), (Standing::Authenticated, Phase::Idle));
    assert_eq!((&after.actor, &after.client_id), (&grant.actor, &grant.client_id));
    assert_eq!(after.authenticated_at, grant.authenticated_at);
    assert_about(after.tokens.as_ref().map(|tokens| tokens.obtained_at), after.as_of);
    assert_unchanged(&after, &case.load(&acme()).await);
}

pub(super) async fn writes_refreshed_with_the_attempt_and_the_new_revision(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let after = committed(case.commit(commit(&grant, attempt, pair("2"))).await);

    let event = case.history(&acme()).await.pop().expect("an event");
    assert_eq!((event.kind, event.revision, event.id), (EventKind::Refreshed, after.opt_in.revision, after.change));
    assert_eq!(event.evidence.and_then(|evidence| evidence.attempt), Some(attempt));
}

pub(super) async fn lifetimes_count_from_the_send_of_the_request(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let held_back = NewPair { age: HOUR, ..pair("2") };
    let after = committed(case.commit(commit(&grant, attempt, held_back)).await);

    let tokens = after.tokens.expect("tokens are stored");
    assert_about(tokens.access_expires_at, after.as_of + ACCESS_LIFETIME - HOUR);
    assert_about(tokens.refresh_expires_at, after.as_of + REFRESH_LIFETIME - HOUR);
}

pub(super) async fn compares_no_lease(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let slow = case.claimed(&grant).await;
    case.advance(2 * LEASE).await;

    assert_holds(&committed(case.commit(commit(&grant, slow, pair("2"))).await), &pair("2"));
}

pub(super) async fn compares_no_attempt(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let slow = case.claimed(&grant).await;
    case.advance(LEASE).await;
    let probe = case.claimed(&grant).await;

    let after = committed(case.commit(commit(&grant, slow, pair("2"))).await);

    assert_holds(&after, &pair("2"));
    assert_eq!(after.opt_in.phase, Phase::Idle);
    assert_eq!(case.settle(refused(&grant, probe)).await, Written::No);
}

pub(super) async fn needs_no_attempt_to_be_under_way(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.unanswered(&grant).await;
    let after = committed(case.commit(commit(&grant, attempt, pair("2"))).await);
    assert_holds(&after, &pair("2"));

    let after = committed(case.commit(commit(&after, AttemptId::random(), pair("3"))).await);

    assert_holds(&after, &pair("3"));
}

pub(super) async fn over_a_lost_rotation_recovers_the_opt_in(case: Case) {
    let (lost, attempt) = case.rotation_lost(&acme()).await;

    let after = committed(case.commit(commit(&lost, attempt, pair("2"))).await);

    assert_holds(&after, &pair("2"));
    assert_eq!((after.opt_in.standing, &after.cause), (Standing::Authenticated, &None));
    assert!(after.opt_in.suspect && !after.opt_in.unanswered);
    assert_eq!(case.kinds(&acme()).await.last(), Some(&EventKind::Recovered));
}

pub(super) async fn over_an_invalidated_opt_in_recovers_it(case: Case) {
    let ended = case.invalidated(&acme()).await;

    let after = committed(case.commit(commit(&ended, AttemptId::random(), pair("2"))).await);

    assert_holds(&after, &pair("2"));
    assert_eq!((after.opt_in.standing, &after.cause), (Standing::Authenticated, &None));
    assert!(after.opt_in.suspect);
    assert_eq!(case.kinds(&acme()).await.last(), Some(&EventKind::Recovered));
}

pub(super) async fn of_another_version_is_moved(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let rotated = committed(case.commit(commit(&grant, attempt, pair("2"))).await);

    let answer = case.commit(commit(&grant, attempt, pair("another"))).await;

    assert!(matches!(answer, Committed::Moved), "{answer:?}");
    assert_unchanged(&rotated, &case.load(&acme()).await);
    assert_eq!(case.count(&acme(), EventKind::Refreshed).await, 1);
}

pub(super) async fn of_another_epoch_with_the_same_version_is_moved(case: Case) {
    let former = case.authenticated(&acme()).await;
    let grant = case.authenticated_with(&acme(), pair("2")).await;
    assert_eq!(former.opt_in.revision.version, grant.opt_in.revision.version);

    let answer = case.commit(commit(&former, AttemptId::random(), pair("another"))).await;

    assert!(matches!(answer, Committed::Moved), "{answer:?}");
    assert_unchanged(&grant, &case.load(&acme()).await);
}

pub(super) async fn after_a_removal_is_moved(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let removed = case.remove(&acme()).await;

    for read in [&grant, &removed] {
        let answer = case.commit(commit(read, attempt, pair("2"))).await;
        assert!(matches!(answer, Committed::Moved), "{answer:?}");
    }

    assert_unchanged(&removed, &case.load(&acme()).await);
}

pub(super) async fn of_a_company_that_was_never_seen_is_moved(case: Case) {
    let never = case.load(&acme()).await;

    let answer = case.commit(commit(&never, AttemptId::random(), pair("1"))).await;

    assert!(matches!(answer, Committed::Moved), "{answer:?}");
    assert!(case.kinds(&acme()).await.is_empty());
}

pub(super) async fn without_a_refresh_token_keeps_the_stored_one(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.advance(DAY).await;
    let attempt = case.claimed(&grant).await;
    let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("2") };

    let after = committed(case.commit(commit(&grant, attempt, lone)).await);

    assert_eq!(secrets(&after), Some((Some("canary-access-2"), Some("canary-refresh-1"))));
    let end = |grant: &crate::store::Snapshot| grant.tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at);
    assert_eq!(end(&after), end(&case.load(&acme()).await));
    assert_about(end(&after), after.as_of + REFRESH_LIFETIME - DAY);
}

/// UPS sent one that nobody can use, so the stored one is spent.
pub(super) async fn that_erases_the_refresh_token_leaves_none(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let lone = NewPair { refresh_token: None, refresh_lifetime: None, erases_refresh_token: true, ..pair("2") };
    let commit = commit(&grant, attempt, lone);

    let after = committed(case.commit(commit.clone()).await);

    assert_eq!(secrets(&after), Some((Some("canary-access-2"), None)));
    assert_eq!(secrets(&case.load(&acme()).await), Some((Some("canary-access-2"), None)));
    assert_eq!(after.tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at), None);
    assert_eq!(after.opt_in.revision.version, 2);
    assert!(!after.opt_in.suspect);
    let again = case.commit(commit).await;
    assert!(matches!(again, Committed::AlreadyStored(_)), "{again:?}");
}

pub(super) async fn with_the_same_refresh_token_is_a_new_version(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let unchanged = NewPair { refresh_token: pair("1").refresh_token, ..pair("2") };

    let after = committed(case.commit(commit(&grant, attempt, unchanged.clone())).await);

    assert_holds(&after, &unchanged);
    assert_eq!(after.opt_in.revision.version, 2);
}

pub(super) async fn without_a_usable_access_token_stores_the_refresh_token(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let after = committed(case.commit(commit(&grant, attempt, NewPair { access_token: None, ..pair("2") })).await);

    assert_eq!(secrets(&after), Some((None, Some("canary-refresh-2"))));
}

pub(super) async fn a_token_of_16_kib_is_stored_whole(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let long = pair(&"x".repeat(16 * 1024));

    committed(case.commit(commit(&grant, attempt, long.clone())).await);

    assert_holds(&case.load(&acme()).await, &long);
}

pub(super) async fn sets_failures_and_the_next_try_as_given(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let cool_down = CommitRefresh { failures: 2, retry_in: Some(HOUR), ..commit(&grant, attempt, pair("2")) };

    let after = committed(case.commit(cool_down).await);

    assert_eq!(after.failures, 2);
    assert_about(after.retry_at, after.as_of + HOUR);
    let next = committed(case.commit(commit(&after, attempt, pair("3"))).await);
    assert_eq!((next.failures, next.retry_at), (0, None));
}

pub(super) async fn clears_the_warnings_of_the_former_refresh_token(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME - 10 * DAY).await;
    assert_eq!(case.warn(warnings()).await, 1);
    committed(case.commit(commit(&grant, AttemptId::random(), pair("2"))).await);

    case.advance(REFRESH_LIFETIME - 10 * DAY).await;

    assert_eq!(case.warn(warnings()).await, 1);
}

pub(super) async fn clears_a_reservation(case: Case) {
    let unusable = |name| NewPair { access_token: None, ..pair(name) };
    let grant = case.authenticated_with(&acme(), unusable("1")).await;
    case.used(&[acme()]).await;
    assert_eq!(case.due(due()).await, [acme().company]);

    committed(case.commit(commit(&grant, AttemptId::random(), unusable("2"))).await);

    assert_eq!(case.due(due()).await, [acme().company]);
}

pub(super) async fn a_repetition_finds_its_own_pair_stored(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let repeated = commit(&grant, attempt, pair("2"));
    let rotated = committed(case.commit(repeated.clone()).await);

    let answer = case.commit(repeated).await;

    let Committed::AlreadyStored(shown) = answer else { panic!("not found: {answer:?}") };
    assert_unchanged(&rotated, &shown);
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated, EventKind::Refreshed]);
}

pub(super) async fn a_repetition_without_a_refresh_token_finds_its_own_pair_stored(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("2") };
    let repeated = commit(&grant, attempt, lone);
    committed(case.commit(repeated.clone()).await);

    let answer = case.commit(repeated).await;

    assert!(matches!(answer, Committed::AlreadyStored(_)), "{answer:?}");
}

pub(super) async fn of_50_repetitions_at_once_exactly_one_stores(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let answers = case
        .at_once(50, |store, _| {
            let commit = commit(&grant, attempt, pair("2"));
            async move { store.commit_refresh(commit).await }
        })
        .await;

    let stored = answers.iter().filter(|answer| matches!(answer, Committed::Stored(_))).count();
    let found = answers.iter().filter(|answer| matches!(answer, Committed::AlreadyStored(_))).count();
    assert_eq!((stored, found), (1, 49));
    assert_eq!(case.load(&acme()).await.opt_in.revision.version, 2);
    assert_eq!(case.count(&acme(), EventKind::Refreshed).await, 1);
}

pub(super) async fn of_50_different_pairs_at_once_exactly_one_is_stored(case: Case) {
    let grant = case.authenticated(&acme()).await;

    let answers = case
        .at_once(50, |store, number| {
            let commit = commit(&grant, AttemptId::random(), pair(&format!("racer-{number}")));
            async move { store.commit_refresh(commit).await }
        })
        .await;

    let stored = answers.iter().filter(|answer| matches!(answer, Committed::Stored(_))).count();
    let moved = answers.iter().filter(|answer| matches!(answer, Committed::Moved)).count();
    assert_eq!((stored, moved), (1, 49));
    assert_eq!(case.load(&acme()).await.opt_in.revision.version, 2);
}

pub(super) async fn a_clean_rotation_leaves_no_mark(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let after = committed(case.commit(commit(&grant, attempt, pair("2"))).await);

    assert!(!after.opt_in.suspect && !after.opt_in.unanswered);
    let attempt = case.claimed(&after).await;
    case.settled(refused(&after, attempt)).await;
    let standing = case.load(&acme()).await.opt_in.standing;
    assert_eq!(standing, Standing::ReauthRequired(RecordedCause::OptInInvalidated));
}

pub(super) async fn over_an_unanswered_row_marks_the_rest_of_the_epoch_suspect(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.unanswered(&grant).await;
    case.advance(LEASE).await;
    let probe = case.claimed(&grant).await;
    let first = committed(case.commit(commit(&grant, probe, pair("2"))).await);
    assert!(first.opt_in.suspect && !first.opt_in.unanswered);

    let attempt = case.claimed(&first).await;
    let second = committed(case.commit(commit(&first, attempt, pair("3"))).await);

    assert!(second.opt_in.suspect);
    let attempt = case.claimed(&second).await;
    case.settled(refused(&second, attempt)).await;
    let standing = case.load(&acme()).await.opt_in.standing;
    assert_eq!(standing, Standing::ReauthRequired(RecordedCause::RotationLost));
}

pub(super) async fn over_a_row_that_was_taken_over_marks_it_suspect(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let slow = case.claimed(&grant).await;
    case.advance(LEASE).await;
    case.claimed(&grant).await;

    let after = committed(case.commit(commit(&grant, slow, pair("2"))).await);

    assert!(after.opt_in.suspect && !after.opt_in.unanswered);
}

/// A refresh token that was sent and stays is no longer certainly unused.
pub(super) async fn that_keeps_the_refresh_token_marks_the_row_suspect(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("2") };
    let after = committed(case.commit(commit(&grant, attempt, lone)).await);

    assert!(after.opt_in.suspect);
}

/// The pair wins, whichever statement comes first.
pub(super) async fn a_verdict_at_the_same_moment_does_not_lose_the_pair(case: Case) {
    for round in 0..20 {
        let grant = case.authenticated(&company(format!("company-{round}"))).await;
        let slow = case.claimed(&grant).await;
        case.advance(LEASE).await;
        let probe = case.claimed(&grant).await;
        let (committing, settling) = (case.store.clone(), case.store.clone());
        let (commit, settle) = (commit(&grant, slow, pair("2")), refused(&grant, probe));

        let (commit, verdict) = case
            .race(async move { committing.commit_refresh(commit).await }, async move {
                settling.settle_refresh(settle).await
            })
            .await;

        assert!(matches!(commit, Committed::Stored(_)), "{commit:?}");
        let after = case.load(&grant.key).await;
        assert_holds(&after, &pair("2"));
        assert_eq!((after.opt_in.standing, &after.cause), (Standing::Authenticated, &None));
        let expected: &[EventKind] = match verdict {
            Written::Yes => &[EventKind::Authenticated, EventKind::Invalidated, EventKind::Recovered],
            Written::No => &[EventKind::Authenticated, EventKind::Refreshed],
        };
        assert_eq!(case.kinds(&grant.key).await, expected);
    }
}

pub(super) async fn a_removal_at_the_same_moment_leaves_no_tokens(case: Case) {
    for round in 0..20 {
        let grant = case.authenticated(&company(format!("company-{round}"))).await;
        let attempt = case.claimed(&grant).await;
        let (committing, removing) = (case.store.clone(), case.store.clone());
        let (commit, key) = (commit(&grant, attempt, pair("2")), grant.key.clone());

        let (commit, _) = case
            .race(async move { committing.commit_refresh(commit).await }, async move {
                removing.remove(&key, &actor("remover")).await
            })
            .await;

        assert!(matches!(commit, Committed::Stored(_) | Committed::Moved), "{commit:?}");
        let after = case.load(&grant.key).await;
        assert!(after.tokens.is_none() && after.opt_in.standing == Standing::Unauthenticated);
    }
}
