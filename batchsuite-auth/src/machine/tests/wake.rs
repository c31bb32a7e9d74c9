//! When a grant wakes, what it needs then, and what notices people get.

use super::{super::*, *};
use crate::status::ListedAs;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn now() -> Timestamp {
    day(100)
}

/// An opt-in whose refresh token of 60 days ends in `days` days.
pub(super) fn ending_in(days: i64) -> Grant {
    opted_in(day(100 + days - 60))
}

fn with_refresh_end(grant: Grant, refresh_token_end: RefreshTokenEnd) -> Grant {
    let tokens = grant.tokens.map(|tokens| TokenTimes { refresh_token_end, ..tokens });
    Grant { tokens, ..grant }
}

/// An opt-in with an access token obtained `minutes` minutes ago and no refresh token.
pub(super) fn without_refresh_token(minutes: u32) -> Grant {
    with_refresh_end(opted_in(earlier(now(), minutes * MINUTE)), RefreshTokenEnd::Absent)
}

pub(super) fn of_another_client(grant: Grant) -> Grant {
    Grant { client_id: Some("another".to_owned()), ..grant }
}

pub(super) fn claimed(grant: Grant, rest: Duration) -> Grant {
    let lease_until = later(now(), rest);
    Grant { phase: Phase::Claimed { attempt: attempt(1), at: earlier(lease_until, LEASE), lease_until }, ..grant }
}

pub(super) fn in_doubt(grant: Grant, rest: Duration) -> Grant {
    let unanswered = Some(Unanswered { attempt: Some(attempt(1)), echo_until: now() });
    Grant { phase: Phase::InDoubt { lease_until: later(now(), rest) }, unanswered, ..grant }
}

fn paused(grant: Grant, rest: Duration) -> Grant {
    Grant { retry_at: Some(later(now(), rest)), failures: 1, ..grant }
}

pub(super) fn told(grant: Grant, notice: Notice) -> Grant {
    let refresh_end = grant.tokens.and_then(|tokens| tokens.refresh_end());
    Grant { notified: Some(Notified { refresh_end, notice }), ..grant }
}

pub(super) fn lost(grant: Grant) -> Grant {
    Grant { standing: Standing::ReauthRequired(RecordedCause::RotationLost), ..grant }
}

pub(super) fn soon(days: u64) -> Notice {
    Notice::ExpiringSoon { within: days * 86_400 }
}

/// Nothing is kept alive, so a person is always needed.
fn without_keep_alive() -> Settings {
    Settings { keep_alive_before_end: Duration::ZERO, ..settings() }
}

pub(super) fn in_use() -> Option<Timestamp> {
    Some(earlier(now(), MINUTE))
}

#[test]
fn what_has_woken_gets_the_chore_that_its_row_asks_for() {
    let (look, refresh, leave) = (Chore::Look, Chore::Refresh, Chore::Leave);
    let expired = Chore::Notify(Notice::Ended(CauseKind::RefreshExpired));
    let absent = Chore::Notify(Notice::Ended(CauseKind::NoRefreshToken));
    let aged = |minutes: u32| opted_in(earlier(now(), minutes * MINUTE));
    #[rustfmt::skip]
    let lines = [
        // what has woken                                           idle      in use
        ("never",              Grant::default(),                    look,     look),
        ("lost",               lost(aged(90)),                      look,     look),
        ("fresh",              aged(44),                            look,     look),
        ("due",                aged(45),                            look,     refresh),
        ("ended",              aged(60),                            look,     refresh),
        ("nearly kept alive",  opted_in(later(day(100 - 53), SECOND)), look,  refresh),
        ("kept alive",         ending_in(7),                        refresh,  refresh),
        ("claimed",            claimed(ending_in(7), SECOND),       leave,    leave),
        ("unrecorded",         claimed(aged(10), Duration::ZERO),   refresh,  refresh),
        ("in doubt",           in_doubt(aged(10), SECOND),          leave,    leave),
        ("probe",              in_doubt(aged(10), Duration::ZERO),  refresh,  refresh),
        ("probe, paused",      paused(in_doubt(aged(10), Duration::ZERO), SECOND), look, look),
        ("paused",             paused(ending_in(7), SECOND),        look,     look),
        ("pause over",         paused(ending_in(7), Duration::ZERO), refresh, refresh),
        ("another client",     of_another_client(ending_in(7)),     look,     look),
        ("expired",            ending_in(0),                        expired,  expired),
        ("expired, claimed",   claimed(ending_in(0), SECOND),       leave,    leave),
        ("expired, told",      told(ending_in(0), Notice::Ended(CauseKind::RefreshExpired)), look, look),
        ("no refresh token",   without_refresh_token(59),           look,     look),
        ("nothing to renew",   without_refresh_token(60),           absent,   absent),
        ("tried in vain",      paused(opted_in(earlier(day(100 - 53), 12 * HOUR)), SECOND), Chore::Notify(soon(7)), Chore::Notify(soon(7))),
        ("first tried late",   ending_in(3),                        refresh,  refresh),
    ];
    for (name, grant, idle, used) in lines {
        assert_eq!(grant.chore(None, None, &settings(), true, now()), idle, "{name}, idle");
        let long_ago = Some(earlier(now(), DAY));
        assert_eq!(grant.chore(long_ago, None, &settings(), true, now()), idle, "{name}, used a day ago");
        assert_eq!(grant.chore(in_use(), None, &settings(), true, now()), used, "{name}, in use");
    }
}

