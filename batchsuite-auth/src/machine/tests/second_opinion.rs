//! Second opinions: UPS is asked again about a refresh token that it refused.

use super::{super::*, *};
use crate::machine::grant::Quarantine;

/// The policy's defaults.
fn asking() -> Pauses {
    Pauses { second_opinions: vec![15 * MINUTE, HOUR, DAY], ..pauses() }
}

fn on(grant: &Grant, event: &GrantEvent, now: Timestamp) -> Step {
    grant.on(event, &asking(), now).unwrap_or_else(|refusal| panic!("{refusal:?}: {event:?} in {grant:?}"))
}

/// The step when UPS refuses the refresh token at `now`.
fn refused_at(grant: &Grant, attempt_id: u128, now: Timestamp) -> Step {
    let claimed = on(grant, &claim(attempt(attempt_id)), now).grant;
    on(&claimed, &refused(claimed.claim_of(attempt(attempt_id))), now)
}

fn first_refusal() -> Grant {
    refused_at(&opted_in(minute(0)), 1, minute(50)).grant
}

fn settings_that_ask() -> Settings {
    Settings { pauses: asking(), ..settings() }
}

#[test]
fn the_first_refusal_is_told_at_once_and_keeps_the_refresh_token_alone() {
    let step = refused_at(&opted_in(minute(0)), 1, minute(50));

    assert_eq!(step.grant.standing, Standing::ReauthRequired(RecordedCause::OptInInvalidated));
    assert_eq!((step.tokens, step.announce, step.events.len()), (TokensEffect::KeepRefresh, true, 1));
    let tokens = step.grant.tokens.unwrap();
    assert_eq!(tokens.access_token_end, None, "the access token of a withdrawn opt-in is never served");
    assert_eq!(tokens.refresh_token_end, opted_in(minute(0)).tokens.unwrap().refresh_token_end);
    assert_eq!(step.grant.quarantine, Some(Quarantine { refusals: 0, until: minute(65), is_over: false }));
}

#[test]
fn ups_is_asked_after_a_quarter_of_an_hour_an_hour_and_a_day_and_then_the_tokens_are_erased() {
    let mut grant = first_refusal();
    for (number, asked, next) in [(2, 65, Some(110)), (3, 110, Some(50 + 24 * 60)), (4, 50 + 24 * 60, None)] {
        assert_eq!(grant.chore(None, None, &settings_that_ask(), true, minute(asked - 1)), Chore::Look);
        assert_eq!(grant.chore(None, None, &settings_that_ask(), true, minute(asked)), Chore::Refresh);
        assert!(grant.on(&claim(attempt(number)), &asking(), minute(asked - 1)).is_err(), "nobody asks earlier");

        let step = refused_at(&grant, number, minute(asked));

        assert_eq!(step.grant.standing, grant.standing);
        assert_eq!((step.events.len(), step.announce), (0, false), "an event was written before");
        assert_eq!(step.grant.quarantine.map(|quarantine| quarantine.until), next.map(minute));
        let (expected, is_kept) =
            if next.is_some() { (TokensEffect::Keep, true) } else { (TokensEffect::Erase, false) };
        assert_eq!((step.tokens, step.grant.tokens.is_some()), (expected, is_kept));
        assert_eq!(step.grant.revision, grant.revision, "a late pair still wins");
        assert_eq!(step.grant.refusal.as_ref().unwrap().at, minute(50), "the time of the first refusal");
        grant = step.grant;
    }
    assert_eq!(grant.wake(None, &settings_that_ask(), day(3)), Wake::default());
}

#[test]
fn a_pair_recovers_the_opt_in() {
    let refused = first_refusal();
    let claimed = on(&refused, &claim(attempt(2)), minute(65)).grant;

    let step = on(&claimed, &commit(claimed.claim_of(attempt(2)), pair(minute(65))), minute(66));

    assert_eq!((step.grant.standing, step.grant.quarantine), (Standing::Authenticated, None));
    assert_eq!(step.events[0].kind, crate::events::EventKind::Recovered);
}

#[test]
fn only_a_refusal_uses_up_an_ask() {
    let refused = first_refusal();
    let claimed = on(&refused, &claim(attempt(2)), minute(65)).grant;
    let claim_of = claimed.claim_of(attempt(2));
    let not_sent =
        GrantEvent::Release { claim: claim_of, reason: Release::NotSent(Evidence::message("down")), jitter: 1.0 };

    for event in [not_sent, unanswered(claim_of)] {
        let grant = on(&claimed, &event, minute(66)).grant;
        assert_eq!(grant.quarantine, refused.quarantine, "{event:?}");
        let again = grant.wake(None, &settings_that_ask(), minute(66)).at.unwrap();
        assert!(again > minute(66) && again < minute(80), "after its pause: {again}");
        assert_eq!(grant.chore(None, None, &settings_that_ask(), true, again), Chore::Refresh);
    }
}

