//! Clauses of [`Store::take_consent`](crate::store::Store::take_consent).

use super::case::*;
use crate::{
    events::EventKind,
    machine::ConsentRefusal,
    secret::BrowserSecret,
    store::{TakeConsent, TakenConsent},
};

pub(super) async fn gives_what_was_stored(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let TakenConsent::Taken(taken) = case.take(take(&consent)).await else { panic!("not taken") };

    assert_eq!((taken.id, &taken.key, &taken.actor), (consent.id, &consent.key, &consent.actor));
    assert_eq!((&taken.redirect_uri, &taken.client_id), (&consent.redirect_uri, &consent.client_id));
    assert_eq!((&taken.return_to, taken.removals), (&consent.return_to, 0));
    assert!(taken.verifier.zip(consent.verifier).is_some_and(|(taken, stored)| taken.matches(&stored)));
}

pub(super) async fn tells_when_it_was_taken(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    case.advance(MINUTE).await;
    let before = case.load(&acme()).await.as_of;

    let TakenConsent::Taken(taken) = case.take(take(&consent)).await else { panic!("not taken") };

    assert!(before <= taken.used_at && taken.used_at <= case.load(&acme()).await.as_of, "{:?}", taken.used_at);
}

pub(super) async fn of_50_at_once_exactly_one_gets_it(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let answers = case
        .at_once(50, |store, _| {
            let take = TakeConsent { event: Some((EventKind::Declined, None)), ..take(&consent) };
            async move { store.take_consent(take).await }
        })
        .await;

    let taken = answers.iter().filter(|answer| matches!(answer, TakenConsent::Taken(_))).count();
    let unknown = answers.iter().filter(|answer| matches!(answer, TakenConsent::Unknown)).count();
    assert_eq!((taken, unknown), (1, 49));
    assert_eq!(case.count(&acme(), EventKind::Declined).await, 1);
}

pub(super) async fn of_50_at_once_for_an_exchange_49_learn_that_it_is_used(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let answers = case
        .at_once(50, |store, _| {
            let take = take(&consent);
            async move { store.take_consent(take).await }
        })
        .await;

    let taken = answers.iter().filter(|answer| matches!(answer, TakenConsent::Taken(_))).count();
    let used = answers.iter().filter(|answer| matches!(answer, TakenConsent::Used(_))).count();
    assert_eq!((taken, used), (1, 49));
}

pub(super) async fn a_stranger_at_the_same_moment_ends_nothing(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let answers = case
        .at_once(50, |store, number| {
            let take = if number == 0 { take(&consent) } else { other_browser(&consent) };
            async move { Ok((number, store.take_consent(take).await?)) }
        })
        .await;

    for (number, answer) in answers {
        assert_eq!(matches!(answer, TakenConsent::Taken(_)), number == 0, "{answer:?}");
    }
}

pub(super) async fn a_taken_state_is_shown_as_used_to_its_person_and_browser(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    let TakenConsent::Taken(taken) = case.take(take(&consent)).await else { panic!("not taken") };
    let taken_at = case.load(&acme()).await.as_of;

    for _ in 0..2 {
        let TakenConsent::Used(used) = case.take(take(&consent)).await else { panic!("not known as used") };
        assert_eq!((used.id, &used.key, &used.return_to), (taken.id, &taken.key, &taken.return_to));
        assert_eq!(used.removals, 0);
        assert_about(used.used_at, taken_at);
    }
    assert_eq!(case.load(&acme()).await.consent_pending_until, None);
}

pub(super) async fn a_taken_state_is_unknown_to_anybody_else(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    case.take(take(&consent)).await;

    assert!(matches!(case.take(other_browser(&consent)).await, TakenConsent::Unknown));
    let other_actor = TakeConsent { actor: actor("mallory"), ..take(&consent) };
    assert!(matches!(case.take(other_actor).await, TakenConsent::Unknown));
    let elsewhere = TakeConsent { environment: elsewhere(&acme()).environment, ..take(&consent) };
    assert!(matches!(case.take(elsewhere).await, TakenConsent::Unknown));
}

pub(super) async fn a_taken_state_is_unknown_after_an_hour(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    case.take(take(&consent)).await;

    case.advance(58 * MINUTE).await;
    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Used(_)));
    case.advance(3 * MINUTE).await;
    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Unknown));
}