#[test]
fn a_refresh_that_may_succeed_comes_before_a_warning() {
    let in_window = ending_in(2);
    assert_eq!(
        in_window.chore(in_use(), None, &without_keep_alive(), true, now()),
        Chore::Refresh,
        "it was idle until now"
    );
    let failed = paused(in_window, Duration::ZERO);
    assert_eq!(failed.chore(in_use(), None, &without_keep_alive(), true, now()), Chore::Notify(soon(3)));
    let failed = told(failed, soon(3));
    assert_eq!(
        failed.chore(in_use(), None, &without_keep_alive(), true, now()),
        Chore::Refresh,
        "and then it is tried again"
    );
}

#[test]
fn a_use_that_a_wrong_clock_dated_is_no_use() {
    let due = opted_in(earlier(now(), 50 * MINUTE));
    for (used_at, expected) in [
        (later(now(), 5 * MINUTE), Chore::Refresh),
        (later(now(), 6 * MINUTE), Chore::Look),
        (later(now(), 365 * DAY), Chore::Look),
    ] {
        assert_eq!(due.chore(Some(used_at), None, &settings(), true, now()), expected, "{used_at}");
    }
}

#[test]
fn whatever_is_to_be_refreshed_may_be_refreshed() {
    let mut refreshes = 0;
    for grant in grants() {
        for used_at in [None, in_use()] {
            if grant.chore(used_at, None, &settings(), true, now()) == Chore::Refresh {
                let access = grant.access(CLIENT, Demand::Renew(grant.revision), now());
                assert!(matches!(access, Access::Refresh | Access::ServeAndRefresh), "{access:?}: {grant:?}");
                refreshes += 1;
            }
        }
    }
    assert!(refreshes > 50, "only {refreshes}");
}

/// Each standing, age, phase and pause of a grant.
fn grants() -> Vec<Grant> {
    let mut grants = Vec::new();
    for age in [Duration::ZERO, 46 * MINUTE, 61 * MINUTE, 53 * DAY, 54 * DAY, 60 * DAY] {
        for end in [None, Some(RefreshTokenEnd::Absent), Some(RefreshTokenEnd::Unknown)] {
            let idle = opted_in(earlier(now(), age));
            let idle = end.map_or(idle.clone(), |end| with_refresh_end(idle, end));
            let phases = [
                idle.clone(),
                of_another_client(idle.clone()),
                lost(idle.clone()),
                claimed(idle.clone(), SECOND),
                claimed(idle.clone(), Duration::ZERO),
                in_doubt(idle.clone(), SECOND),
                in_doubt(idle, Duration::ZERO),
            ];
            for grant in phases {
                grants.extend([paused(grant.clone(), SECOND), grant]);
            }
        }
    }
    grants.push(Grant::default());
    grants
}

