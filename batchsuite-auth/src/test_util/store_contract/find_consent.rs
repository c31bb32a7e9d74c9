//! Clauses of [`Store::find_consent`].

use super::case::*;

/// The verifier, if it is readable.
#[track_caller]
fn verifier(found: &FoundConsent) -> Option<&str> {
    match &found.verifier {
        Verifier::None => None,
        Verifier::Readable(verifier) => Some(verifier.expose_secret()),
        Verifier::Unreadable(error) => panic!("unreadable: {error}"),
    }
}

pub(super) async fn gives_what_was_put_under_each_state(case: Case) {
    let whole = consent(&acme(), &actor("Zoë \"the boss\" 漢字"));
    let mut plain = NewConsent { verifier: None, ..consent(&acme(), &actor("bob")) };
    plain.consent = Consent { return_to: None, removals: 0, ..plain.consent };
    for put in [&whole, &plain] {
        case.put(put).await;
    }

    for put in [whole, plain] {
        let found = case.find(&put).await.expect("the consent is there");

        assert_eq!((&found.consent, found.used), (&put.consent, None));
        assert_eq!(verifier(&found), put.verifier.as_ref().map(PkceVerifier::expose_secret));
        assert_about(found.expires_at, later(found.as_of, LIFETIME));
        assert_about(found.as_of, case.load(&acme()).await.as_of);
    }
}

pub(super) async fn a_state_that_was_never_put_in_this_environment_is_unknown(case: Case) {
    let put = consent(&acme(), &actor("alice"));
    case.put(&put).await;

    assert!(case.find(&consent(&acme(), &actor("alice"))).await.is_none());
    assert!(done(case.store.find_consent(Environment::Production, &put.state).await).is_none());
}

pub(super) async fn a_used_one_is_found_for_an_hour_without_its_verifier(case: Case) {
    let put = consent(&acme(), &actor("alice"));
    case.put(&put).await;
    let at = case.use_up(&put).await.expect("the consent is used");

    for wait in [0, 59].map(|minutes| minutes * MINUTE) {
        case.advance(wait).await;
        let found = case.find(&put).await.expect("the consent is there");
        assert_eq!((&found.consent, verifier(&found)), (&put.consent, None));
        assert_about(found.used.map(|used| used.at), at);
    }
    case.advance(LIFETIME + 2 * MINUTE).await;
    assert!(case.find(&put).await.is_none());
}

pub(super) async fn the_hour_of_a_used_one_begins_with_its_use(case: Case) {
    let long = NewConsent { lifetime: 12 * LIFETIME, ..consent(&acme(), &actor("alice")) };
    case.put(&long).await;
    case.use_up(&long).await.expect("the consent is used");

    case.advance(61 * MINUTE).await;

    assert!(case.find(&long).await.is_none());
}

pub(super) async fn an_expired_one_is_found_for_an_hour_without_its_verifier(case: Case) {
    let put = consent(&acme(), &actor("alice"));
    case.put(&put).await;

    for wait in [LIFETIME + SECOND, 59 * MINUTE] {
        case.advance(wait).await;
        let found = case.find(&put).await.expect("the consent is there");
        assert_eq!((&found.consent, found.used, verifier(&found)), (&put.consent, None, None));
        assert!(found.expires_at <= found.as_of);
    }
    case.advance(2 * MINUTE).await;
    assert!(case.find(&put).await.is_none());
}

pub(super) async fn an_old_one_stays_found_for_its_hour_when_others_are_put(case: Case) {
    let [used, expired] = ["alice", "bob"].map(|name| consent(&acme(), &actor(name)));
    case.put(&used).await;
    case.put(&expired).await;
    case.use_up(&used).await.expect("the consent is used");
    case.advance(LIFETIME + SECOND).await;

    for _ in 0..3 {
        case.put_with(&consent(&acme(), &actor("bob")), ConsentCaps { per_company: 1, per_actor: 1 }).await;
    }

    assert!(case.find(&used).await.is_some_and(|found| found.used.is_some()));
    assert!(case.find(&expired).await.is_some());
}

pub(super) async fn tells_whether_its_use_wrote_an_event(case: Case) {
    for with_event in [true, false] {
        let put = consent(&acme(), &actor("alice"));
        case.put(&put).await;
        let event = with_event.then(|| NewEvent { company: acme().company, event: event(EventKind::Declined) });
        let used = case.store.use_consent(Environment::Cie, put.consent.id, event).await;
        assert!(done(used).is_some());

        let found = case.find(&put).await.expect("the consent is there");

        assert_eq!(found.used.map(|used| used.with_event), Some(with_event));
    }
}