#[test]
fn a_second_opinion_that_stayed_unanswered_changes_the_cause_and_is_told() {
    let claimed = on(&first_refusal(), &claim(attempt(2)), minute(65)).grant;
    let silent = on(&claimed, &unanswered(claimed.claim_of(attempt(2))), minute(66)).grant;

    let step = refused_at(&silent, 3, minute(80));

    assert_eq!(step.grant.standing, Standing::ReauthRequired(RecordedCause::RotationLost));
    assert_eq!(step.events[0].cause, Some(CauseKind::RotationLost));
    assert!(step.announce);
}

#[test]
fn callers_are_told_that_a_new_opt_in_is_needed_while_ups_is_asked_again() {
    let refused = first_refusal();
    for now in [50, 65, 5000].map(minute) {
        let access = refused.access(CLIENT, Demand::Token, now);
        assert_eq!(access, Access::Reauthenticate(CauseKind::OptInInvalidated), "{now}");
    }
    let keeper = Demand::Renew(refused.revision);
    assert_eq!(refused.access(CLIENT, keeper, minute(64)), Access::Reauthenticate(CauseKind::OptInInvalidated));
    assert_eq!(refused.access(CLIENT, keeper, minute(65)), Access::Refresh);
    let another = refused.access("another-client", keeper, minute(65));
    assert_eq!(another, Access::Reauthenticate(CauseKind::OptInInvalidated), "it is not theirs");
}

#[test]
fn an_empty_list_erases_at_once_but_lets_the_access_token_of_a_lost_rotation_work_to_its_end() {
    let invalidated = opted_in(minute(0));
    let lost = Grant { unanswered: Some(Unanswered { attempt: None, echo_until: minute(60) }), ..invalidated.clone() };
    let refuse = |grant: &Grant| {
        let claimed = grant.on(&claim(attempt(1)), &pauses(), minute(50)).unwrap().grant;
        claimed.on(&refused(claimed.claim_of(attempt(1))), &pauses(), minute(50)).unwrap()
    };

    let step = refuse(&invalidated);
    assert_eq!((step.tokens, step.grant.tokens, step.grant.quarantine), (TokensEffect::Erase, None, None));

    let step = refuse(&lost);
    assert_eq!(step.tokens, TokensEffect::KeepAccess, "the refresh token is erased at once");
    let kept = step.grant;
    assert_eq!(kept.tokens.unwrap().refresh_token_end, RefreshTokenEnd::Absent);
    let end = kept.tokens.unwrap().access_token_end.unwrap();
    assert_eq!(kept.access(CLIENT, Demand::Token, minute(51)), Access::Serve);
    assert_eq!(kept.wake(None, &settings(), minute(51)).at, Some(end));
    assert_eq!(kept.chore(None, None, &settings(), true, end), Chore::Erase);
    assert!(kept.on(&claim(attempt(2)), &pauses(), end).is_err(), "UPS is not asked again");
    let erased = kept.on(&GrantEvent::Erase, &pauses(), end).unwrap();
    assert_eq!((erased.tokens, erased.grant.tokens, erased.events.len()), (TokensEffect::Erase, None, 0));
    assert_eq!(erased.grant.on(&GrantEvent::Erase, &pauses(), end), Err(StepRefusal::Unchanged));
}

#[test]
fn a_list_that_was_emptied_after_a_refusal_erases_the_refresh_token_and_lets_the_access_token_work_to_its_end() {
    let lost = Grant { unanswered: Some(Unanswered { attempt: None, echo_until: minute(60) }), ..opted_in(minute(0)) };
    let claimed = lost.on(&claim(attempt(1)), &asking(), minute(20)).unwrap().grant;
    let refused = claimed.on(&refused(claimed.claim_of(attempt(1))), &asking(), minute(20)).unwrap().grant;
    assert_eq!(refused.quarantine, Some(Quarantine { refusals: 0, until: minute(35), is_over: false }));
    let end = refused.tokens.unwrap().access_token_end.unwrap();
    assert!(end > minute(35));

    let step = refused.on(&GrantEvent::Erase, &pauses(), minute(35)).unwrap();

    assert_eq!(step.tokens, TokensEffect::KeepAccess);
    assert_eq!(step.grant.quarantine, Some(Quarantine { refusals: 0, until: end, is_over: true }));
    let tokens = TokenTimes { refresh_token_end: RefreshTokenEnd::Absent, ..refused.tokens.unwrap() };
    assert_eq!(step.grant.tokens, Some(tokens));
    assert_eq!(step.grant.access(CLIENT, Demand::Token, minute(36)), Access::Serve);
}