#[test]
fn a_grant_wakes_when_it_needs_attention_and_at_least_once_a_day() {
    let at = |after| Some(later(now(), after));
    let aged = |minutes: u32| opted_in(earlier(now(), minutes * MINUTE));
    let keep_alive_in = |rest| opted_in(earlier(later(now(), rest), 53 * DAY));
    let unknown = |age| with_refresh_end(opted_in(earlier(now(), age)), RefreshTokenEnd::Unknown);
    #[rustfmt::skip]
    let lines = [
        // the grant                                          idle           in use         if it is used
        ("fresh",           aged(10),                         at(DAY),       at(35 * MINUTE), at(35 * MINUTE)),
        ("due",             aged(50),                         at(DAY),       at(Duration::ZERO), at(Duration::ZERO)),
        ("ended",           aged(70),                         at(DAY),       at(Duration::ZERO), at(Duration::ZERO)),
        ("idle for long",   keep_alive_in(HOUR),              at(HOUR),      at(Duration::ZERO), at(Duration::ZERO)),
        ("keep-alive due",  keep_alive_in(Duration::ZERO),    at(Duration::ZERO), at(Duration::ZERO), at(Duration::ZERO)),
        ("unknown end",     unknown(7 * DAY - HOUR),          at(HOUR),      at(Duration::ZERO), at(Duration::ZERO)),
        // Nothing is sent during a lease or a pause, whether in use or idle.
        ("claimed",         claimed(aged(50), SECOND),        at(SECOND),    at(SECOND),    at(SECOND)),
        ("in doubt",        in_doubt(aged(10), SECOND),       at(SECOND),    at(SECOND),    at(SECOND)),
        ("paused",          paused(aged(50), SECOND),         at(DAY),       at(SECOND),    at(SECOND)),
        ("probe, paused",   paused(in_doubt(aged(10), SECOND), MINUTE), at(MINUTE), at(MINUTE), at(MINUTE)),
        ("lease > pause",   paused(in_doubt(aged(10), MINUTE), SECOND), at(MINUTE), at(MINUTE), at(MINUTE)),
        ("keep-alive, paused", paused(keep_alive_in(Duration::ZERO), HOUR), at(HOUR), at(HOUR), at(HOUR)),
        // A corrected client id or clock takes effect within a day.
        ("another client",  of_another_client(aged(50)),      at(DAY),       at(DAY),       None),
        ("expired",         ending_in(0),                     at(DAY),       at(DAY),       None),
        ("no refresh token", without_refresh_token(50),       at(10 * MINUTE), at(10 * MINUTE), None),
        ("nothing to renew", without_refresh_token(70),       at(DAY),       at(DAY),       None),
        // The next warning window.
        ("expires soon",    opted_in(earlier(later(now(), HOUR), 46 * DAY)), at(HOUR), at(Duration::ZERO), at(Duration::ZERO)),
        ("expires",         paused(opted_in(earlier(later(now(), HOUR), 60 * DAY)), 2 * HOUR), at(HOUR), at(HOUR), at(2 * HOUR)),
        // Only a new opt-in helps.
        ("lost",            lost(aged(50)),                   None,          None,          None),
        ("never",           Grant::default(),                 None,          None,          None),
    ];
    for (name, grant, idle, used, if_used) in lines {
        let wake = grant.wake(None, &settings(), now());

        assert_eq!(wake, Wake { at: idle, if_used }, "{name}, idle");
        assert_eq!(grant.wake(in_use(), &settings(), now()).at, used, "{name}, in use");
    }
}

#[test]
fn no_grant_sleeps_longer_than_a_day_and_no_use_wakes_it_during_a_lease_or_a_pause() {
    for grant in grants() {
        for used_at in [None, in_use()] {
            let wake = grant.wake(used_at, &settings(), now());

            assert_eq!(wake.at.is_some(), grant.standing == Standing::Authenticated, "{grant:?}");
            assert!(wake.at.is_none_or(|at| now() <= at && at <= later(now(), DAY)), "{wake:?}: {grant:?}");
            let blocked_until = grant.leased_until(now()).max(grant.paused_until(now()));
            assert!(wake.if_used.is_none_or(|if_used| Some(if_used) >= blocked_until), "{wake:?}: {grant:?}");
        }
    }
}

