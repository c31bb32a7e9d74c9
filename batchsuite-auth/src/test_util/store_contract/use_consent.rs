//! Clauses of [`Store::use_consent`].

use super::case::*;

/// Uses a consent as the callback of a person who declined.
async fn decline(case: &Case, consent: &NewConsent) -> Option<Timestamp> {
    done(case.store.use_consent(Environment::Cie, consent.consent.id, Some(declined("alice"))).await)
}

fn declined(name: &str) -> NewEvent {
    let event = EventContent { actor: Some(actor(name)), evidence: Some(evidence()), ..event(EventKind::Declined) };
    NewEvent { company: acme().company, event }
}

pub(super) async fn of_50_at_once_exactly_one_uses_it_and_writes_its_event(case: Case) {
    for with_event in [true, false] {
        let put = consent(&acme(), &actor("alice"));
        case.put(&put).await;
        let before = case.history(&acme()).await.len();

        let answers = case
            .at_once(50, |store, number| {
                let event = with_event.then(|| declined(&number.to_string()));
                async move { store.use_consent(Environment::Cie, put.consent.id, event).await }
            })
            .await;

        let winners = (0..).zip(answers).filter(|(_, used)| used.is_some()).map(|(number, _): (u32, _)| number);
        let winners: Vec<_> = winners.map(|number| actor(number.to_string())).collect();
        let events = case.history(&acme()).await.split_off(before);
        let actors: Vec<_> = events.into_iter().flat_map(|event| event.actor).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(actors, if with_event { winners } else { vec![] });
    }
}

pub(super) async fn tells_the_time_and_writes_the_event_with_it(case: Case) {
    let row = case.opted_in(&acme()).await;
    let put = consent(&acme(), &actor("alice"));
    case.put(&put).await;
    let declined = declined("alice");

    let used = case.store.use_consent(Environment::Cie, put.consent.id, Some(declined.clone())).await;

    let event = case.latest(&acme()).await;
    assert_eq!((event.kind, event.company, event.revision), (EventKind::Declined, acme().company, row.revision));
    assert_eq!((event.actor, event.evidence), (declined.event.actor, declined.event.evidence));
    assert_about(event.at, case.load(&acme()).await.as_of);
    assert_about(done(used), event.at);
}

pub(super) async fn a_used_an_expired_and_a_dropped_one_are_refused_without_an_event(case: Case) {
    let [used, expired, dropped] = ["alice", "bob", "carol"].map(|name| consent(&acme(), &actor(name)));
    case.put(&used).await;
    assert!(case.use_up(&used).await.is_some());
    case.put(&expired).await;
    case.advance(LIFETIME + SECOND).await;
    case.put(&dropped).await;
    case.advance(SECOND).await;
    case.put_with(&consent(&acme(), &actor("dan")), ConsentCaps { per_company: 1, ..CAPS }).await;
    let before = case.log(Environment::Cie).await;

    for refused in [used, expired, dropped] {
        assert_eq!(decline(&case, &refused).await, None);
    }

    assert_eq!(case.log(Environment::Cie).await, before);
}

pub(super) async fn one_that_is_unknown_or_of_the_other_environment_is_refused_without_an_event(case: Case) {
    let (unknown, other) = (consent(&acme(), &actor("alice")), consent(&elsewhere(&acme()), &actor("alice")));
    case.put(&other).await;

    for refused in [unknown, other.clone()] {
        assert_eq!(decline(&case, &refused).await, None);
    }

    assert!(case.log(Environment::Cie).await.is_empty());
    assert!(case.use_up(&other).await.is_some(), "the consent is still there");
}

pub(super) async fn changes_no_row_and_no_other_consent(case: Case) {
    let [used, other] = ["alice", "bob"].map(|name| consent(&acme(), &actor(name)));
    case.opted_in(&acme()).await;
    case.put(&used).await;
    case.put(&other).await;
    let before = case.load(&acme()).await;

    assert!(decline(&case, &used).await.is_some());

    let after = case.load(&acme()).await;
    assert_eq!(after.consents, before.consents[1..]);
    assert_same(&before, &Row { consents: before.consents.clone(), ..after });
    assert!(case.use_up(&other).await.is_some());
}

/// A second use shows which: afterwards, a first use still in progress is refused.
pub(super) async fn one_that_was_cut_off_wrote_its_event_or_left_the_consent_to_the_next(case: Case) {
    for round in 0..30 {
        let put = consent(&acme(), &actor("alice"));
        case.put(&put).await;
        let before = case.history(&acme()).await.len();
        let cut = case.store.use_consent(Environment::Cie, put.consent.id, Some(declined("alice")));
        polled(cut, 1 + round % 15).await;

        let happened = case.use_up(&put).await.is_none();

        let events = case.history(&acme()).await.len() - before;
        assert_eq!(events, usize::from(happened));
        assert_eq!(case.find(&put).await.and_then(|found| found.used).map(|used| used.with_event), Some(happened));
    }
}
