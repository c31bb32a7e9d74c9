//! What the steps write, where the table in `transitions` covers one case of many.

use super::{super::*, *};
use crate::{events::EventKind, machine::limits::CLOCK_DISAGREEMENT};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub(super) fn on(grant: &Grant, event: &GrantEvent, now: Timestamp) -> Step {
    grant.on(event, &pauses(), now).unwrap_or_else(|refusal| panic!("{refusal:?}: {event:?} in {grant:?}"))
}

/// The grant after the event.
pub(super) fn after(grant: &Grant, event: &GrantEvent, now: Timestamp) -> Grant {
    on(grant, event, now).grant
}

/// The grant after these events, each at its minute.
pub(super) fn after_all(grant: &Grant, events: &[(i64, GrantEvent)]) -> Grant {
    events.iter().fold(grant.clone(), |grant, (at, event)| after(&grant, event, minute(*at)))
}

pub(super) fn refusal(grant: &Grant, event: &GrantEvent, now: Timestamp) -> Option<StepRefusal> {
    grant.on(event, &pauses(), now).err()
}

fn release(claim: Claim, reason: Release) -> GrantEvent {
    GrantEvent::Release { claim, reason, jitter: 1.0 }
}

fn claimed(by: u128, at: Timestamp) -> Phase {
    Phase::Claimed { attempt: attempt(by), at, lease_until: later(at, LEASE) }
}

fn in_doubt(attempt: Option<u128>, echo_until: i64) -> Option<Unanswered> {
    Some(Unanswered { attempt: attempt.map(AttemptId::from_bits), echo_until: minute(echo_until) })
}

#[test]
fn a_claim_over_an_attempt_that_was_never_recorded_puts_it_in_doubt() {
    for (known, expected) in [
        (None, in_doubt(Some(1), 60)),
        (in_doubt(Some(1), 60), in_doubt(Some(1), 60)),
        (in_doubt(Some(7), 40), in_doubt(None, 60)),
        (in_doubt(None, 70), in_doubt(None, 70)),
    ] {
        let grant = Grant { phase: claimed(1, minute(50)), unanswered: known, ..opted_in(minute(0)) };

        let grant = after(&grant, &claim(attempt(2)), minute(51));

        assert_eq!((grant.unanswered, grant.phase), (expected, claimed(2, minute(51))), "{known:?}");
    }
}

#[test]
fn a_lease_that_no_policy_allows_was_set_by_a_wrong_clock() {
    let now = minute(50);
    for (ends_in, expected) in [
        (Duration::ZERO, None),
        (Duration::from_millis(1), Some(StepRefusal::Leased)),
        (HOUR, Some(StepRefusal::Leased)),
        (HOUR + Duration::from_millis(1), None),
        (YEAR, None),
    ] {
        let lease_until = later(now, ends_in);
        for phase in [Phase::InDoubt { lease_until }, Phase::Claimed { attempt: attempt(1), at: now, lease_until }] {
            let grant = Grant { phase, ..opted_in(minute(0)) };

            assert_eq!(refusal(&grant, &claim(attempt(2)), now), expected, "{ends_in:?}");
        }
    }
}

#[test]
fn a_pause_that_no_policy_allows_was_set_by_a_wrong_clock() {
    let now = minute(50);
    for (ends_in, expected) in [
        (Duration::ZERO, None),
        (Duration::from_millis(1), Some(StepRefusal::Paused)),
        (2 * HOUR, Some(StepRefusal::Paused)),
        (2 * HOUR + Duration::from_millis(1), None),
    ] {
        let grant = Grant { retry_at: Some(later(now, ends_in)), ..opted_in(minute(0)) };

        assert_eq!(refusal(&grant, &claim(attempt(2)), now), expected, "{ends_in:?}");
    }
}

