//! Clauses of [`Store::due`](crate::store::Store::due) and [`Store::record_use`](crate::store::Store::record_use).

use super::case::*;
use crate::{
    ids::{AttemptId, CompanyId},
    machine::Phase,
    store::{DueQuery, GiveBack, NewPair, SettleRefresh, Store},
};

fn names(companies: Vec<CompanyId>) -> Vec<String> {
    companies.iter().map(ToString::to_string).collect()
}

pub(super) async fn a_used_company_is_due_in_the_early_window(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(EARLY - 10 * MINUTE).await;
    case.used(&[acme()]).await;
    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.advance(11 * MINUTE).await;

    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn a_due_company_comes_as_load_shows_it(case: Case) {
    // One of each kind: rotated, with a refresh token that came with an earlier version, without an access token.
    let keys = ["first", "rotated", "kept", "unusable"].map(company);
    let mut grants = Vec::new();
    for key in &keys {
        grants.push(case.authenticated(key).await);
    }
    let kept = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("2") };
    let unusable = NewPair { access_token: None, ..pair("2") };
    for (grant, pair) in grants[1..].iter().zip([pair("2"), kept, unusable]) {
        let attempt = case.claimed(grant).await;
        case.commit(commit(grant, attempt, pair)).await;
    }
    case.advance(2 * ACCESS_LIFETIME).await;
    case.used(&keys).await;
    case.begin(&consent(&keys[0], &actor("alice"))).await;

    let due = case.due_grants(due()).await;

    assert_eq!(due.len(), keys.len());
    for due in due {
        let loaded = case.load(&due.key).await;
        assert!(secrets(&due).is_some());
        assert_unchanged(&loaded, &due);
        assert_eq!(due.consent_pending_until, loaded.consent_pending_until);
        assert_about(due.as_of, loaded.as_of);
    }
}

pub(super) async fn the_marks_of_a_due_company_come_with_it(case: Case) {
    let [silent, abandoned] = ["silent", "abandoned"].map(company);
    let grants = [case.authenticated(&silent).await, case.authenticated(&abandoned).await];
    let attempt = case.claimed(&grants[0]).await;
    case.settled(SettleRefresh { retry_in: MINUTE, ..unanswered(&grants[0], attempt) }).await;
    let attempt = case.claimed(&grants[1]).await;
    case.advance(ACCESS_LIFETIME).await;
    case.used(&[silent.clone(), abandoned]).await;

    let due = case.due_grants(due()).await;

    assert_eq!(due.len(), 2);
    for due in due {
        assert_unchanged(&case.load(&due.key).await, &due);
        if due.key == silent {
            assert!(due.opt_in.unanswered && due.failures == 1 && due.retry_at.is_some());
        } else {
            assert!(matches!(due.opt_in.phase, Phase::Sent { attempt: holder, .. } if holder == attempt));
        }
    }
}

pub(super) async fn a_reservation_writes_no_event_and_changes_no_grant(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(ACCESS_LIFETIME).await;
    case.used(&[acme()]).await;
    let (before, events) = (case.load(&acme()).await, case.kinds(&acme()).await);

    assert_eq!(names(case.due(due()).await), ["acme"]);

    assert_unchanged(&before, &case.load(&acme()).await);
    assert_eq!(case.kinds(&acme()).await, events);
}