#[test]
fn an_idle_opt_in_is_renewed_some_days_before_its_end_though_not_in_the_first_three_quarters() {
    let of = |keep_alive_before_end| Settings { keep_alive_before_end, ..settings() };
    let due_after = |settings: &Settings, end: RefreshTokenEnd| {
        let obtained_at = day(0);
        let grant = with_refresh_end(opted_in(obtained_at), end);
        (0..70 * 24).map(|hours| later(obtained_at, hours * HOUR)).find(|now| {
            let settings = Settings { warnings: Vec::new(), ..settings.clone() };
            grant.chore(None, None, &settings, true, *now) == Chore::Refresh
        })
    };
    let at = |days| RefreshTokenEnd::At(day(days));
    for (keep_alive_before_end, end, expected) in [
        (7 * DAY, at(60), Some(day(53))),
        (15 * DAY, at(60), Some(day(45))),
        (20 * DAY, at(60), Some(day(45))),
        (1000 * DAY, at(60), Some(day(45))),
        (7 * DAY, at(4), Some(day(3))),
        (7 * DAY, RefreshTokenEnd::Unknown, Some(day(7))),
        (7 * DAY, RefreshTokenEnd::Absent, None),
        (Duration::ZERO, at(60), None),
        (Duration::ZERO, RefreshTokenEnd::Unknown, None),
    ] {
        assert_eq!(due_after(&of(keep_alive_before_end), end), expected, "{keep_alive_before_end:?} {end:?}");
    }
}

#[test]
fn a_pair_that_a_wrong_clock_dated_is_renewed_at_once() {
    for (ahead, expected) in [(5 * MINUTE, Chore::Look), (6 * MINUTE, Chore::Refresh), (365 * DAY, Chore::Refresh)] {
        let grant = opted_in(later(now(), ahead));

        assert_eq!(grant.chore(None, None, &settings(), true, now()), expected, "{ahead:?}");
    }
}

/// The notices of a grant that a keeper checks hourly, with the day of each.
fn notices(grant: &Grant, settings: &Settings) -> Vec<(i64, Notice)> {
    let mut grant = grant.clone();
    let mut notices = Vec::new();
    for hours in 0..70 * 24 {
        let now = later(day(0), hours * HOUR);
        if let Chore::Notify(notice) = grant.chore(None, None, settings, true, now) {
            notices.push((i64::from(hours / 24), notice));
            let step = grant.on(&GrantEvent::Notify(notice), &settings.pauses, now).unwrap();
            grant = step.with_notice_that_holds(settings, now).grant;
        }
    }
    notices
}

#[test]
fn people_are_told_of_each_window_once_if_they_are_needed() {
    let expired = (60, Notice::Ended(CauseKind::RefreshExpired));
    let all = vec![(46, soon(14)), (53, soon(7)), (57, soon(3)), (59, soon(1)), expired];
    let grant = opted_in(day(0));
    assert_eq!(notices(&grant, &without_keep_alive()), all, "nothing renews it");
    assert_eq!(notices(&grant, &settings()), all[4..], "the keeper renews it as soon as it can");
    let failing = Grant { failures: 1, ..grant.clone() };
    assert_eq!(notices(&failing, &settings()), all[1..], "it was tried in vain for half a day");
    let early = Settings { keep_alive_before_end: 15 * DAY, ..settings() };
    assert_eq!(notices(&failing, &early), all, "the same, before the first window");
    let late = Settings { keep_alive_before_end: DAY, ..settings() };
    assert_eq!(notices(&failing, &late), all[3..], "it is to be renewed on its last day");
    let probed = Grant { unanswered: Some(Unanswered { attempt: None, echo_until: day(0) }), ..grant.clone() };
    assert_eq!(notices(&probed, &settings()), all[1..], "UPS has not answered for half a day");

    let unknown = with_refresh_end(grant.clone(), RefreshTokenEnd::Unknown);
    assert_eq!(notices(&unknown, &without_keep_alive()), []);
    let absent = with_refresh_end(grant.clone(), RefreshTokenEnd::Absent);
    assert_eq!(notices(&absent, &settings()), [(0, Notice::Ended(CauseKind::NoRefreshToken))]);
    assert_eq!(
        notices(&of_another_client(grant.clone()), &settings()),
        [],
        "one event reports it for the whole client"
    );
    assert_eq!(notices(&lost(grant), &settings()), [], "the event of the refusal reported it");
}

