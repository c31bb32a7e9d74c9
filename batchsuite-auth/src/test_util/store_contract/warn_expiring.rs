//! Clauses of [`Store::warn_expiring`](crate::store::Store::warn_expiring).

use super::case::*;
use crate::{
    events::EventKind,
    ids::AttemptId,
    store::{NewPair, Store, WarnExpiring},
};

pub(super) async fn nothing_is_raised_before_the_widest_window(case: Case) {
    case.authenticated(&acme()).await;

    case.advance(REFRESH_LIFETIME - 15 * DAY).await;

    assert_eq!(case.warn(warnings()).await, 0);
}

pub(super) async fn each_window_and_the_end_are_raised_once(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME - 14 * DAY).await;
    let mut raised = Vec::new();
    // In steps of half a day from 14 days before the end to one day after it.
    for _ in 0..30 {
        raised.push(case.warn(warnings()).await);
        case.advance(DAY / 2).await;
    }

    assert_eq!(raised.iter().sum::<u64>(), 4);
    assert_eq!((raised[0], raised[14], raised[26], raised[28]), (1, 1, 1, 1), "{raised:?}");
    assert_eq!(
        case.kinds(&acme()).await[1..],
        [EventKind::ExpiringSoon, EventKind::ExpiringSoon, EventKind::ExpiringSoon, EventKind::Expired]
    );
}

pub(super) async fn of_several_windows_that_passed_only_the_smallest_is_raised(case: Case) {
    case.authenticated(&acme()).await;

    case.advance(REFRESH_LIFETIME - 12 * HOUR).await;

    assert_eq!((case.warn(warnings()).await, case.warn(warnings()).await), (1, 0));
    assert_eq!(case.count(&acme(), EventKind::ExpiringSoon).await, 1);
}

pub(super) async fn after_the_end_only_the_end_is_raised(case: Case) {
    case.authenticated(&acme()).await;

    case.advance(REFRESH_LIFETIME + DAY).await;

    assert_eq!((case.warn(warnings()).await, case.warn(warnings()).await), (1, 0));
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated, EventKind::Expired]);
}

pub(super) async fn the_end_is_raised_without_any_window(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME + DAY).await;

    assert_eq!(case.warn(WarnExpiring { windows: Vec::new(), ..warnings() }).await, 1);

    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated, EventKind::Expired]);
}

pub(super) async fn a_wider_window_that_is_set_later_is_not_raised_after_a_smaller_one(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME - 5 * DAY).await;
    assert_eq!(case.warn(warnings()).await, 1);

    assert_eq!(case.warn(WarnExpiring { windows: vec![10 * DAY], ..warnings() }).await, 0);
}

pub(super) async fn a_new_refresh_token_begins_anew(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME - 5 * DAY).await;
    assert_eq!(case.warn(warnings()).await, 1);

    committed(case.commit(commit(&grant, AttemptId::random(), pair("2"))).await);

    assert_eq!(case.warn(warnings()).await, 0);
    case.advance(REFRESH_LIFETIME - 10 * DAY).await;
    assert_eq!(case.warn(warnings()).await, 1);
}

pub(super) async fn a_refresh_token_that_stays_does_not_begin_anew(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME - 5 * DAY).await;
    assert_eq!(case.warn(warnings()).await, 1);

    let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("2") };
    committed(case.commit(commit(&grant, AttemptId::random(), lone)).await);

    assert_eq!(case.warn(warnings()).await, 0);
}

pub(super) async fn a_refresh_token_that_is_missing_or_has_no_known_end_raises_nothing(case: Case) {
    case.authenticated_with(&company("unknown"), NewPair { refresh_lifetime: None, ..pair("1") }).await;
    let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("1") };
    case.authenticated_with(&company("missing"), lone).await;

    case.advance(2 * REFRESH_LIFETIME).await;

    assert_eq!(case.warn(warnings()).await, 0);
}

pub(super) async fn what_is_not_authenticated_raises_nothing(case: Case) {
    case.authenticated(&company("removed")).await;
    case.remove(&company("removed")).await;
    case.invalidated(&company("invalidated")).await;
    case.rotation_lost(&company("lost")).await;

    case.advance(REFRESH_LIFETIME).await;

    assert_eq!(case.warn(warnings()).await, 0);
}

pub(super) async fn a_grant_of_another_client_or_environment_raises_nothing(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME).await;

    assert_eq!(case.warn(WarnExpiring { client_id: "another-client".to_owned(), ..warnings() }).await, 0);
    let elsewhere = WarnExpiring { environment: elsewhere(&acme()).environment, ..warnings() };
    assert_eq!(case.warn(elsewhere).await, 0);

    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated]);
}

pub(super) async fn at_most_as_many_as_asked_and_the_rest_next_time(case: Case) {
    for number in 0..5 {
        case.authenticated(&company(format!("company-{number}"))).await;
    }
    case.advance(REFRESH_LIFETIME).await;
    let few = || WarnExpiring { limit: 3, ..warnings() };

    let raised = [case.warn(few()).await, case.warn(few()).await, case.warn(few()).await];

    assert_eq!(raised, [3, 2, 0]);
}

pub(super) async fn of_20_at_once_each_warning_is_raised_once(case: Case) {
    for number in 0..10 {
        case.authenticated(&company(format!("company-{number}"))).await;
    }
    case.advance(REFRESH_LIFETIME - 10 * DAY).await;

    let raised = case.at_once(20, |store, _| async move { store.warn_expiring(warnings()).await }).await;

    // A store may skip what another is just raising, so one more look may find a rest.
    assert_eq!(raised.iter().sum::<u64>() + case.warn(warnings()).await, 10);
    for number in 0..10 {
        assert_eq!(case.count(&company(format!("company-{number}")), EventKind::ExpiringSoon).await, 1);
    }
}

pub(super) async fn does_not_change_the_grant(case: Case) {
    let before = case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME).await;

    case.warn(warnings()).await;

    assert_unchanged(&before, &case.load(&acme()).await);
}