#[test]
fn a_release_pauses_counts_and_tells_what_its_reason_asks_for() {
    let evidence = || Evidence::message("no connection");
    let (failed, misconfigured) = (Some(EventKind::RefreshFailed), Some(EventKind::Misconfigured));
    for (reason, seconds, failures, kind) in [
        (Release::Unsent(Duration::ZERO), None, 2, None),
        (Release::Unsent(MINUTE), Some(60), 2, None),
        (Release::RateLimited(MINUTE), Some(60), 2, None),
        (Release::RateLimited(DAY), Some(3600), 2, None),
        // The third failure in a row.
        (Release::NotSent(evidence()), Some(8), 3, failed),
        // The client's event tells it, and the pause stays the first one.
        (Release::OutOfReach, Some(2), 2, None),
        (Release::Misconfigured(evidence()), Some(8), 3, misconfigured),
        (Release::Unknown(evidence()), Some(8), 3, misconfigured),
    ] {
        let (now, marks) = (minute(50), in_doubt(Some(8), 55));
        let grant = Grant { phase: claimed(1, now), failures: 2, unanswered: marks, ..opted_in(minute(0)) };

        let step = on(&grant, &release(grant.claim_of(attempt(1)), reason.clone()), now);

        let (grant, until) = (step.grant, seconds.map(|seconds| later(now, Duration::from_secs(seconds))));
        assert_eq!((grant.phase, grant.retry_at, grant.failures), (Phase::Idle, until, failures), "{reason:?}");
        assert_eq!(grant.unanswered, marks, "not being sent proves nothing about an earlier attempt: {reason:?}");
        assert_eq!(step.events.first().map(|event| event.kind), kind, "{reason:?}");
        let attempts = step.events.iter().map(|event| event.evidence.as_ref().unwrap().attempt);
        assert!(attempts.clone().all(|of| of == Some(attempt(1))) && attempts.count() < 2, "{reason:?}");
    }
}

#[test]
fn an_unanswered_attempt_pauses_from_the_end_of_its_lease_on() {
    let claimed_at = minute(50);
    for (reported, failures, from, pause) in [
        (later(claimed_at, LEASE / 2), 0, later(claimed_at, LEASE), 1),
        (later(claimed_at, LEASE / 2), 3, later(claimed_at, LEASE), 8),
        (later(claimed_at, 3 * LEASE), 0, later(claimed_at, 3 * LEASE), 1),
    ] {
        let grant = Grant { phase: claimed(1, claimed_at), failures, ..opted_in(minute(0)) };

        let grant = after(&grant, &unanswered(grant.claim_of(attempt(1))), reported);

        assert_eq!(grant.retry_at, Some(later(from, Duration::from_secs(pause))), "{failures} at {reported}");
        assert_eq!(grant.failures, failures + 1);
        assert_eq!(grant.unanswered, in_doubt(Some(1), 60), "counted from its send");
    }
}

#[test]
fn an_unanswered_attempt_during_an_outage_is_told_by_the_clients_event_alone() {
    let grant = Grant { phase: claimed(1, minute(50)), failures: 3, ..opted_in(minute(0)) };
    let told = unanswered(grant.claim_of(attempt(1)));
    let GrantEvent::Unanswered { claim, evidence, jitter, .. } = told.clone() else { panic!("{told:?}") };
    let untold = GrantEvent::Unanswered { claim, evidence, is_outage: true, jitter };

    let (told, untold) = (on(&grant, &told, minute(50)), on(&grant, &untold, minute(50)));

    assert_eq!((told.grant, told.events.len()), (untold.grant, 1));
    assert_eq!(untold.events, []);
}

#[test]
fn when_ups_is_in_reach_again_a_pause_ends_and_a_lease_does_not() {
    let now = minute(52);
    let grant = Grant { phase: claimed(1, minute(50)), failures: 9, ..opted_in(minute(0)) };
    let silent = after(&grant, &unanswered(grant.claim_of(attempt(1))), minute(50));
    assert!(silent.paused_until(now).is_some());

    let resumed = after(&silent, &GrantEvent::Resume, now);

    assert_eq!(resumed, Grant { retry_at: None, ..silent.clone() });
    assert_eq!(refusal(&resumed, &GrantEvent::Resume, now), Some(StepRefusal::Unchanged));
    for standing in [Standing::Unauthenticated, Standing::ReauthRequired(RecordedCause::RotationLost)] {
        let other = Grant { standing, ..silent.clone() };
        assert_eq!(refusal(&other, &GrantEvent::Resume, now), Some(StepRefusal::Unchanged), "{standing:?}");
    }
}

