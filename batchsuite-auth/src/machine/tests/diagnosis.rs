//! Each state of a company and of a process, and its findings.

use super::{
    super::{
        diagnosis::{FindingKind::*, NextStepKind as Next, Severity::*, *},
        health::{Health, KeeperHealth, UpsTrouble, UpsTroubleKind},
        wake::Obstacle,
        *,
    },
    wake::{claimed, ending_in, in_doubt, in_use, lost, now, of_another_client, without_refresh_token},
    *,
};
use crate::{
    config::Environment,
    events::{Event, EventContent, EventId, EventKind},
};

/// Events of one company at these minutes before now, the newest first.
fn log(events: &[(EventKind, u32)]) -> Vec<Event> {
    let event = |(kind, minutes): &(EventKind, u32)| {
        let content = EventContent::new(*kind).with_evidence(Evidence::message(format!("{minutes} minutes ago")));
        let at = earlier(now(), *minutes * MINUTE);
        Event::new(EventId::new(1), at, Environment::Cie, None, Revision::default(), content)
    };
    events.iter().map(event).collect()
}

/// An authenticated company whose access token, obtained `minutes` ago, lasts an hour.
fn obtained(minutes: u32) -> Grant {
    opted_in(earlier(now(), minutes * MINUTE))
}

fn facts_of<'a>(grant: &'a Grant, events: &'a [Event], settings: &'a Settings) -> CompanyFacts<'a> {
    CompanyFacts {
        grant,
        used_at: in_use(),
        wake_at: Some(later(now(), HOUR)),
        obstacle: None,
        consent_until: None,
        link_until: None,
        events,
        settings,
    }
}

/// A state in words, its grant, its log, and its findings.
type Case<'a> = (&'a str, Grant, &'a [(EventKind, u32)], Vec<Told>);

/// Kind, severity, the minutes since it began and until the next step.
type Told = (FindingKind, Severity, Option<i64>, Option<(Next, i64)>);

fn told(found: &[Fact]) -> Vec<Told> {
    let minutes = |at: Timestamp| (at - now()).num_minutes();
    let next = |next: NextStep| Some((next.kind, minutes(next.at?)));
    found.iter().map(|fact| (fact.kind, fact.severity, fact.since.map(minutes), fact.next.and_then(next))).collect()
}

