//! A flight's next action, for every row it can read and every event.

use super::{super::*, *};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// The first delay before looking for another attempt's outcome.
const FIRST_LOOK: Duration = Duration::from_millis(25);

fn now() -> Timestamp {
    minute(1000)
}

fn patience() -> Patience {
    Patience { lease: LEASE, max_wait: 10 * SECOND, commit_retry: SECOND, refresh_pause: pauses().refresh }
}

fn flight(mode: Mode) -> Flight {
    Flight::new(Demand::Token, mode, patience())
}

fn read(grant: &Grant) -> Read<'_> {
    Read {
        grant,
        client_id: CLIENT,
        seen: grant.revision,
        is_readable: true,
        is_reserved: false,
        flown: Duration::ZERO,
        stopping: Stopping::No,
        client_fault: None,
    }
}

fn next(flight: &mut Flight, read: Read<'_>) -> Next {
    flight.next(FlightEvent::Read(read), now())
}

fn first(mode: Mode, read: Read<'_>) -> Next {
    next(&mut flight(mode), read)
}

/// The next action after the flight's attempt failed with `failed`.
fn after_failure(mode: Mode, failed: Pause, read: Read<'_>) -> Next {
    let mut flight = flight(mode);
    assert_eq!(flight.next(FlightEvent::Failed(failed), now()), Next::Wait(Wait::No));
    next(&mut flight, read)
}

const SERVE: Next = Next::Serve { refresh_next: false };
const REFRESH: Next = Next::Refresh { over: None, pause_if_late: Duration::ZERO };
const AGAIN: Next = Next::Wait(Wait::No);

fn unavailable(reason: Unavailable, retry_after: Duration) -> Pause {
    Pause::Unavailable { reason, retry_after }
}

fn look(after: Duration) -> Next {
    Next::Wait(Wait::OrChange(after))
}

/// A grant `minutes` old, whose access token lives an hour and is due after 45 minutes.
fn aged(minutes: u32) -> Grant {
    opted_in(earlier(now(), minutes * MINUTE))
}

fn fresh() -> Grant {
    aged(10)
}

fn due() -> Grant {
    aged(50)
}

fn ended() -> Grant {
    aged(60)
}

fn claimed_by(by: u128, rest: Duration) -> Phase {
    Phase::Claimed { attempt: attempt(by), at: earlier(later(now(), rest), LEASE), lease_until: later(now(), rest) }
}

fn claimed(rest: Duration, grant: Grant) -> Grant {
    Grant { phase: claimed_by(1, rest), ..grant }
}

fn in_doubt(rest: Duration, grant: Grant) -> Grant {
    let unanswered = Some(Unanswered { attempt: Some(attempt(1)), echo_until: now() });
    Grant { phase: Phase::InDoubt { lease_until: later(now(), rest) }, unanswered, ..grant }
}

fn paused(rest: Duration, grant: Grant) -> Grant {
    Grant { retry_at: Some(later(now(), rest)), ..grant }
}

fn lost(grant: Grant) -> Grant {
    Grant { standing: Standing::ReauthRequired(RecordedCause::RotationLost), ..grant }
}