/// The mark left by a commit of attempt 1 that was sent at minute 50 and saved at minute 52.
#[test]
fn the_mark_after_a_commit_tells_until_when_an_echo_can_come() {
    let new = PairRefresh::New(None);
    let (own, other) = (claimed(1, minute(50)), claimed(2, minute(51)));
    #[rustfmt::skip]
    let lines = [
        // phase              unanswered               suspect   refresh token        mark
        (own,                 None,                    None,     new,                 None),
        (Phase::Idle,         None,                    None,     new,                 None),
        // Its own request was doubtful and is answered now.
        (Phase::Idle,         in_doubt(Some(1), 60),   None,     new,                 None),
        // Another attempt's request was doubtful, or several were.
        (own,                 in_doubt(Some(2), 58),   None,     new,                 Some(58)),
        (own,                 in_doubt(None, 58),      None,     new,                 Some(58)),
        // Another attempt holds the row, and may have sent the same token.
        (other,               None,                    None,     new,                 Some(61)),
        (other,               in_doubt(Some(1), 60),   None,     new,                 Some(61)),
        (other,               in_doubt(None, 60),      None,     new,                 Some(61)),
        // A token that was sent and is kept is not certainly unused.
        (own,                 None,                    None,     PairRefresh::Kept,   Some(60)),
        (own,                 in_doubt(None, 61),      None,     PairRefresh::Kept,   Some(61)),
        // The first clean rotation sent after an earlier mark ends it.
        (own,                 None,                    Some(49), new,                 None),
        (own,                 None,                    Some(49), PairRefresh::Lost,   None),
        (own,                 None,                    Some(50), new,                 Some(50)),
        (own,                 None,                    Some(55), new,                 Some(55)),
        (own,                 None,                    Some(49), PairRefresh::Kept,   Some(60)),
        (own,                 in_doubt(None, 58),      Some(49), new,                 Some(58)),
        (own,                 in_doubt(None, 58),      Some(59), new,                 Some(59)),
        (other,               None,                    Some(49), new,                 Some(61)),
        // No echo comes later than ten minutes from now: a later time was dated by a clock that has since been set
        // back.
        (own,                 in_doubt(None, 1000),    None,     new,                 Some(62)),
        (claimed(2, minute(1000)), None,               None,     new,                 Some(62)),
        (own,                 None,                    Some(1000), new,               Some(62)),
    ];
    for (phase, unanswered, suspect, refresh, mark) in lines {
        let grant = Grant { phase, unanswered, suspect_until: suspect.map(minute), ..opted_in(minute(0)) };
        let event = commit(grant.claim_of(attempt(1)), PairTimes { refresh, ..pair(minute(50)) });

        let grant = after(&grant, &event, minute(52));

        assert_eq!(grant.suspect_until, mark.map(minute), "{phase:?} {unanswered:?} {suspect:?} {refresh:?}");
        assert_eq!((grant.unanswered, grant.phase), (None, Phase::Idle));
    }
}

/// An unanswered attempt, an answered probe, then rotations at these minutes; UPS refuses the last one.
fn cause_after(rotations: &[i64]) -> RecordedCause {
    let start = opted_in(minute(0));
    let mut grant = after_all(
        &start,
        &[(50, claim(attempt(1))), (51, unanswered(start.claim_of(attempt(1)))), (52, claim(attempt(2)))],
    );
    grant = after(&grant, &commit(grant.claim_of(attempt(2)), pair(minute(52))), minute(52));
    for (index, at) in rotations.iter().enumerate() {
        let attempt = attempt(10 + index as u128);
        grant = after(&grant, &claim(attempt), minute(*at));
        let claim = grant.claim_of(attempt);
        grant = match index + 1 == rotations.len() {
            true => after(&grant, &refused(claim), minute(*at)),
            false => after(&grant, &commit(claim, pair(minute(*at))), minute(*at)),
        };
    }
    let Standing::ReauthRequired(cause) = grant.standing else { panic!("{grant:?}") };
    cause
}

#[test]
fn after_a_lost_answer_a_refusal_is_a_lost_rotation_until_a_rotation_after_the_last_echo() {
    let (lost, invalidated) = (RecordedCause::RotationLost, RecordedCause::OptInInvalidated);
    assert_eq!(cause_after(&[53]), lost, "inside the window");
    assert_eq!(cause_after(&[1000]), lost, "the time alone does not end the mark");
    assert_eq!(cause_after(&[55, 60, 1000]), lost, "the rotations were sent inside the window");
    assert_eq!(cause_after(&[55, 61, 1000]), invalidated, "a clean rotation was sent after it");
    assert_eq!(cause_after(&[61, 62]), invalidated);
}