#[test]
fn each_state_of_a_company_has_its_finding() {
    let paused = |grant: Grant, failures| Grant { retry_at: Some(later(now(), 3 * MINUTE)), failures, ..grant };
    let refused = |cause| Grant {
        standing: Standing::ReauthRequired(cause),
        refusal: Some(RecordedRefusal { at: earlier(now(), 9 * MINUTE), evidence: Evidence::message("no") }),
        ..obtained(10)
    };
    let without_end = |grant: Grant| Grant {
        tokens: grant.tokens.map(|tokens| TokenTimes { access_token_end: None, ..tokens }),
        ..grant
    };
    let failing = [(EventKind::RefreshFailed, 1), (EventKind::RefreshFailed, 8), (EventKind::Refreshed, 70)];
    let rejected = [(EventKind::Misconfigured, 2), (EventKind::Refreshed, 70)];
    let unanswered = [(EventKind::Started, 1), (EventKind::RefreshUnanswered, 4), (EventKind::Refreshed, 70)];
    let cases: Vec<Case<'_>> = vec![
        ("works", obtained(10), &[], vec![]),
        ("never seen", Grant::default(), &[], vec![(NotAuthenticated, NoToken, None, None)]),
        (
            "removed",
            Grant::default(),
            &[(EventKind::Started, 1), (EventKind::Removed, 5), (EventKind::Removed, 9)],
            vec![(NotAuthenticated, NoToken, Some(-5), None)],
        ),
        (
            "a password change ends the access token",
            refused(RecordedCause::OptInInvalidated),
            &[],
            vec![(ReauthRequired(CauseKind::OptInInvalidated), NoToken, Some(-9), None)],
        ),
        (
            "a lost rotation leaves it",
            refused(RecordedCause::RotationLost),
            &[],
            vec![(ReauthRequired(CauseKind::RotationLost), AtRisk, Some(-9), None)],
        ),
        (
            "with nothing left",
            lost(obtained(90)),
            &[],
            vec![(ReauthRequired(CauseKind::RotationLost), NoToken, None, None)],
        ),
        (
            "expired",
            opted_in(earlier(now(), 60 * DAY + 5 * MINUTE)),
            &[],
            vec![(ReauthRequired(CauseKind::RefreshExpired), NoToken, Some(-5), None)],
        ),
        (
            "another client",
            of_another_client(obtained(10)),
            &[],
            vec![(ReauthRequired(CauseKind::ClientChanged), NoToken, None, None)],
        ),
        (
            "no refresh token, its access token works",
            without_refresh_token(20),
            &[],
            vec![(NotRenewable, AtRisk, Some(-20), Some((Next::End, 40)))],
        ),
        (
            "and has ended",
            without_refresh_token(65),
            &[],
            vec![(ReauthRequired(CauseKind::NoRefreshToken), NoToken, Some(-5), None)],
        ),
        (
            "a refresh begins early",
            claimed(obtained(50), MINUTE / 2),
            &[],
            vec![(RefreshUnderWay, Notice, Some(0), Some((Next::TakeOver, 0)))],
        ),
        (
            "a refresh that callers wait for",
            claimed(obtained(61), MINUTE),
            &[],
            vec![(RefreshUnderWay, NoToken, Some(0), Some((Next::TakeOver, 1)))],
        ),
        (
            "its holder died",
            Grant {
                phase: Phase::Claimed {
                    attempt: attempt(1),
                    at: earlier(now(), 2 * MINUTE),
                    lease_until: earlier(now(), MINUTE),
                },
                ..obtained(50)
            },
            &[],
            vec![(RefreshAbandoned, AtRisk, Some(-2), Some((Next::TakeOver, 60)))],
        ),
        (
            "no answer, and nothing in the log",
            in_doubt(obtained(50), MINUTE),
            &[],
            vec![(RefreshUnanswered, AtRisk, Some(-10), Some((Next::Retry, 1)))],
        ),
        (
            "a restored backup, with a token that has ended",
            Grant {
                unanswered: Some(Unanswered { attempt: None, echo_until: later(now(), 7 * MINUTE) }),
                ..obtained(90)
            },
            &[(EventKind::Refreshed, 70)],
            vec![(Doubtful, Notice, Some(-3), Some((Next::Clearance, 7)))],
        ),
        (
            "no answer, a later attempt was not sent, and nothing in the log",
            Grant {
                unanswered: Some(Unanswered { attempt: Some(attempt(1)), echo_until: later(now(), 7 * MINUTE) }),
                ..obtained(50)
            },
            &[],
            vec![(RefreshUnanswered, AtRisk, Some(-3), None)],
        ),
        (
            "several unanswered attempts in doubt, and nothing in the log",
            Grant {
                unanswered: Some(Unanswered { attempt: None, echo_until: later(now(), 7 * MINUTE) }),
                ..in_doubt(obtained(50), MINUTE)
            },
            &[],
            vec![(RefreshUnanswered, AtRisk, Some(-3), Some((Next::Retry, 1)))],
        ),
        (
            "several unanswered attempts",
            Grant {
                unanswered: Some(Unanswered { attempt: None, echo_until: later(now(), 7 * MINUTE) }),
                ..obtained(50)
            },
            &unanswered,
            vec![(RefreshUnanswered, AtRisk, Some(-4), None)],
        ),
        (
            "no answer",
            paused(in_doubt(obtained(90), MINUTE), 1),
            &unanswered,
            vec![(RefreshUnanswered, NoToken, Some(-4), Some((Next::Retry, 3)))],
        ),
        (
            "not sent",
            paused(obtained(50), 2),
            &failing,
            vec![(RefreshNotSent, AtRisk, Some(-8), Some((Next::Retry, 3)))],
        ),
        (
            "rejected",
            paused(obtained(90), 1),
            &rejected,
            vec![(RefreshRejected, NoToken, Some(-2), Some((Next::Retry, 3)))],
        ),
        (
            "a pause with a short log",
            paused(obtained(90), 0),
            &[],
            vec![(Paused, NoToken, None, Some((Next::Retry, 3)))],
        ),
        (
            "unusable pairs",
            paused(without_end(obtained(5)), 2),
            &[(EventKind::Refreshed, 5)],
            vec![(TokensUnusable, NoToken, None, Some((Next::Retry, 3)))],
        ),
        (
            "a doubtful send before",
            Grant { suspect_until: Some(later(now(), 4 * MINUTE)), ..obtained(10) },
            &[],
            vec![(Doubtful, Notice, None, Some((Next::Clearance, 4)))],
        ),
        ("a clock set back", opted_in(later(now(), 10 * MINUTE)), &[], vec![(ClockSetBack, NoToken, None, None)]),
    ];
    for (state, grant, events, expected) in cases {
        let (events, settings) = (log(events), settings());
        let found = facts_of(&grant, &events, &settings).findings(now());
        assert_eq!(told(&found), expected, "{state}");
    }
}

