//! Clauses of [`Store::connect`](crate::store::Store::connect).

use super::case::*;
use crate::{
    clock::Timestamp,
    events::EventKind,
    ids::{ConsentId, Revision},
    machine::{Phase, RecordedCause, Standing},
    store::{Committed, Connect, Connected, NewPair, Store, TakenConsent, Written},
};

pub(super) async fn stores_the_first_pair(case: Case) {
    let connect = connect(&acme());

    let grant = stored(case.connect(connect.clone()).await);

    assert_holds(&grant, &pair("1"));
    assert_eq!(grant.opt_in.standing, Standing::Authenticated);
    assert_eq!(grant.opt_in.revision, Revision { epoch: 1, version: 1 });
    assert_eq!((grant.opt_in.consent, grant.opt_in.issued_at), (Some(connect.consent), connect.issued_at));
    assert_eq!((grant.client_id.as_deref(), &grant.actor), (Some(CLIENT), &Some(actor("alice"))));
    assert_about(grant.authenticated_at, grant.as_of);
    assert_unchanged(&grant, &case.load(&acme()).await);
}

pub(super) async fn writes_authenticated_with_the_actor_and_the_new_revision(case: Case) {
    let grant = case.authenticated(&acme()).await;

    let events = case.history(&acme()).await;
    let [event] = &events[..] else { panic!("not one event: {events:?}") };
    assert_eq!((event.kind, &event.actor), (EventKind::Authenticated, &Some(actor("alice"))));
    assert_eq!((event.revision, event.id), (grant.opt_in.revision, grant.change));
}

pub(super) async fn lifetimes_count_from_the_send_of_the_request(case: Case) {
    let grant = case.authenticated_with(&acme(), NewPair { age: HOUR, ..pair("1") }).await;

    let tokens = grant.tokens.expect("tokens are stored");
    let sent = grant.as_of - HOUR;
    assert_about(tokens.obtained_at, sent);
    assert_about(tokens.refresh_at, sent + EARLY);
    assert_about(tokens.access_expires_at, sent + ACCESS_LIFETIME);
    assert_about(tokens.refresh_expires_at, sent + REFRESH_LIFETIME);
}

pub(super) async fn a_pair_without_an_issue_time_counts_from_the_send_of_its_request(case: Case) {
    let connect = Connect { issued_at: None, pair: NewPair { age: HOUR, ..pair("1") }, ..connect(&acme()) };

    let grant = stored(case.connect(connect).await);

    assert_about(grant.opt_in.issued_at, grant.as_of - HOUR);
}

pub(super) async fn a_lifetime_beyond_any_date_is_clamped(case: Case) {
    let endless = NewPair { refresh_lifetime: Some(std::time::Duration::MAX), ..pair("1") };

    let grant = case.authenticated_with(&acme(), endless).await;

    let tokens = grant.tokens.expect("tokens are stored");
    assert!(tokens.refresh_expires_at.expect("an end") > grant.as_of + 100 * REFRESH_LIFETIME);
}

pub(super) async fn a_pair_without_a_refresh_token_keeps_none_of_a_former_opt_in(case: Case) {
    case.authenticated(&acme()).await;
    let lone = NewPair { refresh_token: None, refresh_lifetime: None, ..pair("2") };

    let grant = case.authenticated_with(&acme(), lone).await;

    let tokens = grant.tokens.expect("tokens are stored");
    assert!(tokens.refresh_token.is_none() && tokens.refresh_expires_at.is_none());
}

pub(super) async fn keeps_the_failures_of_an_unusable_pair(case: Case) {
    let unusable = NewPair { access_token: None, ..pair("1") };

    let grant = stored(case.connect(Connect { failures: 1, pair: unusable, ..connect(&acme()) }).await);

    assert_eq!(grant.failures, 1);
    assert!(grant.tokens.is_some_and(|tokens| tokens.access_token.is_none() && tokens.refresh_token.is_some()));
}

