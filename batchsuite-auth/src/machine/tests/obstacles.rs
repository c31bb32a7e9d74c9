//! What a grant needs when it wakes and no refresh can be sent.

use super::{
    super::*,
    wake::{
        SECOND, claimed, ending_in, in_doubt, in_use, lost, now, of_another_client, soon, told, without_refresh_token,
    },
    *,
};
use crate::{machine::grant::Quarantine, status::ListedAs};

#[test]
fn while_nothing_may_be_sent_people_are_warned_where_a_renewal_would_be_late_and_nothing_else_is_done() {
    let blocked = Some(Obstacle::Blocked);
    let overdue = |by: Duration| opted_in(earlier(earlier(now(), 53 * DAY), by));
    let expired = Chore::Notify(Notice::Ended(CauseKind::RefreshExpired));
    for (name, grant, used_at, expected) in [
        ("fresh", opted_in(now()), in_use(), Chore::Look),
        ("due", opted_in(earlier(now(), 50 * MINUTE)), in_use(), Chore::Leave),
        ("renewal due", overdue(Duration::ZERO), None, Chore::Leave),
        ("nearly late", overdue(12 * HOUR - SECOND), None, Chore::Leave),
        ("late", overdue(12 * HOUR), None, Chore::Notify(soon(7))),
        ("late, told", told(overdue(12 * HOUR), soon(7)), None, Chore::Leave),
        ("claimed", claimed(overdue(12 * HOUR), SECOND), None, Chore::Leave),
        ("expired", ending_in(0), None, expired),
    ] {
        assert_eq!(grant.chore(used_at, blocked, &settings(), true, now()), expected, "{name}");
    }
    let late = overdue(12 * HOUR);
    assert_eq!(late.chore(None, blocked, &settings(), false, now()), Chore::Leave, "the clocks differ");
}

#[test]
fn a_grant_whose_tokens_cannot_be_read_is_told_of_and_put_off_where_a_refresh_is_due() {
    let (look, postpone) = (Chore::Look, Chore::Postpone);
    let expired = Chore::Notify(Notice::Ended(CauseKind::RefreshExpired));
    let absent = Chore::Notify(Notice::Ended(CauseKind::NoRefreshToken));
    let warned = |days| Chore::Notify(soon(days));
    let refused = |until| {
        let quarantine = Some(Quarantine { refusals: 0, until, is_over: false });
        Grant { quarantine, ..lost(ending_in(30)) }
    };
    #[rustfmt::skip]
    let lines = [
        // what has woken                                               idle        in use
        ("never",            Grant::default(),                          look,       look),
        ("fresh",            opted_in(now()),                           look,       look),
        ("due",              opted_in(earlier(now(), 50 * MINUTE)),     look,       postpone),
        ("15 days left",     ending_in(15),                             look,       postpone),
        ("14 days left",     ending_in(14),                             warned(14), warned(14)),
        ("14 days, told",    told(ending_in(14), soon(14)),             look,       postpone),
        ("7 days left",      ending_in(7),                              warned(7),  warned(7)),
        ("7 days, told",     told(ending_in(7), soon(7)),               postpone,   postpone),
        ("1 day left",       told(ending_in(1), soon(3)),               warned(1),  warned(1)),
        ("claimed",          claimed(ending_in(7), SECOND),             Chore::Leave, Chore::Leave),
        ("in doubt",         in_doubt(ending_in(30), Duration::ZERO),   postpone,   postpone),
        ("another client",   of_another_client(ending_in(7)),           look,       look),
        ("expired",          ending_in(0),                              expired,    expired),
        ("nothing to renew", without_refresh_token(60),                 absent,     absent),
        ("asked again",      refused(now()),                            postpone,   postpone),
        ("not asked yet",    refused(later(now(), SECOND)),             look,       look),
    ];
    let settings = Settings { pauses: Pauses { second_opinions: vec![HOUR], ..pauses() }, ..settings() };
    for (name, grant, idle, used) in lines {
        let unreadable = Some(Obstacle::Unreadable);
        assert_eq!(grant.chore(None, unreadable, &settings, true, now()), idle, "{name}, idle");
        assert_eq!(grant.chore(in_use(), unreadable, &settings, true, now()), used, "{name}, in use");
        let damaged = grant.chore(in_use(), Some(Obstacle::Damaged), &settings, true, now());
        assert_eq!(damaged, postpone, "{name}: nothing is known of it");
    }
    let unsure = ending_in(7).chore(None, Some(Obstacle::Unreadable), &settings, false, now());
    assert_eq!(unsure, postpone, "the clocks differ");
}

#[test]
fn a_row_that_cannot_be_read_wakes_again_in_an_hour_used_or_not() {
    assert_eq!(Wake::of_unreadable(now()), Wake { at: Some(later(now(), HOUR)), if_used: None });
    assert_eq!(DAMAGED_LISTED_AS, ListedAs::Authenticated);
}