#[test]
fn an_end_that_is_near_concerns_a_person_only_if_nothing_renews_it() {
    let idle = |settings: &Settings, grant: &Grant| {
        told(&CompanyFacts { used_at: None, ..facts_of(grant, &[], settings) }.findings(now()))
    };
    let (kept, never) = (settings(), Settings { keep_alive_before_end: Duration::ZERO, ..settings() });
    let days = |days: i64| days * 24 * 60;

    let soon = |severity, next, minutes| vec![(ExpiringSoon, severity, None, Some((next, minutes)))];
    assert_eq!(idle(&kept, &ending_in(20)), []);
    assert_eq!(idle(&kept, &ending_in(10)), soon(Notice, Next::Refresh, days(3)));
    assert_eq!(idle(&never, &ending_in(10)), soon(AtRisk, Next::End, days(10)));
}

#[test]
fn what_cannot_be_read_what_is_overdue_and_what_is_pending_is_found() {
    let (settings, grant) = (settings(), obtained(10));
    let facts = facts_of(&grant, &[], &settings);
    for (facts, expected) in [
        (
            CompanyFacts { obstacle: Some(Obstacle::Damaged), ..facts },
            (RowDamaged, NoToken, None, Some((Next::Look, 60))),
        ),
        (
            CompanyFacts { obstacle: Some(Obstacle::Unreadable), ..facts },
            (TokensUnreadable, NoToken, None, Some((Next::Look, 60))),
        ),
        (CompanyFacts { wake_at: Some(earlier(now(), 5 * MINUTE)), ..facts }, (Overdue, AtRisk, Some(-5), None)),
        (
            CompanyFacts { consent_until: Some(later(now(), 7 * MINUTE)), ..facts },
            (ConsentPending, Notice, None, Some((Next::Expiry, 7))),
        ),
        (
            CompanyFacts { link_until: Some(later(now(), 8 * MINUTE)), ..facts },
            (ConnectLinkPending, Notice, None, Some((Next::Expiry, 8))),
        ),
    ] {
        assert_eq!(told(&facts.findings(now())), [expected]);
    }
    let waiting = CompanyFacts { wake_at: Some(earlier(now(), 4 * MINUTE)), ..facts };
    assert_eq!(told(&waiting.findings(now())), [], "a keeper may have taken it");
}

#[test]
fn a_second_opinion_is_the_next_step_of_a_refusal() {
    let settings = Settings { pauses: Pauses { second_opinions: vec![15 * MINUTE], ..pauses() }, ..settings() };
    let until = later(now(), 6 * MINUTE);
    let quarantine = Some(super::super::grant::Quarantine { refusals: 0, until, is_over: false });
    let grant = Grant { quarantine, ..lost(obtained(90)) };

    let found = told(&facts_of(&grant, &[], &settings).findings(now()));

    let cause = ReauthRequired(CauseKind::RotationLost);
    assert_eq!(found, [(cause, NoToken, None, Some((Next::SecondOpinion, 6)))]);
}

#[test]
fn ups_words_and_the_beginning_of_a_series_are_the_evidence() {
    let settings = settings();
    let events = log(&[(EventKind::RefreshFailed, 1), (EventKind::RefreshFailed, 8), (EventKind::Recovered, 20)]);
    let grant = Grant { failures: 2, retry_at: Some(later(now(), MINUTE)), ..obtained(50) };

    let found = facts_of(&grant, &events, &settings).findings(now());

    assert_eq!(found[0].evidence.as_ref().map(ToString::to_string).as_deref(), Some("1 minutes ago"), "the last one");
    assert_eq!(found[0].since, Some(earlier(now(), 8 * MINUTE)), "the first one since a success");
}

#[test]
fn a_failure_of_another_kind_before_it_does_not_date_a_failure() {
    let settings = settings();
    let events = log(&[(EventKind::RefreshFailed, 2), (EventKind::RefreshFailed, 4), (EventKind::Misconfigured, 9)]);
    let grant = Grant { failures: 3, retry_at: Some(later(now(), MINUTE)), ..obtained(50) };

    let found = facts_of(&grant, &events, &settings).findings(now());

    assert_eq!((found[0].kind, found[0].since), (RefreshNotSent, Some(earlier(now(), 4 * MINUTE))));
}