#[test]
fn a_renewal_that_fails_concerns_a_person_after_half_a_day_or_half_of_what_is_left() {
    let first_warning = |keep_alive_before_end: Duration| {
        let settings = Settings { keep_alive_before_end, warnings: vec![60 * DAY], ..settings() };
        let grant = Grant { failures: 1, ..opted_in(day(0)) };
        let minutes = (0..60 * 24 * 60).map(|minutes| later(day(0), minutes * MINUTE));
        let mut told = minutes.filter(|now| matches!(grant.chore(None, None, &settings, true, *now), Chore::Notify(_)));
        told.next().unwrap()
    };
    assert_eq!(first_warning(7 * DAY), later(day(53), 12 * HOUR));
    assert_eq!(first_warning(DAY), later(day(59), 12 * HOUR));
    assert_eq!(first_warning(2 * HOUR), earlier(day(60), HOUR));
}

#[test]
fn of_several_windows_the_smallest_is_told() {
    for (days, warned, expected) in [
        (15, None, None),
        (14, None, Some(14)),
        (6, None, Some(7)),
        (2, None, Some(3)),
        (2, Some(14), Some(3)),
        (2, Some(3), None),
        (2, Some(1), None),
        (1, Some(3), Some(1)),
    ] {
        let grant = ending_in(days);
        let grant = warned.map_or(grant.clone(), |window| told(grant, soon(window)));

        let expected = expected.map_or(Chore::Look, |window| Chore::Notify(soon(window)));
        assert_eq!(
            grant.chore(None, None, &without_keep_alive(), true, now()),
            expected,
            "{days} days left, {warned:?}"
        );
    }
}

#[test]
fn nobody_is_told_what_the_keepers_own_clock_does_not_confirm() {
    for grant in [ending_in(0), ending_in(2), without_refresh_token(70)] {
        assert!(matches!(grant.chore(None, None, &without_keep_alive(), true, now()), Chore::Notify(_)), "{grant:?}");
        assert_eq!(grant.chore(None, None, &without_keep_alive(), false, now()), Chore::Look, "{grant:?}");
    }
    let due = in_doubt(ending_in(2), Duration::ZERO);
    assert_eq!(
        due.chore(None, None, &without_keep_alive(), false, now()),
        Chore::Refresh,
        "only UPS can tell whether it has ended"
    );
}

#[test]
fn a_note_of_what_people_were_told_is_kept_as_long_as_it_holds() {
    let expired = Notice::Ended(CauseKind::RefreshExpired);
    let absent = Notice::Ended(CauseKind::NoRefreshToken);
    let of_another_token = |grant: Grant| {
        let note = Notified { refresh_end: Some(day(1)), notice: soon(7) };
        Grant { notified: Some(note), ..grant }
    };
    for (name, grant, holds) in [
        ("expired", told(ending_in(0), expired), true),
        ("the clock was set back a little", told(opted_in(later(day(40), 5 * MINUTE)), expired), true),
        ("the clock was set back", told(opted_in(later(day(40), 6 * MINUTE)), expired), false),
        ("expired, of another client", told(of_another_client(ending_in(0)), expired), false),
        ("nothing to renew", told(without_refresh_token(60), absent), true),
        ("nothing to renew, set back", told(without_refresh_token(50), absent), false),
        ("warned", told(ending_in(6), soon(7)), true),
        ("warned, the clock was set back a little", told(opted_in(later(day(47), 5 * MINUTE)), soon(7)), true),
        ("warned, the clock was set back", told(opted_in(later(day(47), 6 * MINUTE)), soon(7)), false),
        ("another refresh token", of_another_token(ending_in(6)), false),
        ("nothing was told", ending_in(6), true),
        ("erased", Grant { tokens: None, ..told(ending_in(0), expired) }, false),
    ] {
        let step = grant.on(&GrantEvent::Look, &pauses(), now()).unwrap().with_notice_that_holds(&settings(), now());

        assert_eq!(step.grant, Grant { notified: grant.notified.filter(|_| holds), ..grant }, "{name}");
    }
}