#[test]
fn the_cause_of_a_refusal_comes_from_the_row() {
    let marks = |unanswered, suspect: Option<i64>| (unanswered, suspect.map(minute));
    for ((unanswered, suspect_until), is_explained) in [
        (marks(None, None), false),
        (marks(in_doubt(Some(7), 40), None), true),
        (marks(in_doubt(None, 40), None), true),
        (marks(None, Some(40)), true),
        (marks(in_doubt(Some(1), 40), Some(40)), true),
    ] {
        let grant = Grant { phase: claimed(1, minute(50)), unanswered, suspect_until, ..opted_in(minute(0)) };

        let step = on(&grant, &refused(grant.claim_of(attempt(1))), minute(50));

        let (cause, kind, tokens) = match is_explained {
            true => (RecordedCause::RotationLost, CauseKind::RotationLost, TokensEffect::KeepAccess),
            false => (RecordedCause::OptInInvalidated, CauseKind::OptInInvalidated, TokensEffect::Erase),
        };
        assert_eq!((step.grant.standing, step.tokens), (Standing::ReauthRequired(cause), tokens));
        assert_eq!(step.grant.tokens.is_some(), is_explained, "an access token is served until it ends, or never");
        assert_eq!((step.events[0].kind, step.events[0].cause), (EventKind::Invalidated, Some(kind)));
        assert_eq!(grant.explains_refusal(), is_explained, "the breaker gets the same answer");
    }
}

#[test]
fn an_import_is_suspect_until_its_first_clean_rotation() {
    let start = after(&Grant::default(), &GrantEvent::Import(Box::new(import(&Grant::default(), None))), minute(50));
    let refuse = |grant: &Grant| {
        let claimed = after(grant, &claim(attempt(2)), minute(60));
        after(&claimed, &refused(claimed.claim_of(attempt(2))), minute(60)).standing
    };
    let rotate = |sent: Timestamp| {
        let claimed = after(&start, &claim(attempt(1)), sent);
        after(&claimed, &commit(claimed.claim_of(attempt(1)), pair(sent)), sent)
    };

    assert_eq!(refuse(&start), Standing::ReauthRequired(RecordedCause::RotationLost));
    assert_eq!(refuse(&rotate(minute(50))), Standing::ReauthRequired(RecordedCause::RotationLost), "not after it");
    assert_eq!(refuse(&rotate(minute(51))), Standing::ReauthRequired(RecordedCause::OptInInvalidated));
}

#[test]
fn an_import_without_an_access_token_is_no_failure() {
    let pair = PairTimes { access_lifetime: None, ..pair(minute(70)) };
    let import = Import { pair, ..import(&Grant::default(), None) };

    let imported = after(&Grant::default(), &GrantEvent::Import(Box::new(import)), minute(70));

    assert_eq!((imported.failures, imported.retry_at), (0, None));
}

/// A pair that was not rotated here may be as old as its import says. The arrival stands for an unknown date.
#[test]
fn an_import_is_compared_with_the_latest_known_issue() {
    let imported = |issued_at| Grant { rotated_by: None, issued_at, ..opted_in(minute(70)) };
    let ahead = later(minute(75), CLOCK_DISAGREEMENT + MINUTE);
    let cases = [
        (imported(Some(minute(10))), 10, 11),
        (imported(None), 70, 71),
        (Grant { issued_at: None, ..opted_in(minute(70)) }, 70, 71),
        (Grant { issued_at: Some(minute(72)), ..opted_in(minute(70)) }, 72, 73),
        (opted_in(ahead), 0, 1),
        (Grant { issued_at: Some(ahead), ..opted_in(minute(70)) }, 70, 71),
    ];
    for (grant, kept, replaced) in cases {
        let step = |issued_at| {
            let event = GrantEvent::Import(Box::new(import(&grant, Some(minute(issued_at)))));
            grant.on(&event, &pauses(), minute(75)).map(drop)
        };
        assert_eq!((step(kept), step(replaced)), (Err(StepRefusal::Superseded), Ok(())), "{grant:?}");
    }
}

#[test]
fn a_claim_of_unknown_outcome_is_released_or_fenced_or_is_over() {
    let grant = opted_in(minute(0));
    let mine = grant.claim_of(attempt(1));
    let claimed = |by| Grant {
        phase: Phase::Claimed { attempt: attempt(by), at: minute(1), lease_until: minute(2) },
        ..grant.clone()
    };
    let release = GrantEvent::Release { claim: mine, reason: Release::Unsent(Duration::ZERO), jitter: 1.0 };
    for is_as_claimed in [true, false] {
        assert_eq!(claimed(1).fence_of(&mine, is_as_claimed), Some(release.clone()));
    }
    assert_eq!(grant.fence_of(&mine, true), Some(GrantEvent::Fence));
    assert_eq!(claimed(2).fence_of(&mine, false), None);
}