pub(super) async fn a_consent_that_began_before_a_removal_is_refused(case: Case) {
    let consent = consent(&acme(), &actor("alice"));
    case.begin(&consent).await;
    let TakenConsent::Taken(taken) = case.take(take(&consent)).await else { panic!("not taken") };
    let removed = case.remove(&acme()).await;

    let answer = case.connect(Connect { consent: taken.id, removals: taken.removals, ..connect(&acme()) }).await;

    assert!(matches!(answer, Connected::RemovedSince), "{answer:?}");
    assert_unchanged(&removed, &case.load(&acme()).await);
    assert_eq!(case.count(&acme(), EventKind::Authenticated).await, 0);
}

pub(super) async fn a_consent_that_began_after_a_removal_connects(case: Case) {
    case.authenticated(&acme()).await;
    let removed = case.remove(&acme()).await;

    let grant = case.authenticated(&acme()).await;

    assert!(grant.opt_in.revision.epoch > removed.opt_in.revision.epoch);
    assert_holds(&grant, &pair("1"));
}

pub(super) async fn the_grant_issued_later_stays_when_it_came_first(case: Case) {
    let later = Connect { issued_at: Some(issued_at() + MINUTE), ..connect(&acme()) };
    let grant = stored(case.connect(later).await);

    let answer = case.connect(Connect { pair: pair("earlier"), ..connect(&acme()) }).await;

    let Connected::Superseded(shown) = answer else { panic!("not superseded: {answer:?}") };
    assert_unchanged(&grant, &shown);
    assert_unchanged(&grant, &case.load(&acme()).await);
    assert_eq!(case.count(&acme(), EventKind::Authenticated).await, 1);
}

pub(super) async fn the_grant_issued_later_stays_when_it_comes_second(case: Case) {
    case.authenticated(&acme()).await;
    let later = Connect { issued_at: Some(issued_at() + MINUTE), pair: pair("later"), ..connect(&acme()) };

    let grant = stored(case.connect(later).await);

    assert_holds(&grant, &pair("later"));
    assert_eq!(grant.opt_in.revision, Revision { epoch: 2, version: 1 });
}

pub(super) async fn a_grant_dated_in_the_future_is_no_rival(case: Case) {
    let ahead = Timestamp::from_timestamp(32_503_680_000, 0).expect("the year 3000");
    stored(case.connect(Connect { issued_at: Some(ahead), ..connect(&acme()) }).await);

    let grant = stored(case.connect(Connect { pair: pair("later"), ..connect(&acme()) }).await);

    assert_holds(&grant, &pair("later"));
    assert_eq!((grant.opt_in.revision.epoch, grant.opt_in.issued_at), (2, Some(issued_at())));
}

pub(super) async fn an_opt_in_that_ended_is_no_rival(case: Case) {
    let later = Connect { issued_at: Some(issued_at() + MINUTE), ..connect(&acme()) };
    let grant = stored(case.connect(later).await);
    let attempt = case.claimed(&grant).await;
    case.settled(refused(&grant, attempt)).await;

    let grant = stored(case.connect(Connect { pair: pair("2"), ..connect(&acme()) }).await);

    assert_holds(&grant, &pair("2"));
}

/// A person who has just consented gets that opt-in, whatever UPS's clock says.
pub(super) async fn the_first_try_of_a_consent_used_after_the_stored_pair_arrived_wins(case: Case) {
    let later = Connect { issued_at: Some(issued_at() + MINUTE), ..connect(&acme()) };
    let grant = stored(case.connect(later).await);
    case.advance(MINUTE).await;
    let used_at = case.load(&acme()).await.as_of;

    let grant_2 = stored(case.connect(Connect { used_at, pair: pair("2"), ..connect(&acme()) }).await);

    assert_holds(&grant_2, &pair("2"));
    assert_eq!(grant_2.opt_in.revision.epoch, grant.opt_in.revision.epoch + 1);
    assert_eq!(grant_2.opt_in.issued_at, Some(issued_at() + MINUTE), "the latest that was ever stored");
}