#[test]
fn a_list_names_each_grant_as_its_status_does() {
    for (name, grant, expected) in [
        ("never", Grant::default(), ListedAs::Unauthenticated),
        ("fresh", ending_in(59), ListedAs::Authenticated),
        ("15 days left", ending_in(15), ListedAs::Authenticated),
        ("14 days left", ending_in(14), ListedAs::ExpiringSoon),
        ("expired", ending_in(0), ListedAs::ReauthRequired),
        ("unknown end", with_refresh_end(ending_in(1), RefreshTokenEnd::Unknown), ListedAs::Authenticated),
        ("no refresh token", without_refresh_token(10), ListedAs::Authenticated),
        ("nothing to renew", without_refresh_token(60), ListedAs::ReauthRequired),
        ("another client", of_another_client(ending_in(59)), ListedAs::ReauthRequired),
        ("lost", lost(ending_in(59)), ListedAs::ReauthRequired),
        ("in doubt", in_doubt(ending_in(59), SECOND), ListedAs::Authenticated),
    ] {
        assert_eq!(grant.listed_as(&settings(), now()), expected, "{name}");
    }
    let unwarned = Settings { warnings: Vec::new(), ..settings() };
    assert_eq!(ending_in(1).listed_as(&unwarned, now()), ListedAs::Authenticated);
}

#[test]
fn a_grant_wakes_no_later_than_its_listed_status_changes() {
    for grant in grants() {
        let wake = grant.wake(None, &settings(), now()).at;
        let listed_as = grant.listed_as(&settings(), now());
        for minutes in 0..48 * 60 {
            let at = later(now(), minutes * MINUTE);
            let has_woken = wake.is_none_or(|wake| wake <= at);
            assert!(has_woken && wake.is_some() || grant.listed_as(&settings(), at) == listed_as, "{at}: {grant:?}");
            if has_woken {
                break;
            }
        }
    }
}

#[test]
fn a_step_keeps_the_wake_time_or_sets_it() {
    let (idle, lease_end) = (opted_in(earlier(now(), 10 * MINUTE)), Some(later(now(), LEASE)));
    let to_lease_end = Some(Wake { at: lease_end, if_used: lease_end });
    let claim = idle.on(&claim(attempt(1)), &pauses(), now()).unwrap();
    for (wake_at, expected) in [
        // It wakes before the lease ends, as after a keeper's claim: `wake_at` stays, so the index does not change.
        (Some(now()), None),
        (lease_end, None),
        (Some(later(now(), 2 * LEASE)), to_lease_end),
        (Some(day(999)), to_lease_end),
        (None, to_lease_end),
    ] {
        assert_eq!(claim.wake(wake_at, None, &settings(), now()), expected, "{wake_at:?}");
    }

    let restore = idle.on(&GrantEvent::Restore { at: now() }, &pauses(), now()).unwrap();
    let fence = idle.on(&GrantEvent::Fence, &pauses(), now()).unwrap();
    for step in [restore, fence] {
        assert_eq!(step.wake(None, None, &settings(), now()), None, "{}", step.name);
    }
    let look = idle.on(&GrantEvent::Look, &pauses(), now()).unwrap();
    for used_at in [None, in_use()] {
        assert_eq!(look.wake(Some(now()), used_at, &settings(), now()), Some(idle.wake(used_at, &settings(), now())));
    }
    // The end of the opt-in ends its wake times as well.
    let remove = idle.on(&GrantEvent::Remove { actor: actor() }, &pauses(), now()).unwrap();
    assert_eq!(remove.wake(Some(now()), in_use(), &settings(), now()), Some(Wake::default()));
}