/// Never one rotation with the tokens of another. Every pair is due at once, and its commit ends a reservation: so it is
/// handed out here or by the next call, and by one of them alone.
pub(super) async fn of_a_rotation_at_the_same_moment_each_comes_whole(case: Case) {
    let unusable = |name: &str| NewPair { access_token: None, ..pair(name) };
    let keys: Vec<_> = (0..8).map(|number| company(format!("company-{number}"))).collect();
    for key in &keys {
        case.authenticated_with(key, unusable("1")).await;
    }
    case.used(&keys).await;

    for version in 2..12 {
        let mut grants = Vec::new();
        for key in &keys {
            grants.push(case.load(key).await);
        }
        let answers = case
            .at_once(2 * keys.len(), |store, number| {
                let grant = grants.get(number).cloned();
                let next = unusable(&version.to_string());
                async move {
                    let Some(grant) = grant else { return store.due(due()).await };
                    store.commit_refresh(commit(&grant, AttemptId::random(), next)).await.map(|_| Vec::new())
                }
            })
            .await;

        let mut rotated = Vec::new();
        for grant in answers.into_iter().flatten().chain(case.due_grants(due()).await) {
            let revision = grant.opt_in.revision;
            assert_holds(&grant, &unusable(&revision.version.to_string()));
            rotated.extend((revision.version == version).then_some(grant.key));
        }
        rotated.sort_unstable();
        assert_eq!(rotated, keys);
    }
}

