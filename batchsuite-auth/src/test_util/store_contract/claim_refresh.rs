//! Clauses of [`Store::claim_refresh`](crate::store::Store::claim_refresh).

use super::case::*;
use crate::{
    ids::Revision,
    machine::{Phase, Standing},
    store::{ClaimRefresh, Claimed, GiveBack, NewPair, SettleRefresh, Store},
};

pub(super) async fn sets_the_attempt_and_a_lease_by_the_clock_of_the_store(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.advance(HOUR).await;
    let claim = claim(&grant);

    assert_eq!(case.claim(claim.clone()).await, Claimed::Yes);

    let after = case.load(&acme()).await;
    let Phase::Sent { attempt, lease_until } = after.opt_in.phase else { panic!("not sent: {:?}", after.opt_in) };
    assert_eq!(attempt, claim.attempt);
    assert_about(lease_until, after.as_of + LEASE);
    assert_eq!((after.opt_in.revision, after.opt_in.unanswered), (grant.opt_in.revision, false));
}

pub(super) async fn keeps_the_tokens_and_writes_no_event(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let events = case.kinds(&acme()).await;

    case.claimed(&grant).await;

    let after = case.load(&acme()).await;
    assert_eq!((secrets(&after), after.change), (secrets(&grant), grant.change));
    assert_eq!(case.kinds(&acme()).await, events);
}

pub(super) async fn of_50_at_once_exactly_one_may_send(case: Case) {
    let grant = case.authenticated(&acme()).await;

    let answers = case
        .at_once(50, |store, _| {
            let claim = claim(&grant);
            async move { Ok((claim.attempt, store.claim_refresh(claim).await?)) }
        })
        .await;

    let winners: Vec<_> = answers.into_iter().filter(|(_, answer)| *answer == Claimed::Yes).collect();
    let [(winner, _)] = winners[..] else { panic!("not one may send: {winners:?}") };
    let phase = case.load(&acme()).await.opt_in.phase;
    assert!(matches!(phase, Phase::Sent { attempt, .. } if attempt == winner), "{phase:?}");
}

pub(super) async fn of_50_at_once_over_an_ended_lease_exactly_one_may_send(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.claimed(&grant).await;
    case.advance(LEASE).await;

    let answers = case
        .at_once(50, |store, _| {
            let claim = claim(&grant);
            async move { store.claim_refresh(claim).await }
        })
        .await;

    assert_eq!(answers.into_iter().filter(|answer| *answer == Claimed::Yes).count(), 1);
}

pub(super) async fn is_lost_while_a_lease_runs(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.claimed(&grant).await;
    let before = case.load(&acme()).await;
    case.advance(LEASE - 2 * MINUTE).await;

    assert_eq!(case.claim(claim(&grant)).await, Claimed::Lost);

    assert_unchanged(&before, &case.load(&acme()).await);
}

pub(super) async fn a_repetition_of_the_holder_is_lost(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let claim = claim(&grant);
    assert_eq!(case.claim(claim.clone()).await, Claimed::Yes);

    assert_eq!(case.claim(claim).await, Claimed::Lost);
}

/// Two releases of a service side by side may have been given different leases.
pub(super) async fn respects_a_lease_longer_than_its_own(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.claimed(&grant).await;

    assert_eq!(case.claim(ClaimRefresh { lease: MINUTE, ..claim(&grant) }).await, Claimed::Lost);
}

pub(super) async fn is_lost_while_an_unanswered_request_may_travel(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.unanswered(&grant).await;
    case.advance(LEASE - 2 * MINUTE).await;

    assert_eq!(case.claim(claim(&grant)).await, Claimed::Lost);

    case.advance(2 * MINUTE).await;
    assert_eq!(case.claim(claim(&grant)).await, Claimed::Yes);
}

/// Whoever read the row before the pause began is told by the claim.
pub(super) async fn is_lost_while_the_company_pauses(case: Case) {
    let [given_back, silent] = ["given-back", "silent"].map(company);
    let (given_back, silent) = (case.authenticated(&given_back).await, case.authenticated(&silent).await);
    let attempt = case.claimed(&given_back).await;
    case.given_back(GiveBack { retry_in: LEASE + 30 * MINUTE, ..give_back(&given_back, attempt) }).await;
    let attempt = case.claimed(&silent).await;
    case.settled(SettleRefresh { retry_in: 30 * MINUTE, ..unanswered(&silent, attempt) }).await;
    case.advance(LEASE + 28 * MINUTE).await;

    for grant in [&given_back, &silent] {
        let before = case.load(&grant.key).await;
        assert_eq!(case.claim(claim(grant)).await, Claimed::Lost);
        assert_unchanged(&before, &case.load(&grant.key).await);
    }

    case.advance(3 * MINUTE).await;
    for grant in [&given_back, &silent] {
        assert_eq!(case.claim(claim(grant)).await, Claimed::Yes);
    }
}

