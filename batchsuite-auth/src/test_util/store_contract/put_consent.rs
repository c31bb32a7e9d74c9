//! Clauses of [`Store::put_consent`].

use super::case::*;

/// Whether each consent can still be used.
async fn usable(case: &Case, consents: &[NewConsent]) -> Vec<bool> {
    let mut usable = Vec::new();
    for consent in consents {
        usable.push(case.use_up(consent).await.is_some());
    }
    usable
}

pub(super) async fn writes_its_event_with_the_revision_of_the_company(case: Case) {
    let row = case.opted_in(&acme()).await;

    case.put(&consent(&acme(), &actor("bob"))).await;

    let event = case.latest(&acme()).await;
    assert_eq!((event.kind, event.actor, event.company), (EventKind::Started, Some(actor("bob")), acme().company));
    assert_eq!((event.environment, event.revision), (Environment::Cie, row.revision));
    assert_about(event.at, row.as_of);
}

pub(super) async fn can_be_used_until_its_lifetime_ends(case: Case) {
    let [in_time, late] = ["alice", "bob"].map(|name| consent(&acme(), &actor(name)));
    case.put(&in_time).await;
    case.put(&late).await;

    case.advance(LIFETIME - MINUTE).await;
    assert!(case.use_up(&in_time).await.is_some());
    case.advance(MINUTE + SECOND).await;
    assert_eq!(case.use_up(&late).await, None);
}

pub(super) async fn changes_no_row(case: Case) {
    let before = case.opted_in(&acme()).await;

    case.put(&consent(&acme(), &actor("bob"))).await;

    let after = Row { consents: Vec::new(), ..case.load(&acme()).await };
    assert_same(&before, &after);
    case.saved(replacing(&before)).await;
}

pub(super) async fn the_row_of_a_company_that_was_never_saved_has_number_0_and_is_listed(case: Case) {
    case.put(&consent(&acme(), &actor("alice"))).await;

    let row = case.load(&acme()).await;
    assert_same(&Row::empty(acme(), row.as_of), &Row { consents: Vec::new(), ..row.clone() });
    let [listed] = &case.listed(list()).await[..] else { panic!("the list does not show exactly one company") };
    assert_eq!(state(listed), state(&row));
    assert!(case.woken().await.is_empty());
    case.opted_in(&acme()).await;
}

pub(super) async fn the_oldest_of_a_company_is_dropped_at_its_cap(case: Case) {
    let consents = ["alice", "bob", "carol"].map(|name| consent(&acme(), &actor(name)));
    for consent in &consents {
        case.put_with(consent, ConsentCaps { per_company: 2, ..CAPS }).await;
        case.advance(SECOND).await;
    }

    let pending: Vec<_> = case.load(&acme()).await.consents.iter().map(|pending| pending.id).collect();
    assert_eq!(pending, [consents[1].consent.id, consents[2].consent.id]);
    assert!(case.find(&consents[0]).await.is_none(), "a dropped consent is unknown");
    assert_eq!(usable(&case, &consents).await, [false, true, true]);
}

pub(super) async fn the_oldest_of_an_actor_is_dropped_at_its_cap(case: Case) {
    let consents = ["one", "two", "three"].map(|name| consent(&company(name), &actor("alice")));
    for consent in &consents {
        case.put_with(consent, ConsentCaps { per_actor: 2, ..CAPS }).await;
        case.advance(SECOND).await;
    }

    assert_eq!(usable(&case, &consents).await, [false, true, true]);
}

pub(super) async fn a_cap_that_was_lowered_drops_every_older_one(case: Case) {
    let of_a_company = ["a", "b", "c", "d", "e"].map(|name| consent(&acme(), &actor(name)));
    let of_an_actor = ["1", "2", "3", "4", "5"].map(|name| consent(&company(name), &actor("alice")));
    for consents in [of_a_company, of_an_actor] {
        let (last, older) = consents.split_last().expect("five");
        for consent in older {
            case.put(consent).await;
            case.advance(SECOND).await;
        }

        case.put_with(last, ConsentCaps { per_company: 2, per_actor: 2 }).await;

        assert_eq!(usable(&case, &consents).await, [false, false, false, true, true]);
    }
}

pub(super) async fn the_caps_spare_other_companies_and_actors(case: Case) {
    let alone = consent(&company("other"), &actor("bob"));
    case.put(&alone).await;

    for _ in 0..3 {
        let caps = ConsentCaps { per_company: 1, per_actor: 1 };
        case.put_with(&consent(&acme(), &actor("alice")), caps).await;
        case.put_with(&consent(&elsewhere(&company("other")), &actor("carol")), caps).await;
        case.put_with(&consent(&elsewhere(&company("third")), &actor("bob")), caps).await;
    }

    assert!(case.use_up(&alone).await.is_some());
}

pub(super) async fn used_and_expired_ones_do_not_count_for_the_caps(case: Case) {
    let of = |lifetime| NewConsent { lifetime, ..consent(&acme(), &actor("alice")) };
    let [long, short, used, last] = [of(2 * LIFETIME), of(LIFETIME), of(2 * LIFETIME), of(LIFETIME)];
    let two = ConsentCaps { per_company: 2, per_actor: 2 };
    case.put_with(&long, two).await;
    case.put_with(&short, two).await;
    case.advance(LIFETIME + SECOND).await;
    case.put_with(&used, two).await;
    assert!(case.use_up(&used).await.is_some());

    case.put_with(&last, two).await;

    assert_eq!(usable(&case, &[long, short, used, last]).await, [true, false, false, true]);
}

pub(super) async fn the_caps_hold_when_50_are_put_at_once(case: Case) {
    let of_a_company: Vec<_> = (0..50).map(|number| consent(&acme(), &actor(format!("actor-{number}")))).collect();
    let of_an_actor: Vec<_> =
        (0..50).map(|number| consent(&company(format!("company-{number}")), &actor("alice"))).collect();
    for consents in [of_a_company, of_an_actor] {
        case.at_once(50, |store, number| {
            let consent = consents[number].clone();
            let started = started(&consent);
            async move { store.put_consent(consent, ConsentCaps { per_company: 5, per_actor: 5 }, started).await }
        })
        .await;

        assert_eq!(usable(&case, &consents).await.into_iter().filter(|usable| *usable).count(), 5);
    }
    assert_eq!(case.log(Environment::Cie).await.len(), 100, "each consent wrote its event");
}

pub(super) async fn one_that_is_put_again_replaces_itself(case: Case) {
    let [other, again] = ["alice", "bob"].map(|name| consent(&acme(), &actor(name)));
    let two = ConsentCaps { per_company: 2, ..CAPS };
    case.put_with(&other, two).await;
    case.advance(SECOND).await;

    for _ in 0..3 {
        case.put_with(&again, two).await;
        case.advance(SECOND).await;
    }

    assert_eq!(case.load(&acme()).await.consents.len(), 2);
    assert_eq!(usable(&case, &[other, again.clone(), again]).await, [true, true, false]);
}

pub(super) async fn a_cap_beyond_any_number_drops_none(case: Case) {
    let consents = ["alice", "alice", "bob"].map(|name| consent(&acme(), &actor(name)));
    for consent in &consents {
        case.put_with(consent, ConsentCaps { per_company: usize::MAX, per_actor: usize::MAX }).await;
    }

    assert_eq!(usable(&case, &consents).await, [true, true, true]);
}