pub(super) async fn a_consent_used_before_the_stored_pair_arrived_wins_by_its_issue_time_alone(case: Case) {
    let used_at = case.load(&acme()).await.as_of;
    case.advance(MINUTE).await;
    // Its lifetimes count from a time before the use of the other consent.
    let (first, later) = (NewPair { age: HOUR, ..pair("1") }, Some(issued_at() + MINUTE));
    let grant = stored(case.connect(Connect { issued_at: later, pair: first, ..connect(&acme()) }).await);

    let answer = case.connect(Connect { used_at, pair: pair("2"), ..connect(&acme()) }).await;

    assert!(matches!(answer, Connected::Superseded(_)), "{answer:?}");
    assert_unchanged(&grant, &case.load(&acme()).await);
    let latest = Connect { used_at, issued_at: Some(issued_at() + MINUTE * 2), pair: pair("3"), ..connect(&acme()) };
    assert_holds(&stored(case.connect(latest).await), &pair("3"));
}

/// It may have been stored before, and its refresh token may be spent.
pub(super) async fn a_retry_that_is_not_later_than_what_was_ever_stored_is_lost(case: Case) {
    let first = Connect { issued_at: Some(issued_at() + MINUTE), pair: pair("1"), ..connect(&acme()) };
    stored(case.connect(first.clone()).await);
    case.advance(MINUTE).await;
    let used_at = case.load(&acme()).await.as_of;
    let grant = stored(case.connect(Connect { used_at, pair: pair("2"), ..connect(&acme()) }).await);

    let answer = case.connect(Connect { used_at, retry: true, ..first.clone() }).await;

    assert!(matches!(answer, Connected::Superseded(_)), "{answer:?}");
    assert_unchanged(&grant, &case.load(&acme()).await);
    let latest = Connect { retry: true, issued_at: Some(issued_at() + MINUTE * 2), ..first };
    assert_holds(&stored(case.connect(latest).await), &pair("1"));
}

/// The epoch is decided inside the write: two that read the same epoch before would both store the same next one.
pub(super) async fn of_20_grants_at_once_each_has_an_epoch_of_its_own_and_the_latest_stays(case: Case) {
    let answers = case
        .at_once(20, |store, number| {
            let issued_at = issued_at() + MINUTE * number as u32;
            let pair = pair(&number.to_string());
            let connect = Connect { issued_at: Some(issued_at), pair, ..connect(&acme()) };
            async move { store.connect(connect).await }
        })
        .await;

    let mut epochs: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Connected::Stored(grant) => Some(grant.opt_in.revision.epoch),
            _ => None,
        })
        .collect();
    epochs.sort_unstable();
    assert_eq!(epochs, (1..=epochs.len() as u64).collect::<Vec<_>>());
    let grant = case.load(&acme()).await;
    assert_holds(&grant, &pair("19"));
    assert_eq!(grant.opt_in.revision, Revision { epoch: epochs.len() as u64, version: 1 });
    assert_eq!(case.count(&acme(), EventKind::Authenticated).await, epochs.len());
}

pub(super) async fn a_repetition_finds_its_own_consent_stored(case: Case) {
    let connect = connect(&acme());
    let grant = stored(case.connect(connect.clone()).await);

    let answer = case.connect(connect).await;

    let Connected::AlreadyStored(shown) = answer else { panic!("not found: {answer:?}") };
    assert_unchanged(&grant, &shown);
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated]);
}

pub(super) async fn a_repetition_after_a_rotation_does_not_bring_the_spent_pair_back(case: Case) {
    let connect = connect(&acme());
    let grant = stored(case.connect(connect.clone()).await);
    let attempt = case.claimed(&grant).await;
    let rotated = committed(case.commit(commit(&grant, attempt, pair("2"))).await);

    let answer = case.connect(connect).await;

    assert!(matches!(answer, Connected::AlreadyStored(_)), "{answer:?}");
    assert_unchanged(&rotated, &case.load(&acme()).await);
}

pub(super) async fn of_50_repetitions_at_once_exactly_one_stores(case: Case) {
    let consent = ConsentId::random();

    let answers = case
        .at_once(50, |store, _| {
            let connect = Connect { consent, ..connect(&acme()) };
            async move { store.connect(connect).await }
        })
        .await;

    let stored = answers.iter().filter(|answer| matches!(answer, Connected::Stored(_))).count();
    let found = answers.iter().filter(|answer| matches!(answer, Connected::AlreadyStored(_))).count();
    assert_eq!((stored, found), (1, 49));
    assert_eq!(case.kinds(&acme()).await, [EventKind::Authenticated]);
}

