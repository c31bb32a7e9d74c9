//! Clauses of [`Store::begin_consent`](crate::store::Store::begin_consent).

use super::case::*;
use crate::{
    events::EventKind,
    machine::ConsentRefusal,
    store::{NewConsent, TakenConsent},
};

pub(super) async fn writes_started_with_company_and_actor(case: Case) {
    let grant = case.authenticated(&acme()).await;

    case.begin(&consent(&acme(), &actor("bob"))).await;

    let event = case.history(&acme()).await.pop().expect("an event");
    assert_eq!(
        (event.kind, event.actor, event.company),
        (EventKind::Started, Some(actor("bob")), Some(acme().company))
    );
    assert_eq!(event.revision, grant.opt_in.revision);
    assert_about(event.at, case.load(&acme()).await.as_of);
}

pub(super) async fn can_be_taken_until_its_lifetime_ends(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    case.advance(LIFETIME - 2 * MINUTE).await;

    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Taken(_)));
}

pub(super) async fn cannot_be_taken_after_its_lifetime(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    case.advance(LIFETIME).await;

    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Refused(ConsentRefusal::Expired)));
}

pub(super) async fn remembers_the_present_count_of_removals(case: Case) {
    case.remove(&acme()).await;
    let removals = case.remove(&acme()).await.opt_in.removals;
    let consent = consent(&acme(), &actor("alice"));

    case.begin(&consent).await;

    let TakenConsent::Taken(taken) = case.take(take(&consent)).await else { panic!("not taken") };
    assert_eq!((taken.removals, removals), (2, 2));
}

pub(super) async fn the_oldest_of_a_company_goes_at_its_cap(case: Case) {
    let of = |name| NewConsent { per_company: 2, ..consent(&acme(), &actor(name)) };
    let [first, second, third] = [of("alice"), of("bob"), of("carol")];

    for consent in [&first, &second, &third] {
        case.begin(consent).await;
    }

    assert!(matches!(case.take(take(&first)).await, TakenConsent::Unknown));
    assert!(matches!(case.take(take(&second)).await, TakenConsent::Taken(_)));
    assert!(matches!(case.take(take(&third)).await, TakenConsent::Taken(_)));
}

pub(super) async fn the_oldest_of_an_actor_goes_at_its_cap(case: Case) {
    let of = |name| NewConsent { per_actor: 2, ..consent(&company(name), &actor("alice")) };
    let [first, second, third] = [of("one"), of("two"), of("three")];

    for consent in [&first, &second, &third] {
        case.begin(consent).await;
    }

    assert!(matches!(case.take(take(&first)).await, TakenConsent::Unknown));
    assert!(matches!(case.take(take(&second)).await, TakenConsent::Taken(_)));
    assert!(matches!(case.take(take(&third)).await, TakenConsent::Taken(_)));
}

pub(super) async fn the_caps_spare_other_companies_and_actors(case: Case) {
    let alone = consent(&company("other"), &actor("bob"));
    case.begin(&alone).await;

    for _ in 0..3 {
        case.begin(&NewConsent { per_company: 1, per_actor: 1, ..consent(&acme(), &actor("alice")) }).await;
    }

    assert!(matches!(case.take(take(&alone)).await, TakenConsent::Taken(_)));
}

pub(super) async fn expired_and_taken_ones_do_not_count_for_the_caps(case: Case) {
    let of = |lifetime| NewConsent { per_company: 2, lifetime, ..consent(&acme(), &actor("alice")) };
    let [long, short, taken, last] = [of(2 * LIFETIME), of(LIFETIME), of(2 * LIFETIME), of(LIFETIME)];
    case.begin(&long).await;
    case.begin(&short).await;
    case.advance(LIFETIME).await;
    case.begin(&taken).await;
    assert!(matches!(case.take(take(&taken)).await, TakenConsent::Taken(_)));

    case.begin(&last).await;

    assert!(matches!(case.take(take(&long)).await, TakenConsent::Taken(_)));
    assert!(matches!(case.take(take(&last)).await, TakenConsent::Taken(_)));
}

pub(super) async fn the_caps_hold_when_50_begin_at_once(case: Case) {
    let consents: Vec<_> =
        (0..50).map(|_| NewConsent { per_company: 5, per_actor: 5, ..consent(&acme(), &actor("alice")) }).collect();

    case.at_once(50, |store, number| {
        let consent = consents[number].clone();
        async move { store.begin_consent(consent).await }
    })
    .await;

    let mut taken = 0;
    for consent in &consents {
        taken += usize::from(matches!(case.take(take(consent)).await, TakenConsent::Taken(_)));
    }
    assert_eq!(taken, 5);
}

pub(super) async fn does_not_change_the_grant(case: Case) {
    let before = case.authenticated(&acme()).await;

    case.begin(&consent(&acme(), &actor("bob"))).await;

    assert_unchanged(&before, &case.load(&acme()).await);
}

pub(super) async fn shows_until_when_a_consent_is_pending(case: Case) {
    let [short, long] =
        [1, 2].map(|times| NewConsent { lifetime: times * LIFETIME, ..consent(&acme(), &actor("alice")) });
    case.begin(&long).await;

    case.begin(&short).await;

    let grant = case.load(&acme()).await;
    assert_about(grant.consent_pending_until, grant.as_of + 2 * LIFETIME);
    assert!(matches!(case.take(take(&long)).await, TakenConsent::Taken(_)));
    assert_about(case.load(&acme()).await.consent_pending_until, grant.as_of + LIFETIME);
    case.advance(LIFETIME).await;
    assert_eq!(case.load(&acme()).await.consent_pending_until, None);
}