#[test]
fn every_row_that_it_can_read_has_one_answer() {
    let reauthenticate = || Next::Fail(Failure::Reauthenticate(CauseKind::RotationLost));
    let unanswered = |rest| Next::Pause(unavailable(Unavailable::Unanswered, rest));
    let paused_for = |rest| Next::Pause(unavailable(Unavailable::Paused, rest));
    let (soon, long) = (10 * SECOND, 11 * SECOND);
    let for_its_holder = || Next::Wait(Wait::Whole(2 * SECOND));
    #[rustfmt::skip]
    let lines = [
        // what was read                               callers wait                       nobody waits
        ("fresh",            fresh(),                  SERVE,                             SERVE),
        ("due",              due(),                    Next::Serve { refresh_next: true }, REFRESH),
        ("ended",            ended(),                  REFRESH,                           REFRESH),
        ("never",            Grant::default(),         Next::Fail(Failure::NotAuthenticated), Next::Fail(Failure::NotAuthenticated)),
        ("lost, fresh",      lost(fresh()),            SERVE,                             SERVE),
        ("lost, ended",      lost(ended()),            reauthenticate(),                  reauthenticate()),
        ("claimed, due",     claimed(long, due()),     SERVE,                             SERVE),
        ("claimed, ended",   claimed(long, ended()),   look(FIRST_LOOK),                  look(FIRST_LOOK)),
        ("claimed, nearly",  claimed(MILLISECOND, ended()), look(FIRST_LOOK),             look(FIRST_LOOK)),
        ("unrecorded, due",  claimed(Duration::ZERO, due()), Next::Serve { refresh_next: true }, for_its_holder()),
        ("unrecorded",       claimed(Duration::ZERO, ended()), for_its_holder(),          for_its_holder()),
        ("in doubt, due",    in_doubt(long, due()),    SERVE,                             SERVE),
        ("in doubt, soon",   in_doubt(soon, ended()),  look(FIRST_LOOK),                  look(FIRST_LOOK)),
        ("in doubt, long",   in_doubt(long, ended()),  unanswered(long),                  unanswered(long)),
        ("in doubt, over",   in_doubt(Duration::ZERO, ended()), REFRESH,                  REFRESH),
        ("paused, due",      paused(soon, due()),      SERVE,                             SERVE),
        ("paused, ended",    paused(soon, ended()),    paused_for(soon),                  paused_for(soon)),
        ("probe, paused",    paused(soon, in_doubt(Duration::ZERO, ended())), unanswered(soon), unanswered(soon)),
    ];
    for (name, grant, for_callers, for_nobody) in lines {
        assert_eq!(first(Mode::Foreground, read(&grant)), for_callers, "{name}, callers wait");
        assert_eq!(first(Mode::Background, read(&grant)), for_nobody, "{name}, nobody waits");

        // A row that the keeper took is only good for a refresh; for anything else it is read again.
        let begins = [REFRESH, for_its_holder()].contains(&for_nobody);
        let expected = if begins { for_nobody } else { AGAIN };
        let reserved = Read { is_reserved: true, ..read(&grant) };
        assert_eq!(first(Mode::Background, reserved), expected, "{name}, reserved");
    }
}

#[test]
fn a_row_below_what_this_process_has_seen_is_marked_once() {
    fn below(grant: &Grant) -> Read<'_> {
        Read { seen: Revision { version: grant.revision.version + 1, ..grant.revision }, ..read(grant) }
    }
    for (name, grant) in
        [("fresh", fresh()), ("ended", ended()), ("lost", lost(ended())), ("claimed", claimed(SECOND, due()))]
    {
        assert_eq!(first(Mode::Foreground, below(&grant)), Next::Mark, "{name}");
        assert_eq!(first(Mode::Background, Read { is_reserved: true, ..below(&grant) }), AGAIN, "{name}, reserved");

        let marked = grant.on(&GrantEvent::Restore { at: now() }, &pauses(), now()).unwrap().grant;
        assert_eq!(first(Mode::Foreground, below(&marked)), first(Mode::Foreground, read(&marked)), "{name}, marked");
        assert_ne!(first(Mode::Foreground, read(&grant)), Next::Mark, "{name}, not below");
    }
    let removed = Grant { revision: fresh().revision, ..Grant::default() };
    assert_eq!(first(Mode::Foreground, below(&removed)), Next::Fail(Failure::NotAuthenticated), "nothing to mark");
}

#[test]
fn a_demand_for_a_new_token_refreshes_one_that_is_fresh() {
    let grant = fresh();
    let former = Revision { version: 2, ..grant.revision };
    for (demand, mode, expected) in [
        (Demand::Rejected(grant.revision), Mode::Foreground, REFRESH),
        (Demand::Rejected(former), Mode::Foreground, SERVE),
        (Demand::Renew(grant.revision), Mode::Background, REFRESH),
        (Demand::Renew(former), Mode::Background, SERVE),
    ] {
        let mut flight = Flight::new(demand, mode, patience());

        assert_eq!(next(&mut flight, read(&grant)), expected, "{demand:?}");
    }
}

#[test]
fn tokens_that_cannot_be_read_are_an_operators_matter_unless_a_new_opt_in_is_needed_anyway() {
    let unreadable = Next::Fail(Failure::Unreadable);
    let lost = Next::Fail(Failure::Reauthenticate(CauseKind::RotationLost));
    for (grant, expected) in [
        (fresh(), unreadable.clone()),
        (due(), unreadable.clone()),
        (ended(), unreadable.clone()),
        (claimed(SECOND, ended()), unreadable.clone()),
        (paused(SECOND, ended()), unreadable.clone()),
        (self::lost(ended()), lost),
        (Grant::default(), Next::Fail(Failure::NotAuthenticated)),
    ] {
        let read = Read { is_readable: false, ..read(&grant) };
        assert_eq!(first(Mode::Foreground, read), expected, "{grant:?}");
    }
    let ended = ended();
    let reserved = Read { is_readable: false, is_reserved: true, ..read(&ended) };
    assert_eq!(first(Mode::Background, reserved), unreadable);
}