#[test]
fn a_success_ends_a_series_of_failures() {
    let settings = settings();
    for success in [EventKind::Refreshed, EventKind::Authenticated, EventKind::Recovered] {
        let events = log(&[(EventKind::RefreshFailed, 2), (success, 4), (EventKind::RefreshFailed, 9)]);
        let grant = Grant { failures: 1, retry_at: Some(later(now(), MINUTE)), ..obtained(50) };

        let found = facts_of(&grant, &events, &settings).findings(now());

        assert_eq!(found[0].since, Some(earlier(now(), 2 * MINUTE)), "{success:?}");
    }
}

#[test]
fn of_a_refresh_under_way_nothing_is_said_while_the_tokens_cannot_be_read_or_after_the_opt_in() {
    let settings = settings();
    let grant = claimed(obtained(50), Duration::ZERO);
    let unreadable = CompanyFacts { obstacle: Some(Obstacle::Unreadable), ..facts_of(&grant, &[], &settings) };
    let kinds = |facts: &CompanyFacts<'_>| facts.findings(now()).iter().map(|fact| fact.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&unreadable), [TokensUnreadable]);

    let ended = Grant { suspect_until: Some(later(now(), HOUR)), failures: 1, ..lost(obtained(90)) };
    assert_eq!(kinds(&facts_of(&ended, &[], &settings)), [ReauthRequired(CauseKind::RotationLost)]);
}

#[test]
fn tokens_that_work_make_a_pause_no_trouble_of_the_tokens_and_a_first_failure_may_be_one() {
    let settings = settings();
    let unusable = |failures| {
        let grant = Grant { retry_at: Some(later(now(), MINUTE)), failures, ..obtained(50) };
        let tokens = grant.tokens.map(|tokens| TokenTimes { access_token_end: None, ..tokens });
        facts_of(&Grant { tokens, ..grant }, &[], &settings).findings(now())[0].kind
    };
    assert_eq!((unusable(0), unusable(1)), (Paused, TokensUnusable));
}

#[test]
fn a_refresh_at_the_end_of_the_opt_in_renews_nothing() {
    let (settings, pause) = (settings(), later(now(), 3 * MINUTE));
    for (end, expected) in [(pause, Next::End), (later(pause, Duration::from_millis(1)), Next::Refresh)] {
        let refresh_token_end = RefreshTokenEnd::At(end);
        let grant = Grant { retry_at: Some(pause), failures: 1, ..obtained(10) };
        let tokens = grant.tokens.map(|tokens| TokenTimes { refresh_token_end, ..tokens });
        let grant = Grant { tokens, ..grant };

        let found = facts_of(&grant, &[], &settings).findings(now());

        assert_eq!((found[0].kind, found[0].next.map(|next| next.kind)), (ExpiringSoon, Some(expected)));
    }
}

#[test]
fn a_time_of_issue_in_the_future_is_tolerated_for_a_minute_and_no_longer() {
    let settings = settings();
    let kinds = |ahead: Duration| {
        let grant = opted_in(later(now(), ahead));
        let found = facts_of(&grant, &[], &settings).findings(now());
        found.iter().any(|fact| fact.kind == ClockSetBack)
    };
    let tolerated = super::super::limits::CLOCK_TOLERANCE;
    assert!(!kinds(tolerated) && kinds(tolerated + Duration::from_millis(1)));
}

#[test]
fn ups_is_asked_again_when_the_refresh_is_due_and_a_time_that_is_over_is_not_told() {
    let settings = settings();
    let next = |minutes, retry_at| {
        let events = log(&[(EventKind::Misconfigured, 5)]);
        let grant = Grant { failures: 1, retry_at, ..obtained(minutes) };
        facts_of(&grant, &events, &settings).findings(now())[0].next
    };
    let retry = |at| Some(NextStep { kind: Next::Retry, at });

    let pause = later(now(), 3 * MINUTE);
    assert_eq!(next(50, Some(pause)), retry(Some(pause)));
    assert_eq!(next(50, None), retry(None), "it is due");
    let early_window = obtained(10).tokens.unwrap().refresh_at;
    assert!(early_window > now());
    assert_eq!(next(10, None), retry(Some(early_window)), "the token works until then");
}

fn healthy() -> Health {
    Health {
        store_fails_since: None,
        store_error: None,
        feed_age: Duration::from_secs(3),
        feed_is_stale: false,
        keeper: KeeperHealth::Works { lag: Duration::ZERO, caught_up_at: None },
        ups: Vec::new(),
        refresh_rate: 25.0,
        refreshes_waiting: 0,
        pairs_not_stored: 0,
        is_stopping: false,
    }
}