pub(super) async fn resets_phase_lease_and_marks(case: Case) {
    let grant = case.authenticated(&acme()).await;
    case.unanswered(&grant).await;
    case.advance(LEASE + MINUTE).await;
    let late = case.claimed(&grant).await;
    let suspect = committed(case.commit(commit(&grant, late, pair("2"))).await);
    assert!(suspect.opt_in.suspect);
    case.unanswered(&suspect).await;

    let grant = case.authenticated(&acme()).await;

    assert_eq!(grant.opt_in.phase, Phase::Idle);
    assert!(!grant.opt_in.unanswered && !grant.opt_in.suspect);
    assert_eq!((grant.failures, grant.retry_at), (0, None));
    case.claimed(&grant).await;
}

pub(super) async fn resets_the_recorded_cause(case: Case) {
    let ended = case.invalidated(&acme()).await;
    assert_eq!(ended.opt_in.standing, Standing::ReauthRequired(RecordedCause::OptInInvalidated));

    let grant = case.authenticated(&acme()).await;

    assert_eq!((grant.opt_in.standing, grant.cause), (Standing::Authenticated, None));
}

pub(super) async fn resets_the_warnings(case: Case) {
    case.authenticated(&acme()).await;
    case.advance(REFRESH_LIFETIME - 10 * DAY).await;
    assert_eq!(case.warn(warnings()).await, 1);
    case.authenticated(&acme()).await;

    case.advance(REFRESH_LIFETIME - 10 * DAY).await;

    assert_eq!(case.warn(warnings()).await, 1);
}

pub(super) async fn resets_a_reservation(case: Case) {
    case.authenticated_with(&acme(), NewPair { access_token: None, ..pair("1") }).await;
    case.used(&[acme()]).await;
    assert_eq!(case.due(due()).await, [acme().company]);

    case.authenticated_with(&acme(), NewPair { access_token: None, ..pair("2") }).await;

    assert_eq!(case.due(due()).await, [acme().company]);
}

/// Both opt-ins have a version 1: the compare must be on epoch *and* version.
pub(super) async fn a_flight_of_the_former_opt_in_can_write_nothing(case: Case) {
    let former = case.authenticated(&acme()).await;
    let attempt = case.claimed(&former).await;
    let grant = case.authenticated_with(&acme(), pair("2")).await;

    let answer = case.commit(commit(&former, attempt, pair("of the former"))).await;

    assert!(matches!(answer, Committed::Moved), "{answer:?}");
    assert_eq!(case.settle(refused(&former, attempt)).await, Written::No);
    assert_eq!(case.settle(unanswered(&former, attempt)).await, Written::No);
    assert_eq!(case.give_back(give_back(&former, attempt)).await, Written::No);
    assert_unchanged(&grant, &case.load(&acme()).await);
}

pub(super) async fn a_removal_at_the_same_moment_leaves_nothing_connected(case: Case) {
    for round in 0..20 {
        let key = company(format!("company-{round}"));
        let (connecting, removing) = (case.store.clone(), case.store.clone());
        let (connect, removed) = (connect(&key), key.clone());

        let (connected, _) = case
            .race(async move { connecting.connect(connect).await }, async move {
                removing.remove(&removed, &actor("remover")).await
            })
            .await;

        let grant = case.load(&key).await;
        assert!(matches!(connected, Connected::Stored(_) | Connected::RemovedSince), "{connected:?}");
        assert!(grant.tokens.is_none() && grant.opt_in.standing == Standing::Unauthenticated);
        let expected: &[EventKind] = match connected {
            Connected::Stored(_) => &[EventKind::Authenticated, EventKind::Removed],
            _ => &[EventKind::Removed],
        };
        assert_eq!(case.kinds(&key).await, expected);
    }
}

pub(super) async fn environments_are_apart(case: Case) {
    case.authenticated(&acme()).await;

    let other = case.load(&elsewhere(&acme())).await;

    assert!(other.tokens.is_none() && other.opt_in == Default::default());
}