#[test]
fn after_a_failed_attempt_it_begins_no_other_and_says_why() {
    let failed = || unavailable(Unavailable::NotSent, 3 * SECOND);
    let of_row = |rest| Next::Pause(unavailable(Unavailable::NotSent, rest));
    for mode in [Mode::Foreground, Mode::Background] {
        for (grant, expected) in [
            (fresh(), SERVE),
            // The token still works: it is served, and no refresh follows.
            (due(), SERVE),
            (ended(), Next::Pause(failed())),
            // The attempt gives the reason, the row gives the time.
            (paused(7 * SECOND, ended()), of_row(7 * SECOND)),
            (in_doubt(11 * SECOND, ended()), of_row(11 * SECOND)),
            (claimed(11 * SECOND, ended()), look(FIRST_LOOK)),
            (lost(ended()), Next::Fail(Failure::Reauthenticate(CauseKind::RotationLost))),
        ] {
            assert_eq!(after_failure(mode, failed(), read(&grant)), expected, "{mode:?}: {grant:?}");
        }
    }
}

#[test]
fn ups_refusing_the_application_is_told_in_its_own_words() {
    let evidence = Box::new(Evidence::message("10401"));
    let refused = Pause::Misconfigured { evidence, retry_after: MINUTE };
    let (ended, paused) = (ended(), paused(SECOND, ended()));
    let at_fault = |grant| Read { client_fault: Some(&refused), ..read(grant) };

    assert_eq!(
        first(Mode::Foreground, at_fault(&paused)),
        Next::Pause(refused.clone()),
        "it is why the company pauses"
    );
    assert_eq!(first(Mode::Foreground, at_fault(&ended)), REFRESH, "the breaker itself says whether it is sent");
    let silent = unavailable(Unavailable::NotSent, SECOND);
    assert_eq!(after_failure(Mode::Foreground, silent.clone(), at_fault(&paused)), Next::Pause(silent));
    for grant in [&ended, &paused] {
        assert_eq!(after_failure(Mode::Foreground, refused.clone(), read(grant)), Next::Pause(refused.clone()));
    }
}

#[test]
fn after_a_failure_of_the_store_it_does_not_wait_for_a_claim_that_may_be_its_own() {
    for (grant, expected) in [
        (claimed(11 * SECOND, ended()), Next::Pause(Pause::Store)),
        (ended(), Next::Pause(Pause::Store)),
        (paused(SECOND, ended()), Next::Pause(Pause::Store)),
        (fresh(), SERVE),
    ] {
        assert_eq!(after_failure(Mode::Foreground, Pause::Store, read(&grant)), expected, "{grant:?}");
    }
}

#[test]
fn it_looks_for_anothers_outcome_less_and_less_often_and_at_the_end_of_the_lease() {
    let mut flight = flight(Mode::Foreground);
    let looks = [25, 50, 100, 200, 400, 800, 1000, 1000].map(|milliseconds| milliseconds * MILLISECOND);
    for after in looks {
        assert_eq!(next(&mut flight, read(&claimed(40 * SECOND, ended()))), look(after));
    }
    assert_eq!(next(&mut flight, read(&claimed(300 * MILLISECOND, ended()))), look(300 * MILLISECOND));
    assert_eq!(next(&mut flight, read(&claimed(MILLISECOND, ended()))), look(FIRST_LOOK));
}

#[test]
fn what_happened_to_its_attempt_is_read_from_the_row() {
    let mut flight = flight(Mode::Foreground);
    assert_eq!(flight.next(FlightEvent::Settled, now()), AGAIN);
    // Another attempt was first: the flight looks for its outcome.
    assert_eq!(flight.next(FlightEvent::Lost, now()), look(FIRST_LOOK));
    assert_eq!(flight.next(FlightEvent::Lost, now()), look(2 * FIRST_LOOK));
    assert_eq!(next(&mut flight, read(&ended())), REFRESH);
}

