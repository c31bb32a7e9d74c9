//! Clauses of [`Store::mark_unanswered`](crate::store::Store::mark_unanswered).

use super::case::*;
use crate::{
    config::Environment,
    events::EventKind,
    machine::{RecordedCause, Standing},
};

pub(super) async fn marks_every_authenticated_grant_and_counts_them(case: Case) {
    let keys = ["one", "two", "three"].map(company);
    for key in &keys {
        case.authenticated(key).await;
    }

    assert_eq!(done(case.store.mark_unanswered(Environment::Cie).await), 3);

    for key in &keys {
        assert!(case.load(key).await.opt_in.unanswered);
    }
}

pub(super) async fn spares_what_is_not_authenticated_and_the_other_environment(case: Case) {
    case.begin(&consent(&company("began"), &actor("alice"))).await;
    case.invalidated(&company("ended")).await;
    case.authenticated(&company("removed")).await;
    case.remove(&company("removed")).await;
    let other = case.authenticated(&elsewhere(&acme())).await;

    assert_eq!(done(case.store.mark_unanswered(Environment::Cie).await), 0);

    for name in ["began", "ended", "removed"] {
        assert!(!case.load(&company(name)).await.opt_in.unanswered, "{name}");
    }
    assert_unchanged(&other, &case.load(&other.key).await);
}

pub(super) async fn afterwards_a_refusal_is_a_lost_rotation(case: Case) {
    let grant = case.authenticated(&acme()).await;
    done(case.store.mark_unanswered(Environment::Cie).await);
    let attempt = case.claimed(&grant).await;

    case.settled(refused(&grant, attempt)).await;

    let standing = case.load(&acme()).await.opt_in.standing;
    assert_eq!(standing, Standing::ReauthRequired(RecordedCause::RotationLost));
}

pub(super) async fn changes_neither_tokens_nor_a_flight_under_way(case: Case) {
    let grant = case.authenticated(&acme()).await;
    let attempt = case.claimed(&grant).await;
    let before = case.load(&acme()).await;

    done(case.store.mark_unanswered(Environment::Cie).await);

    let after = case.load(&acme()).await;
    assert_eq!((after.opt_in.phase, after.opt_in.revision), (before.opt_in.phase, before.opt_in.revision));
    assert_eq!(secrets(&after), secrets(&before));
    assert_holds(&committed(case.commit(commit(&grant, attempt, pair("2"))).await), &pair("2"));
}

pub(super) async fn writes_one_event_for_all(case: Case) {
    case.authenticated(&company("one")).await;
    case.authenticated(&company("two")).await;

    done(case.store.mark_unanswered(Environment::Cie).await);

    let events = done(case.store.events(events(Environment::Cie)).await).items;
    let restored: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Restored).collect();
    assert!(matches!(restored[..], [event] if event.company.is_none()), "{restored:?}");
}

pub(super) async fn a_repetition_is_safe(case: Case) {
    case.authenticated(&acme()).await;
    done(case.store.mark_unanswered(Environment::Cie).await);
    let before = case.load(&acme()).await;

    done(case.store.mark_unanswered(Environment::Cie).await);

    assert_unchanged(&before, &case.load(&acme()).await);
}