#[test]
fn a_row_that_a_fail_over_set_back_takes_the_pair_in_hand() {
    let claimed = Grant { revision: Revision { epoch: 5, version: 9 }, ..opted_in(minute(40)) };
    let in_hand = claimed.claim_of(attempt(1));
    let set_back = opted_in(minute(0));

    let step = on(&set_back, &commit(in_hand, pair(minute(50))), minute(50));

    assert_eq!((step.grant.revision, step.tokens), (Revision { epoch: 5, version: 10 }, TokensEffect::Replace));
    assert_eq!(step.grant.suspect_until, Some(minute(60)), "its marks are lost as well");
    // Epochs repeat after a restore; the opt-in does not.
    let other = Grant { opt_in: Some(consent(8)), ..set_back };
    assert_eq!(refusal(&other, &commit(in_hand, pair(minute(50))), minute(50)), Some(StepRefusal::Stale));
}

#[test]
fn a_late_pair_wins_over_a_row_that_was_given_up_and_erased() {
    let start = opted_in(minute(0));
    for marks in [None, in_doubt(Some(1), 60)] {
        let taken_over = Grant { phase: claimed(2, minute(51)), unanswered: marks, ..start.clone() };
        let given_up = after(&taken_over, &refused(start.claim_of(attempt(2))), minute(52));
        assert!(matches!(given_up.standing, Standing::ReauthRequired(_)));

        let step = on(&given_up, &commit(start.claim_of(attempt(1)), pair(minute(50))), minute(53));

        assert_eq!((step.grant.standing, step.tokens), (Standing::Authenticated, TokensEffect::Replace));
        assert_eq!((step.events[0].kind, step.grant.refusal.clone()), (EventKind::Recovered, None));
        assert_eq!(step.grant.suspect_until, None, "a take-over or a given-up row alone leaves no mark");
    }
}

#[test]
fn the_latest_time_in_a_row_is_of_its_consent_or_of_its_tokens() {
    let row = |consent, tokens: Option<i64>| {
        let grant = opted_in(minute(tokens.unwrap_or(0)));
        let tokens = grant.tokens.filter(|_| tokens.is_some());
        Grant { authenticated_at: consent, tokens, ..grant }.latest_time()
    };
    assert_eq!(row(Some(minute(3)), Some(9)), Some(minute(9)));
    assert_eq!(row(Some(minute(3)), Some(1)), Some(minute(3)));
    assert_eq!(row(Some(minute(3)), None), Some(minute(3)));
    assert_eq!(row(None, None), None);
}

#[test]
fn the_latest_time_of_issue_is_remembered_and_one_from_far_ahead_shuts_nobody_out() {
    let connected = |stored: Option<Timestamp>, issued_at| {
        let grant = Grant { issued_at: stored, ..opted_in(minute(0)) };
        let event = GrantEvent::Connect(Box::new(connect(&grant, minute(1), issued_at)));
        grant.on(&event, &pauses(), minute(50)).map(|step| step.grant.issued_at)
    };
    let imported = |stored: Option<Timestamp>, issued_at| {
        let grant = Grant { issued_at: stored, ..opted_in(minute(0)) };
        let event = GrantEvent::Import(Box::new(import(&grant, issued_at)));
        grant.on(&event, &pauses(), minute(50)).map(|step| step.grant.issued_at)
    };
    let (edge, ahead) = (later(minute(50), DAY), later(minute(51), DAY));

    assert_eq!(connected(Some(minute(5)), minute(9)), Ok(Some(minute(9))));
    assert_eq!(connected(Some(edge), minute(9)), Err(StepRefusal::Superseded));
    assert_eq!(connected(Some(ahead), minute(9)), Ok(Some(minute(9))));
    assert_eq!(connected(None, minute(9)), Ok(Some(minute(9))));
    assert_eq!(imported(Some(ahead), Some(minute(9))), Ok(Some(minute(9))));

    // The older grant replaces an opt-in that has ended; the later `issued_at` stays.
    let ended = Grant { standing: Standing::ReauthRequired(RecordedCause::RotationLost), ..opted_in(minute(0)) };
    let ended = Grant { issued_at: Some(minute(20)), ..ended };
    let older = GrantEvent::Connect(Box::new(connect(&ended, minute(1), minute(9))));
    assert_eq!(after(&ended, &older, minute(50)).issued_at, Some(minute(20)));
    for issued_at in [None, Some(minute(9))] {
        let older = GrantEvent::Import(Box::new(import(&ended, issued_at)));
        assert_eq!(after(&ended, &older, minute(50)).issued_at, Some(minute(20)));
    }
}

