//! Clauses of [`Store::load`].

use super::case::*;

pub(super) async fn a_row_that_was_never_saved_is_empty(case: Case) {
    for key in [acme(), RowKey::client(Environment::Cie)] {
        let row = case.load(&key).await;
        assert_same(&row, &Row::empty(key, row.as_of));
    }
}

pub(super) async fn shows_every_save_that_returned_before(case: Case) {
    for _ in 0..20 {
        let swap = replacing(&case.load(&acme()).await);
        let revision = swap.revision;

        let (number, change, at) = yes(case.save(swap).await);

        let row = case.load(&acme()).await;
        assert_about(at, row.as_of);
        assert_eq!((row.number, row.change, row.revision), (number, change, revision));
        assert_eq!(secrets(&row), Some(secrets_of(&pair(revision))));
    }
}

pub(super) async fn tells_the_time_of_the_reading(case: Case) {
    let before = case.load(&acme()).await.as_of;

    case.advance(DAY).await;

    assert_about(case.load(&acme()).await.as_of, later(before, DAY));
}

pub(super) async fn shows_the_pending_consents_the_oldest_first(case: Case) {
    let consents = ["alice", "bob", "carol"].map(|name| consent(&acme(), &actor(name)));
    for (age, new) in consents.iter().enumerate() {
        let lifetime = LIFETIME * (3 - u32::try_from(age).expect("a small number"));
        let removals = u64::try_from(age).expect("a small number");
        let consent = Consent { removals, ..new.consent.clone() };
        case.put(&NewConsent { lifetime, consent, ..new.clone() }).await;
        case.advance(SECOND).await;
    }

    let row = case.load(&acme()).await;

    let shown: Vec<_> = row.consents.iter().map(|pending| (pending.id, pending.removals)).collect();
    assert_eq!(shown, [0, 1, 2].map(|age| (consents[age].consent.id, age as u64)));
    for (pending, lifetimes) in row.consents.iter().zip([3, 2, 1]) {
        assert_about(pending.expires_at, later(row.as_of, lifetimes * LIFETIME));
    }
}

pub(super) async fn shows_no_consent_that_was_used_or_has_expired(case: Case) {
    let [used, expired, left] = ["alice", "bob", "carol"].map(|name| consent(&acme(), &actor(name)));
    case.put(&used).await;
    case.put(&expired).await;
    case.put(&NewConsent { lifetime: 2 * LIFETIME, ..left.clone() }).await;

    case.use_up(&used).await.expect("the consent is used");
    case.advance(LIFETIME + SECOND).await;

    let shown: Vec<_> = case.load(&acme()).await.consents.iter().map(|pending| pending.id).collect();
    assert_eq!(shown, [left.consent.id]);
}

pub(super) async fn companies_and_environments_are_apart(case: Case) {
    let here = case.opted_in(&acme()).await;
    case.put(&consent(&acme(), &actor("alice"))).await;

    for key in [company("other"), company("ACME"), company("acme "), elsewhere(&acme())] {
        let row = case.load(&key).await;
        assert_same(&row, &Row::empty(key.clone(), row.as_of));
        assert!(case.history(&key).await.is_empty());
        assert!(case.opted_in(&key).await.consents.is_empty());
    }

    assert_eq!(secrets(&case.load(&acme()).await), secrets(&here));
    assert_eq!(case.load(&acme()).await.number, here.number);
}