#[test]
fn it_waits_two_leases_in_all() {
    fn flown(grant: &Grant, flown: Duration) -> Read<'_> {
        Read { flown, ..read(grant) }
    }
    let (nearly, over) = (2 * LEASE - MILLISECOND, 2 * LEASE);
    for (grant, before, after) in [
        (claimed(30 * SECOND, ended()), look(FIRST_LOOK), unavailable(Unavailable::UnderWay, 30 * SECOND)),
        (in_doubt(9 * SECOND, ended()), look(FIRST_LOOK), unavailable(Unavailable::Unanswered, 9 * SECOND)),
        (ended(), REFRESH, unavailable(Unavailable::UnderWay, SECOND)),
    ] {
        assert_eq!(first(Mode::Foreground, flown(&grant, nearly)), before, "{grant:?}");
        assert_eq!(first(Mode::Foreground, flown(&grant, over)), Next::Pause(after), "{grant:?}");
    }
    assert_eq!(first(Mode::Foreground, flown(&fresh(), over)), SERVE);
}

#[test]
fn the_holder_of_an_unrecorded_attempt_gets_its_time_once() {
    let unrecorded = |by| Grant { phase: claimed_by(by, Duration::ZERO), ..ended() };
    let wait = Next::Wait(Wait::Whole(2 * SECOND));
    let over = |by| Next::Refresh { over: Some(attempt(by)), pause_if_late: Duration::ZERO };
    let mut flight = flight(Mode::Background);
    for (by, expected) in [(1, wait.clone()), (1, over(1)), (1, over(1)), (2, wait.clone()), (2, over(2)), (1, wait)] {
        assert_eq!(next(&mut flight, read(&unrecorded(by))), expected, "attempt {by}");
    }
}

#[test]
fn a_process_that_stops_begins_nothing() {
    fn stopping(grant: &Grant, stopping: Stopping) -> Read<'_> {
        Read { stopping, ..read(grant) }
    }
    let (shut_down, quiet) = (Next::Pause(Pause::ShutDown), unavailable(Unavailable::Paused, FIRST_LOOK));
    let (ended, fresh, due) = (ended(), fresh(), due());
    #[rustfmt::skip]
    let lines = [
        // what was read  stopping          callers wait                        nobody waits
        (&fresh,          Stopping::Quiet,  SERVE,                              SERVE),
        (&fresh,          Stopping::Ended,  SERVE,                              SERVE),
        (&due,            Stopping::Quiet,  Next::Serve { refresh_next: true }, Next::Pause(quiet.clone())),
        (&due,            Stopping::Ended,  Next::Serve { refresh_next: true }, shut_down.clone()),
        (&ended,          Stopping::Quiet,  REFRESH,                            Next::Pause(quiet)),
        (&ended,          Stopping::Ended,  shut_down.clone(),                  shut_down.clone()),
    ];
    for (grant, stop, for_callers, for_nobody) in lines {
        assert_eq!(first(Mode::Foreground, stopping(grant, stop)), for_callers, "{stop:?}: {grant:?}");
        assert_eq!(first(Mode::Background, stopping(grant, stop)), for_nobody, "{stop:?}: {grant:?}");
    }

    // It no longer waits for other attempts.
    let under_way = claimed(11 * SECOND, ended.clone());
    let expected = Next::Pause(unavailable(Unavailable::UnderWay, 11 * SECOND));
    assert_eq!(first(Mode::Foreground, stopping(&under_way, Stopping::Ended)), expected);
    assert_eq!(first(Mode::Foreground, stopping(&under_way, Stopping::Quiet)), look(FIRST_LOOK));
    // Its own attempt's reason comes first.
    let failed = unavailable(Unavailable::NotSent, SECOND);
    let told = after_failure(Mode::Foreground, failed.clone(), stopping(&ended, Stopping::Ended));
    assert_eq!(told, Next::Pause(failed));
}

#[test]
fn attempts_that_come_too_late_are_repeated_with_a_rest_and_then_the_company_pauses() {
    let (mut flight, ended) = (flight(Mode::Foreground), ended());
    for rest in [25, 50, 100, 200, 400, 800, 1000] {
        assert_eq!(next(&mut flight, read(&ended)), REFRESH);
        assert_eq!(flight.next(FlightEvent::Late, now()), Next::Wait(Wait::Whole(rest * MILLISECOND)));
    }
    let pause = 2 * SECOND;
    assert_eq!(next(&mut flight, read(&ended)), Next::Refresh { over: None, pause_if_late: pause });
    assert_eq!(flight.next(FlightEvent::Late, now()), AGAIN);

    let not_sent = |rest| Next::Pause(unavailable(Unavailable::NotSent, rest));
    assert_eq!(next(&mut flight.clone(), read(&ended)), not_sent(pause));
    assert_eq!(next(&mut flight.clone(), read(&paused(SECOND, ended))), not_sent(SECOND));
    assert_eq!(next(&mut flight, read(&due())), SERVE);
}