#[test]
fn each_trouble_of_a_process_has_its_finding_and_is_not_healthy() {
    let since = earlier(now(), 7 * MINUTE);
    let until = later(now(), 2 * MINUTE);
    let trouble = |kind| Health { ups: vec![UpsTrouble { kind, since: Some(since), until: Some(until) }], ..healthy() };
    assert_eq!(told(&process_findings(&healthy(), None, AtRisk)), []);
    assert!(healthy().is_healthy() && healthy().is_ready());
    assert!(Health { keeper: KeeperHealth::Off, ..healthy() }.is_healthy(), "switched off on purpose");

    let (trial, retry) = (Some((Next::Trial, 2)), Some((Next::Retry, 2)));
    let late = |caught_up_at| Health { keeper: KeeperHealth::Works { lag: 6 * MINUTE, caught_up_at }, ..healthy() };
    let caught_up = Some((Next::CaughtUp, 2));
    for (health, kind, severity, since, next, is_ready) in [
        (Health { store_fails_since: Some(since), ..healthy() }, StoreFails, AtRisk, Some(-7), None, false),
        (Health { feed_is_stale: true, ..healthy() }, FeedStale, AtRisk, None, None, false),
        (Health { is_stopping: true, ..healthy() }, Stopping, Notice, None, None, false),
        (Health { pairs_not_stored: 1, ..healthy() }, PairsNotStored, AtRisk, None, None, true),
        (Health { keeper: KeeperHealth::Silent { since }, ..healthy() }, KeeperSilent, AtRisk, Some(-7), None, true),
        (late(None), KeeperBehind, AtRisk, None, None, true),
        (late(Some(until)), KeeperBehind, AtRisk, None, caught_up, true),
    ]
    .into_iter()
    .chain(UpsTroubleKind::ALL.iter().map(|kind| {
        let is_over_at_once = matches!(kind, UpsTroubleKind::OutOfReach | UpsTroubleKind::RateLimited);
        let next = if is_over_at_once { retry } else { trial };
        (trouble(*kind), Ups(*kind), AtRisk, Some(-7), next, true)
    })) {
        let found = process_findings(&health, None, AtRisk);
        assert_eq!(told(&found), [(kind, severity, since, next)]);
        let is_repeated = matches!(kind, StoreFails | FeedStale | PairsNotStored);
        assert_eq!(found[0].next.map(|next| next.kind) == Some(Next::Repetition), is_repeated, "{kind:?}");
        assert_eq!(health.is_ready(), is_ready, "{kind:?}");
        assert!(!health.is_healthy(), "{kind:?}");
    }
}

#[test]
fn a_rejected_token_is_found_and_one_that_was_just_refreshed_is_no_token() {
    let of = |is_fresh| RejectedToken { since: earlier(now(), MINUTE), until: later(now(), 4 * MINUTE), is_fresh };

    for (is_fresh, kind, severity) in [(false, TokenRejected, Notice), (true, FreshTokenRejected, NoToken)] {
        let found = told(&process_findings(&healthy(), Some(of(is_fresh)), AtRisk));
        assert_eq!(found, [(kind, severity, Some(-1), Some((Next::RefreshOnRejection, 4)))]);
    }
}

#[test]
fn a_store_that_fails_is_told_in_its_own_words() {
    let error = "the disk is full";
    let health = Health { store_fails_since: Some(now()), store_error: Some(error.to_string()), ..healthy() };
    let found = process_findings(&health, None, AtRisk);
    let told = found[0].evidence.as_ref().map(ToString::to_string);
    assert!(told.as_ref().is_some_and(|told| told.contains("the disk is full")), "{told:?}");
}

#[test]
fn a_trouble_that_keeps_tokens_from_being_refreshed_is_acute_once_the_token_has_ended() {
    let settings = settings();
    let acute = |grant: &Grant| facts_of(grant, &[], &settings).acute_for_all(now());
    assert_eq!((acute(&obtained(50)), acute(&obtained(61))), (AtRisk, NoToken));
    assert_eq!(acute(&Grant::default()), AtRisk, "it needs an opt-in first");

    let (since, until) = (Some(now()), Some(now()));
    for kind in UpsTroubleKind::ALL {
        let health =
            Health { store_fails_since: since, ups: vec![UpsTrouble { kind: *kind, since, until }], ..healthy() };
        let found = process_findings(&health, None, NoToken);
        assert!(found.len() == 2 && found.iter().all(|fact| fact.severity == NoToken), "{kind:?}: {found:?}");
    }
    let behind = Health { feed_is_stale: true, pairs_not_stored: 1, is_stopping: true, ..healthy() };
    let found = process_findings(&behind, None, NoToken);
    assert!(found.iter().all(|fact| fact.severity != NoToken), "these keep nothing from being refreshed: {found:?}");
}