#[test]
fn a_restore_marks_older_pairs_once() {
    let event = GrantEvent::Restore { at: minute(50) };
    let marked = after(&opted_in(minute(49)), &event, minute(55));
    assert_eq!(marked.unanswered, in_doubt(None, 60));
    assert_eq!(refusal(&marked, &event, minute(55)), Some(StepRefusal::Unchanged), "an interrupted restore continues");

    // A later restore marks the grant again, and the doubtful attempt becomes one of several.
    assert_eq!(after(&marked, &GrantEvent::Restore { at: minute(51) }, minute(55)).unanswered, in_doubt(None, 61));
    for (known, expected) in [(in_doubt(Some(1), 55), in_doubt(None, 60)), (in_doubt(Some(1), 65), in_doubt(None, 65))]
    {
        let grant = Grant { unanswered: known, ..opted_in(minute(0)) };
        assert_eq!(after(&grant, &event, minute(55)).unanswered, expected);
    }

    for (obtained_at, expected) in [
        // At the same moment: the pair may be older.
        (minute(50), None),
        (later(minute(50), Duration::from_millis(1)), Some(StepRefusal::Unchanged)),
        (minute(60), Some(StepRefusal::Unchanged)),
        // Dated by a clock that has since been set back: the pair may be older.
        (minute(61), None),
        (later(minute(55), YEAR), None),
    ] {
        assert_eq!(refusal(&opted_in(obtained_at), &event, minute(55)), expected, "{obtained_at}");
    }
}

#[test]
fn a_refusal_after_a_restore_is_a_lost_rotation() {
    let marked = after(&opted_in(minute(0)), &GrantEvent::Restore { at: minute(50) }, minute(50));
    let claimed = after(&marked, &claim(attempt(1)), minute(51));

    let step = on(&claimed, &refused(claimed.claim_of(attempt(1))), minute(51));

    assert_eq!(step.grant.standing, Standing::ReauthRequired(RecordedCause::RotationLost));
}

#[test]
fn the_same_news_are_told_once() {
    let (grant, notice) = (opted_in(minute(0)), Notice::Ended(CauseKind::RefreshExpired));
    let told = on(&grant, &GrantEvent::Notify(notice), day(60));
    assert_eq!((told.events[0].kind, told.events[0].cause), (EventKind::Expired, Some(CauseKind::RefreshExpired)));
    assert_eq!(refusal(&told.grant, &GrantEvent::Notify(notice), day(60)), Some(StepRefusal::Unchanged));

    // A new refresh token starts over.
    let soon = Notice::ExpiringSoon { within: 86_400 };
    let warned = after(&grant, &GrantEvent::Notify(soon), day(59));
    let renewed = |refresh| {
        let pair = PairTimes { refresh, ..pair(earlier(day(59), MINUTE)) };
        after(&warned, &commit(warned.claim_of(attempt(1)), pair), day(59))
    };
    assert_eq!(renewed(PairRefresh::New(Some(DAY))).notified, None);
    assert_eq!(renewed(PairRefresh::Kept).notified, warned.notified);
}

#[test]
fn what_a_newer_release_wrote_survives_every_step() {
    let unknown: serde_json::Map<_, _> = [("later".to_owned(), 7.into())].into_iter().collect();
    let grant = Grant { unknown: unknown.clone(), ..opted_in(minute(0)) };
    let events = [
        GrantEvent::Connect(Box::new(connect(&grant, minute(2), minute(2)))),
        GrantEvent::Import(Box::new(import(&grant, Some(minute(2))))),
        GrantEvent::Remove { actor: actor() },
        claim(attempt(1)),
        commit(grant.claim_of(attempt(1)), pair(minute(50))),
        GrantEvent::Look,
    ];
    for event in events {
        assert_eq!(after(&grant, &event, minute(50)).unknown, unknown, "{event:?}");
    }
}

#[test]
fn an_opt_in_that_was_dated_by_a_clock_ahead_is_no_rival_of_a_person_who_has_just_consented() {
    for ahead in [HOUR, 6 * HOUR, 23 * HOUR] {
        let dated = later(minute(100), ahead);
        let stored = Grant { authenticated_at: Some(dated), issued_at: Some(dated), ..opted_in(minute(90)) };
        let connect = GrantEvent::Connect(Box::new(connect(&stored, minute(100), minute(100))));

        assert_eq!(on(&stored, &connect, minute(101)).grant.revision.epoch, stored.revision.epoch + 1, "{ahead:?}");
    }
}