pub(super) async fn a_used_company_whose_access_token_ended_is_due(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(2 * ACCESS_LIFETIME).await;
    case.used(&[acme()]).await;

    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn a_used_company_without_a_usable_access_token_is_due_at_once(case: Case) {
    case.authenticated_with(&acme(), NewPair { access_token: None, ..pair("1") }).await;
    case.used(&[acme()]).await;

    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn a_used_company_whose_pair_was_dated_far_ahead_is_due(case: Case) {
    let keys = ["usable", "unusable", "idle"].map(company);
    let [usable, unusable, idle] = &keys;
    case.authenticated(usable).await;
    case.authenticated_with(unusable, NewPair { access_token: None, ..pair("1") }).await;
    case.authenticated(idle).await;
    // Clocks that agree as well as clocks do: the pair counts.
    case.set_back(3 * MINUTE).await;
    case.used(&keys[..1]).await;
    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.set_back(5 * HOUR).await;
    case.used(&keys[..2]).await;

    let mut due = names(case.due(due()).await);
    due.sort_unstable();
    assert_eq!(due, ["unusable", "usable"]);
}

pub(super) async fn a_company_that_was_not_used_lately_is_not_due_for_its_access_token(case: Case) {
    for name in ["long-ago", "never"] {
        case.authenticated(&company(name)).await;
    }
    case.used(&[company("long-ago")]).await;

    case.advance(EARLY + MINUTE).await;

    assert_eq!(names(case.due(due()).await), [""; 0]);
}

pub(super) async fn an_unused_company_is_due_before_its_refresh_token_ends(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME - 11 * DAY).await;
    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.advance(DAY + HOUR).await;

    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn a_refresh_token_is_not_renewed_before_three_quarters_of_its_life(case: Case) {
    case.authenticated_with(&acme(), NewPair { refresh_lifetime: Some(8 * DAY), ..pair("1") }).await;
    case.advance(5 * DAY).await;
    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.advance(DAY + HOUR).await;

    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn a_refresh_token_of_unknown_end_is_due_after_the_given_time(case: Case) {
    case.authenticated_with(&acme(), NewPair { refresh_lifetime: None, ..pair("1") }).await;
    case.advance(9 * DAY).await;
    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.advance(DAY + HOUR).await;

    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn what_cannot_be_refreshed_is_not_due(case: Case) {
    let keys = ["ended", "without-refresh-token", "invalidated", "lost", "removed"].map(company);
    let [ended, without, invalidated, lost, removed] = &keys;
    let short = NewPair { refresh_lifetime: Some(HOUR), ..pair("1") };
    case.authenticated_with(ended, short).await;
    case.authenticated_with(without, NewPair { refresh_token: None, refresh_lifetime: None, ..pair("1") }).await;
    case.invalidated(invalidated).await;
    case.rotation_lost(lost).await;
    case.authenticated(removed).await;
    case.remove(removed).await;
    case.advance(ACCESS_LIFETIME).await;

    case.used(&keys).await;

    assert_eq!(names(case.due(due()).await), [""; 0]);
}

pub(super) async fn a_grant_of_another_client_is_not_due(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(ACCESS_LIFETIME).await;
    case.used(&[acme()]).await;

    assert_eq!(names(case.due(DueQuery { client_id: "another-client".to_owned(), ..due() }).await), [""; 0]);
}

pub(super) async fn the_other_environment_is_apart(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(ACCESS_LIFETIME).await;
    case.used(&[acme()]).await;

    let elsewhere = DueQuery { environment: elsewhere(&acme()).environment, ..due() };

    assert_eq!(names(case.due(elsewhere).await), [""; 0]);
}

pub(super) async fn a_company_under_lease_is_not_due(case: Case) {
    let [sent, travelling] = ["sent", "travelling"].map(company);
    let grants = [case.authenticated(&sent).await, case.authenticated(&travelling).await];
    case.advance(ACCESS_LIFETIME).await;
    case.claimed(&grants[0]).await;
    case.unanswered(&grants[1]).await;
    case.used(&[sent, travelling]).await;
    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.advance(LEASE + MINUTE).await;

    let mut due = names(case.due(due()).await);
    due.sort_unstable();
    assert_eq!(due, ["sent", "travelling"]);
}

pub(super) async fn a_company_that_pauses_is_not_due(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.advance(ACCESS_LIFETIME).await;
    let attempt = case.claimed(&grant).await;
    let paused = GiveBack { retry_in: 30 * MINUTE, ..give_back(&grant, attempt) };
    case.given_back(paused).await;
    case.used(&[acme()]).await;
    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.advance(31 * MINUTE).await;

    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn nobody_else_gets_a_company_while_it_is_reserved(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(EARLY + MINUTE).await;
    case.used(&[acme()]).await;
    assert_eq!(names(case.due(due()).await), ["acme"]);

    assert_eq!(names(case.due(due()).await), [""; 0]);

    case.advance(due().reserve_for + MINUTE).await;
    assert_eq!(names(case.due(due()).await), ["acme"]);
}

pub(super) async fn of_20_keepers_at_once_no_two_get_the_same_company(case: Case) {
    let keys: Vec<_> = (0..60).map(|number| company(format!("company-{number:02}"))).collect();
    for key in &keys {
        case.authenticated(key).await;
    }
    case.advance(EARLY + MINUTE).await;
    case.used(&keys).await;

    let answers = case.at_once(20, |store, _| async move { store.due(DueQuery { limit: 3, ..due() }).await }).await;

    // A store may skip what another keeper is just taking, so one more look may find a rest.
    let mut handed_out: Vec<_> = answers.into_iter().flatten().map(|grant| grant.key.company).collect();
    handed_out.extend(case.due(due()).await);
    handed_out.sort_unstable();
    assert_eq!(handed_out, keys.into_iter().map(|key| key.company).collect::<Vec<_>>());
}

pub(super) async fn the_longest_due_come_first_at_most_as_many_as_asked(case: Case) {
    let keys = ["third", "first", "second"].map(company);
    let [third, first, second] = &keys;
    for key in [first, second, third] {
        case.authenticated(key).await;
        case.advance(10 * MINUTE).await;
    }
    case.advance(EARLY).await;
    case.used(&keys).await;

    assert_eq!(names(case.due(DueQuery { limit: 2, ..due() }).await), ["first", "second"]);
    assert_eq!(names(case.due(DueQuery { limit: 2, ..due() }).await), ["third"]);
}

pub(super) async fn the_use_of_a_company_that_was_never_seen_changes_nothing(case: Case) {
    case.used(&[acme()]).await;

    assert!(done(case.store.list(list()).await).items.is_empty());
    assert_eq!(names(case.due(due()).await), [""; 0]);
}

pub(super) async fn the_use_of_a_company_does_not_change_its_grant(case: Case) {
    let before = case.authenticated(&acme()).await;

    case.used(&[acme()]).await;

    assert_unchanged(&before, &case.load(&acme()).await);
}