pub(super) async fn a_state_that_was_taken_with_an_event_is_unknown(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    case.take(TakeConsent { event: Some((EventKind::Declined, None)), ..take(&consent) }).await;

    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Unknown));
}

pub(super) async fn a_used_one_writes_no_event(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    case.take(take(&consent)).await;

    case.take(TakeConsent { event: Some((EventKind::Declined, None)), ..take(&consent) }).await;

    assert_eq!(case.kinds(&acme()).await, [EventKind::Started]);
}

pub(super) async fn a_state_that_was_never_stored_is_unknown(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let answer = case.take(TakeConsent { state: BrowserSecret::random().hash(), ..take(&consent) }).await;

    assert!(matches!(answer, TakenConsent::Unknown));
}

pub(super) async fn another_environment_knows_nothing_of_it(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let answer = case.take(TakeConsent { environment: elsewhere(&acme()).environment, ..take(&consent) }).await;

    assert!(matches!(answer, TakenConsent::Unknown));
    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Taken(_)));
}

pub(super) async fn another_browser_is_refused_and_consumes_nothing(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let answer = case.take(other_browser(&consent)).await;

    assert!(matches!(answer, TakenConsent::Refused(ConsentRefusal::OtherBrowser)));
    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Taken(_)));
}

pub(super) async fn another_actor_is_refused_and_consumes_nothing(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    let answer = case.take(TakeConsent { actor: actor("mallory"), ..take(&consent) }).await;

    assert!(matches!(answer, TakenConsent::Refused(ConsentRefusal::OtherActor)));
    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Taken(_)));
}

pub(super) async fn an_expired_one_is_refused_and_consumed(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    case.advance(LIFETIME).await;

    let answer = case.take(take(&consent)).await;

    assert!(matches!(answer, TakenConsent::Refused(ConsentRefusal::Expired)));
    assert!(matches!(case.take(take(&consent)).await, TakenConsent::Unknown));
}

pub(super) async fn an_expired_one_is_told_as_expired_also_after_others_began(case: Case) {
    let late = consent(&acme(), &actor("alice"));
    case.begin(&late).await;
    case.advance(LIFETIME + 20 * MINUTE).await;

    case.begin(&consent(&company("other"), &actor("bob"))).await;

    assert!(matches!(case.take(take(&late)).await, TakenConsent::Refused(ConsentRefusal::Expired)));
}

pub(super) async fn two_of_one_browser_are_taken_each_by_its_own_state(case: Case) {
    let one = consent(&acme(), &actor("alice"));
    let other = crate::store::NewConsent { browser: one.browser, ..consent(&company("other"), &actor("alice")) };
    case.begin(&one).await;
    case.begin(&other).await;

    for expected in [&other, &one] {
        let TakenConsent::Taken(taken) = case.take(take(expected)).await else { panic!("not taken") };
        assert_eq!(taken.id, expected.id);
    }
}

pub(super) async fn the_event_is_written_with_the_taking(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    let event = Some((EventKind::Declined, Some(evidence("access_denied"))));

    case.take(TakeConsent { event, ..take(&consent) }).await;

    let event = case.history(&acme()).await.pop().expect("an event");
    assert_eq!((event.kind, event.actor), (EventKind::Declined, Some(actor("alice"))));
    assert_eq!(event.evidence, Some(evidence("access_denied")));
}

pub(super) async fn no_event_is_written_without_the_taking(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    let event = Some((EventKind::Declined, None));

    case.take(TakeConsent { event: event.clone(), ..other_browser(&consent) }).await;
    case.advance(LIFETIME).await;
    case.take(TakeConsent { event: event.clone(), ..take(&consent) }).await;
    case.take(TakeConsent { event, ..take(&consent) }).await;

    assert_eq!(case.kinds(&acme()).await, [EventKind::Started]);
}

pub(super) async fn a_taking_without_an_event_writes_none(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    case.take(take(&consent)).await;

    assert_eq!(case.kinds(&acme()).await, [EventKind::Started]);
}

pub(super) async fn does_not_change_the_grant(case: Case) {
    let before = case.authenticated(&acme()).await;
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;

    case.take(TakeConsent { event: Some((EventKind::Failed, None)), ..take(&consent) }).await;

    assert_unchanged(&before, &case.load(&acme()).await);
}