#[test]
fn a_new_opt_in_and_a_removal_end_the_quarantine() {
    let refused = first_refusal();
    let connect = GrantEvent::Connect(Box::new(connect(&refused, minute(60), minute(61))));
    let remove = GrantEvent::Remove { actor: actor() };
    for (event, tokens) in [(connect, TokensEffect::Replace), (remove, TokensEffect::Erase)] {
        let step = on(&refused, &event, minute(62));
        assert_eq!((step.grant.quarantine, step.tokens), (None, tokens));
    }
}

#[test]
fn a_quarantine_that_no_policy_allows_was_set_by_a_wrong_clock() {
    let far =
        Grant { quarantine: Some(Quarantine { refusals: 0, until: day(400), is_over: false }), ..first_refusal() };
    assert_eq!(far.chore(None, None, &settings_that_ask(), true, minute(60)), Chore::Refresh);
}

#[test]
fn a_refusal_that_is_dated_by_a_clock_that_was_ahead_does_not_end_the_pauses() {
    let (pauses, now) = (asking(), minute(50));
    let refuse = |grant: &Grant, by| {
        let claimed = grant.on(&claim(attempt(by)), &pauses, now).unwrap().grant;
        claimed.on(&refused(claimed.claim_of(attempt(by))), &pauses, now).unwrap().grant
    };
    let first = refuse(&opted_in(minute(0)), 1);
    for ahead in [DAY, 8 * DAY, 20 * DAY] {
        let refusal = first.refusal.clone().map(|refusal| RecordedRefusal { at: later(now, ahead), ..refusal });
        let quarantine = first.quarantine.map(|quarantine| Quarantine { until: now, ..quarantine });
        let again = refuse(&Grant { refusal, quarantine, ..first.clone() }, 2);

        let until = again.quarantine.unwrap().until;
        assert!(until > now && until <= later(now, DAY), "{ahead:?}: {until}");
        assert_eq!(again.refusal.unwrap().at, now, "{ahead:?}");
    }
}

#[test]
fn where_the_list_was_emptied_the_access_token_of_a_lost_rotation_still_works_to_its_end() {
    let unanswered = Some(Unanswered { attempt: None, echo_until: minute(60) });
    let lost = Grant { unanswered, ..opted_in(minute(0)) };
    let claimed = lost.on(&claim(attempt(1)), &asking(), minute(20)).unwrap().grant;
    let asked = claimed.on(&refused(claimed.claim_of(attempt(1))), &asking(), minute(20)).unwrap().grant;
    let (due, end) = (asked.quarantine.unwrap().until, minute(60));
    assert!(due < end);

    let step = asked.on(&GrantEvent::Erase, &pauses(), due).unwrap();

    assert_eq!(step.tokens, TokensEffect::KeepAccess);
    assert_eq!(step.grant.access(CLIENT, Demand::Token, due), Access::Serve);
    assert_eq!(step.grant.on(&GrantEvent::Erase, &pauses(), due), Err(StepRefusal::Unchanged));
    assert_eq!(step.grant.on(&GrantEvent::Erase, &pauses(), end).unwrap().tokens, TokensEffect::Erase);
}

#[test]
fn a_refused_token_is_left_alone_for_as_long_as_a_policy_may_say() {
    let week = Pauses { second_opinions: vec![7 * DAY], ..pauses() };
    let claimed = opted_in(minute(0)).on(&claim(attempt(1)), &week, minute(50)).unwrap().grant;
    let refused = claimed.on(&refused(claimed.claim_of(attempt(1))), &week, minute(50)).unwrap().grant;
    let settings = Settings { pauses: week, ..settings() };
    let due = 50 + 7 * 24 * 60;

    for early in [51, due - 1] {
        assert_eq!(refused.chore(None, None, &settings, true, minute(early)), Chore::Look, "minute {early}");
    }
    assert_eq!(refused.chore(None, None, &settings, true, minute(due)), Chore::Refresh);
}