pub(super) async fn a_pause_longer_than_any_was_set_by_a_wrong_clock(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    case.given_back(GiveBack { retry_in: HOUR, ..give_back(&grant, attempt) }).await;

    case.set_back(DAY).await;

    assert_eq!(case.claim(claim(&grant)).await, Claimed::Yes);
}

pub(super) async fn over_an_attempt_that_was_never_settled_marks_the_row_unanswered(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.claimed(&grant).await;
    case.advance(LEASE).await;

    let taken_over = case.claimed(&grant).await;

    let after = case.load(&acme()).await;
    assert!(after.opt_in.unanswered);
    assert!(matches!(after.opt_in.phase, Phase::Sent { attempt, .. } if attempt == taken_over));
}

pub(super) async fn inherits_unanswered_from_the_attempts_before(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.unanswered(&grant).await;
    case.advance(LEASE).await;

    case.claimed(&grant).await;

    assert!(case.load(&acme()).await.opt_in.unanswered);
}

pub(super) async fn after_a_give_back_succeeds_at_once_and_is_not_unanswered(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let first = case.claimed(&grant).await;
    case.given_back(give_back(&grant, first)).await;

    case.claimed(&grant).await;

    assert!(!case.load(&acme()).await.opt_in.unanswered);
}

pub(super) async fn of_another_revision_is_lost(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let rotated = committed(case.commit(commit(&grant, attempt, pair("2"))).await);
    let Revision { epoch, version } = rotated.opt_in.revision;

    for revision in [grant.opt_in.revision, Revision { epoch: epoch + 1, version }, Revision { epoch: 0, version }] {
        assert_eq!(case.claim(ClaimRefresh { revision, ..claim(&rotated) }).await, Claimed::Lost, "{revision}");
    }
    assert_unchanged(&rotated, &case.load(&acme()).await);
}

pub(super) async fn without_an_opt_in_is_lost(case: Case) {
    let never = case.load(&acme()).await;
    assert_eq!(case.claim(claim(&never)).await, Claimed::Lost);

    case.authenticated(&acme()).await;
    let removed = case.remove(&acme()).await;

    assert_eq!(case.claim(claim(&removed)).await, Claimed::Lost);
}

pub(super) async fn of_an_opt_in_that_ended_is_lost(case: Case) {
    let invalidated = case.invalidated(&company("invalidated")).await;
    let (lost, _) = case.rotation_lost(&company("lost")).await;

    for grant in [invalidated, lost] {
        assert!(matches!(grant.opt_in.standing, Standing::ReauthRequired(_)));
        assert_eq!(case.claim(claim(&grant)).await, Claimed::Lost, "{:?}", grant.opt_in.standing);
    }
}

pub(super) async fn a_reservation_hinders_no_claim(case: Case) {
    let grant = case.authenticated_with(&acme(), NewPair { access_token: None, ..pair("1") }).await;
    case.used(&[acme()]).await;
    assert_eq!(case.due(due()).await, [acme().company]);

    assert_eq!(case.claim(claim(&grant)).await, Claimed::Yes);
}

pub(super) async fn a_removal_at_the_same_moment_leaves_no_lease(case: Case) {
    for round in 0..20 {
        let grant = case.authenticated(&company(format!("company-{round}"))).await;
        let (claiming, removing) = (case.store.clone(), case.store.clone());
        let (claim, key) = (claim(&grant), grant.key.clone());

        let (claimed, _) = case
            .race(async move { claiming.claim_refresh(claim).await }, async move {
                removing.remove(&key, &actor("remover")).await
            })
            .await;

        let after = case.load(&grant.key).await;
        assert_eq!(after.opt_in.phase, Phase::Idle, "{claimed:?}");
        assert_eq!(after.opt_in.standing, Standing::Unauthenticated);
    }
}
