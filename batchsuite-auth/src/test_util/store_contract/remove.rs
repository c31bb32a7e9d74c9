//! Clauses of [`Store::remove`](crate::store::Store::remove).

use super::case::*;
use crate::{
    events::EventKind,
    machine::{OptIn, Standing},
    store::{Connect, Connected, NewPair, TakenConsent, Written},
};

pub(super) async fn erases_the_tokens_and_raises_the_epoch(case: Case) {
    let grant = case.authenticated(&acme()).await;

    let removed = case.remove(&acme()).await;

    assert!(removed.tokens.is_none());
    assert_eq!(removed.opt_in.standing, Standing::Unauthenticated);
    assert!(removed.opt_in.revision.epoch > grant.opt_in.revision.epoch);
    assert_eq!(removed.opt_in.removals, grant.opt_in.removals + 1);
    assert_unchanged(&removed, &case.load(&acme()).await);
}

pub(super) async fn an_epoch_never_comes_back(case: Case) {
    let mut epochs = Vec::new();
    for _ in 0..3 {
        epochs.push(case.authenticated(&acme()).await.opt_in.revision.epoch);
        epochs.push(case.remove(&acme()).await.opt_in.revision.epoch);
    }

    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
}

pub(super) async fn resets_everything_of_the_rotation(case: Case) {
    let (lost, attempt) = case.rotation_lost(&acme()).await;
    let suspect = committed(case.commit(commit(&lost, attempt, pair("2"))).await);
    case.unanswered(&suspect).await;

    let removed = case.remove(&acme()).await;

    let OptIn { revision, removals, .. } = removed.opt_in;
    assert_eq!(removed.opt_in, OptIn { revision, removals, ..OptIn::default() });
    assert_eq!((removed.failures, removed.retry_at, &removed.cause), (0, None, &None));
}

pub(super) async fn resets_the_recorded_cause(case: Case) {
    case.invalidated(&acme()).await;

    let removed = case.remove(&acme()).await;

    assert_eq!((removed.opt_in.standing, &removed.cause), (Standing::Unauthenticated, &None));
}

pub(super) async fn resets_warnings_and_reservations(case: Case) {
    let unusable = NewPair { access_token: None, ..pair("1") };
    case.authenticated_with(&acme(), unusable.clone()).await;
    case.advance(REFRESH_LIFETIME - 10 * DAY).await;
    case.used(&[acme()]).await;
    assert_eq!((case.warn(warnings()).await, case.due(due()).await.len()), (1, 1));
    let removals = case.remove(&acme()).await.opt_in.removals;

    let pair = NewPair { refresh_lifetime: Some(10 * DAY), ..unusable };
    stored(case.connect(Connect { removals, pair, ..connect(&acme()) }).await);
    case.used(&[acme()]).await;

    assert_eq!((case.warn(warnings()).await, case.due(due()).await.len()), (1, 1));
}

pub(super) async fn writes_removed_with_the_actor_and_keeps_the_history(case: Case) {
    case.authenticated(&acme()).await;

    let removed = case.remove(&acme()).await;

    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated, EventKind::Removed]);
    let event = case.history(&acme()).await.pop().expect("an event");
    assert_eq!((event.actor, event.revision), (Some(actor("remover")), removed.opt_in.revision));
    assert_eq!(event.id, removed.change);
}

pub(super) async fn drops_the_pending_consents_of_the_company_alone(case: Case) {
    let pending = [consent(&acme(), &actor("alice")), consent(&acme(), &actor("bob"))];
    let other = consent(&company("other"), &actor("alice"));
    for consent in pending.iter().chain([&other]) {
        case.begin(consent).await;
    }

    let removed = case.remove(&acme()).await;

    assert_eq!(removed.consent_pending_until, None);
    for consent in &pending {
        assert!(matches!(case.take(take(consent)).await, TakenConsent::Unknown));
    }
    assert!(matches!(case.take(take(&other)).await, TakenConsent::Taken(_)));
}

pub(super) async fn where_nothing_was_connected_it_still_ends_consents_under_way(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    let TakenConsent::Taken(taken) = case.take(take(&consent)).await else { panic!("not taken") };

    let removed = case.remove(&acme()).await;

    assert!(removed.opt_in.revision.epoch > 0);
    let late = Connect { consent: taken.id, removals: taken.removals, ..connect(&acme()) };
    assert!(matches!(case.connect(late).await, Connected::RemovedSince));
}

pub(super) async fn is_never_refused(case: Case) {
    let never = case.remove(&acme()).await;
    let again = case.remove(&acme()).await;

    assert_eq!((never.opt_in.revision.epoch, again.opt_in.revision.epoch), (1, 2));
    assert_eq!(case.kinds(&acme()).await, [EventKind::Removed, EventKind::Removed]);
}

pub(super) async fn ends_flights(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;

    let removed = case.remove(&acme()).await;

    assert_eq!(case.give_back(give_back(&grant, attempt)).await, Written::No);
    assert_eq!(case.settle(unanswered(&grant, attempt)).await, Written::No);
    assert_unchanged(&removed, &case.load(&acme()).await);
}

pub(super) async fn leaves_other_companies_and_environments_alone(case: Case) {
    let keys = [company("other"), elsewhere(&acme())];
    let before = [case.authenticated(&keys[0]).await, case.authenticated(&keys[1]).await];
    case.authenticated(&acme()).await;

    case.remove(&acme()).await;

    for (key, before) in keys.iter().zip(&before) {
        assert_unchanged(before, &case.load(key).await);
    }
}

pub(super) async fn of_50_at_once_each_raises_the_epoch(case: Case) {
    case.at_once(50, |store, _| async move { crate::store::Store::remove(&store, &acme(), &actor("remover")).await })
        .await;

    let opt_in = case.load(&acme()).await.opt_in;
    assert_eq!((opt_in.revision.epoch, opt_in.removals), (50, 50));
    assert_eq!(case.count(&acme(), EventKind::Removed).await, 50);
}
