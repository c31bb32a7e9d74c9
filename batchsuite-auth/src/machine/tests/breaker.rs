mod outage;

use std::time::Duration;

use super::super::{Backoff, Breaker, ClientFault, Errand, Permit, UpsTroubleKind};
use crate::{clock::Timestamp, ids::CompanyId};

const PAUSE: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(900) };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn company(name: &str) -> CompanyId {
    CompanyId::new(name).unwrap()
}

/// The outcome of a company's request, or that it is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Comes {
    Pair,
    Refused,
    Fault(ClientFault),
    /// The breaker holds it back.
    Held,
    /// It did not reach UPS, or got no answer.
    Silence,
    /// It came too late to be sent.
    Late,
}

use Comes::{Held, Late, Pair, Refused, Silence};

const MISCONFIGURED: Comes = Comes::Fault(ClientFault::Misconfigured);
const BLOCKED: Comes = Comes::Fault(ClientFault::Blocked);

fn unknown(text: &str) -> Comes {
    Comes::Fault(ClientFault::Unknown(text.into()))
}

/// Plays one request after the other: the company, the second, the outcome, and whether the breaker opens.
fn play(breaker: &mut Breaker, turns: &[(&str, i64, Comes, bool)]) {
    for (turn, (name, second, comes, opens)) in turns.iter().enumerate() {
        let (company, now) = (company(name), at(*second));
        let permit = breaker.permit(Errand::Refresh, &company, true, now);
        let is_held = matches!(permit, Permit::Refused { .. });
        assert_eq!(is_held, *comes == Held, "turn {turn}, {name} at {second}: {permit:?}");
        let opened = match comes {
            Held => continue,
            Pair => {
                breaker.succeeded(Errand::Refresh, now);
                false
            }
            Refused => breaker.refused(Errand::Refresh, &company, false, now),
            Comes::Fault(fault) => breaker.failed(&company, fault.clone(), now),
            Silence => breaker.unreached(&company, now),
            Late => false,
        };
        breaker.ended(&company, now);
        assert_eq!(opened, *opens, "turn {turn}, {name} at {second}: {comes:?}");
    }
}

/// A breaker whose client UPS has accepted, so that no answer is the first one.
fn proven() -> Breaker {
    let mut breaker = Breaker::new(PAUSE);
    breaker.succeeded(Errand::Exchange, at(0));
    breaker
}

#[test]
fn the_first_answer_since_the_start_opens_it_and_is_the_only_request() {
    for fault in [MISCONFIGURED, BLOCKED] {
        play(&mut Breaker::new(PAUSE), &[("a", 0, fault, true), ("b", 0, Held, false), ("a", 29, Held, false)]);
    }
    // Any answer counts.
    for answer in [Pair, Refused, unknown("400")] {
        play(
            &mut Breaker::new(PAUSE),
            &[("a", 0, answer, false), ("b", 1, MISCONFIGURED, false), ("b", 9, MISCONFIGURED, false)],
        );
    }
}

#[test]
fn two_different_companies_in_a_row_open_it_and_one_alone_never_does() {
    play(&mut proven(), &[("a", 0, MISCONFIGURED, false), ("b", 0, MISCONFIGURED, true), ("c", 0, Held, false)]);
    play(&mut proven(), &[("a", 0, BLOCKED, false), ("b", 0, MISCONFIGURED, true)]);
    // One company counts once, and a success or a refused refresh token starts the count again.
    play(
        &mut proven(),
        &[
            ("a", 0, MISCONFIGURED, false),
            ("a", 9, BLOCKED, false),
            ("a", 99, MISCONFIGURED, false),
            ("b", 99, Pair, false),
        ],
    );
    for between in [Pair, Refused] {
        let turns = [
            ("sick", 0, MISCONFIGURED, false),
            ("b", 1, between, false),
            ("c", 2, MISCONFIGURED, false),
            ("d", 3, Pair, false),
        ];
        play(&mut proven(), &turns);
    }
}

#[test]
fn one_sick_company_never_holds_up_the_others() {
    let mut breaker = proven();
    for round in 0..100 {
        for (name, comes) in [("sick", MISCONFIGURED), ("b", Pair), ("c", Pair)] {
            play(&mut breaker, &[(name, round * 60, comes, false)]);
        }
    }
}

#[test]
fn half_open_lets_one_trial_through_and_its_success_closes_it() {
    let mut breaker = Breaker::new(PAUSE);
    play(&mut breaker, &[("a", 0, MISCONFIGURED, true), ("b", 1, Held, false)]);

    assert_eq!(breaker.permit(Errand::Refresh, &company("b"), true, at(30)), Permit::Trial);
    assert_eq!(breaker.permit(Errand::Refresh, &company("c"), true, at(30)), Permit::Refused { until: at(60) });

    breaker.succeeded(Errand::Refresh, at(31));
    assert_eq!(breaker.permit(Errand::Refresh, &company("a"), true, at(31)), Permit::Granted);
}

#[test]
fn the_trial_goes_to_another_company_if_there_is_one() {
    // The failed company asks first, but another one has asked before.
    play(
        &mut Breaker::new(PAUSE),
        &[("sick", 0, MISCONFIGURED, true), ("b", 1, Held, false), ("sick", 30, Held, false), ("b", 31, Pair, false)],
    );
    // No other company has asked, or the other one no longer asks.
    play(
        &mut Breaker::new(PAUSE),
        &[("sick", 0, MISCONFIGURED, true), ("sick", 30, MISCONFIGURED, false), ("sick", 90, Pair, false)],
    );
    play(
        &mut Breaker::new(PAUSE),
        &[
            ("sick", 0, MISCONFIGURED, true),
            ("b", 1, Held, false),
            ("sick", 30, Held, false),
            ("sick", 60, MISCONFIGURED, false),
        ],
    );
    // Two failing companies: neither gets a third trial before another company had one.
    play(
        &mut proven(),
        &[
            ("a", 0, MISCONFIGURED, false),
            ("b", 0, MISCONFIGURED, true),
            ("c", 1, Held, false),
            ("a", 30, MISCONFIGURED, false),
            ("c", 31, Held, false),
            ("a", 90, MISCONFIGURED, false),
            ("c", 91, Held, false),
            ("a", 210, Held, false),
            ("c", 211, Pair, false),
            ("a", 212, Pair, false),
        ],
    );
}

#[test]
fn each_failed_trial_doubles_the_pause_up_to_the_most() {
    let mut breaker = Breaker::new(PAUSE);
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..7 {
        breaker.failed(&company("a"), ClientFault::Misconfigured, at(now));
        let Permit::Refused { until } = breaker.permit(Errand::Refresh, &company("a"), true, at(now)) else {
            panic!("it is open")
        };
        assert_eq!(breaker.open_until(), Some(until));
        pauses.push((until - at(now)).num_seconds());
        now += pauses.last().unwrap();
        assert_eq!(breaker.permit(Errand::Refresh, &company("a"), true, at(now)), Permit::Trial);
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900]);
}

#[test]
fn failures_that_were_on_their_way_together_count_as_one() {
    let mut breaker = Breaker::new(PAUSE);
    for name in ["a", "b", "c", "a"] {
        breaker.failed(&company(name), ClientFault::Misconfigured, at(0));
    }
    assert_eq!(breaker.open_until(), Some(at(30)));

    // A late success does not end another company's trial.
    assert_eq!(breaker.permit(Errand::Refresh, &company("d"), true, at(30)), Permit::Trial);
    breaker.failed(&company("b"), ClientFault::Misconfigured, at(31));
    breaker.failed(&company("d"), ClientFault::Misconfigured, at(32));

    assert_eq!(breaker.open_until(), Some(at(92)));
}

#[test]
fn a_trial_that_never_reports_is_followed_by_another() {
    let mut breaker = Breaker::new(PAUSE);
    breaker.failed(&company("a"), ClientFault::Misconfigured, at(0));

    for second in [30, 60] {
        assert_eq!(breaker.permit(Errand::Refresh, &company("a"), true, at(second)), Permit::Trial);
    }
}

#[test]
fn while_ups_has_not_accepted_the_client_three_requests_are_under_way_at_most() {
    let ask =
        |breaker: &mut Breaker, name: &str, second| breaker.permit(Errand::Refresh, &company(name), true, at(second));
    let mut breaker = Breaker::new(PAUSE);
    for name in ["a", "b", "c"] {
        assert_eq!(ask(&mut breaker, name, 0), Permit::Granted);
    }
    assert_eq!(ask(&mut breaker, "d", 0), Permit::Wait);
    breaker.ended(&company("a"), at(0));
    assert_eq!(ask(&mut breaker, "d", 0), Permit::Granted, "one of them has ended without an answer");
    assert_eq!(ask(&mut breaker, "e", 0), Permit::Wait);
    assert_eq!(breaker.permit(Errand::Refresh, &company("e"), false, at(0)), Permit::Granted, "nobody waits for ever");

    // A success ends the waiting, as long as it counts as proof.
    breaker.succeeded(Errand::Refresh, at(1));
    assert_eq!(ask(&mut breaker, "f", 1), Permit::Granted);
    assert_eq!(ask(&mut breaker, "g", 61), Permit::Wait);
    breaker.refused(Errand::Exchange, &company("a"), false, at(61));
    assert_eq!(ask(&mut breaker, "g", 61), Permit::Granted);

    // A company with a client fault counts as one of the three.
    let mut breaker = proven();
    assert_eq!(ask(&mut breaker, "a", 1), Permit::Granted);
    breaker.failed(&company("a"), ClientFault::Misconfigured, at(1));
    breaker.ended(&company("a"), at(0));
    assert_eq!((ask(&mut breaker, "b", 1), ask(&mut breaker, "c", 1)), (Permit::Granted, Permit::Granted));
    assert_eq!(ask(&mut breaker, "d", 1), Permit::Wait);
}

#[test]
fn an_unknown_refusal_opens_it_only_when_three_companies_in_a_row_got_the_same() {
    let same = || unknown("400 new");
    let mut breaker = Breaker::new(PAUSE);

    for name in ["a", "a", "a", "b", "a"] {
        play(&mut breaker, &[(name, 0, same(), false)]);
    }
    play(&mut breaker, &[("x", 0, unknown("400 other"), false)]);
    play(&mut breaker, &[("a", 0, same(), false), ("b", 0, same(), false), ("c", 0, Pair, false)]);
    play(&mut breaker, &[("a", 0, same(), false), ("b", 0, same(), false), ("c", 0, same(), true)]);
    play(&mut breaker, &[("d", 0, Held, false), ("a", 30, Pair, false)]);
}

#[test]
fn three_different_companies_refused_within_ten_minutes_open_it_for_the_whole_client() {
    let mut breaker = proven();
    play(&mut breaker, &[("a", 0, Refused, false), ("a", 1, Refused, false), ("b", 300, Refused, false)]);
    play(&mut breaker, &[("c", 599, Refused, true), ("d", 600, Held, false)]);
    assert_eq!(breaker.fault(), Some(&ClientFault::Wave));

    // A refused trial makes the pause longer; a successful one ends it.
    play(&mut breaker, &[("d", 629, Refused, false), ("e", 688, Held, false), ("e", 689, Pair, false)]);
    play(&mut breaker, &[("f", 690, Refused, false), ("g", 690, Refused, false), ("h", 690, Refused, true)]);
}

#[test]
fn refusals_that_are_the_companies_own_matter_open_nothing() {
    // The first refusal is ten minutes old; then a success comes in between.
    play(&mut proven(), &[("a", 0, Refused, false), ("b", 300, Refused, false), ("c", 600, Refused, false)]);
    let turns = [("a", 0, Refused, false), ("b", 1, Refused, false), ("c", 2, Pair, false), ("d", 3, Refused, false)];
    play(&mut proven(), &turns);
    // Refused codes do not count.
    let mut breaker = proven();
    for name in ["a", "b", "c", "d"] {
        assert!(!breaker.refused(Errand::Exchange, &company(name), false, at(0)));
    }
    // Nor do refusals that lost answers explain.
    let mut breaker = proven();
    for name in ["a", "b", "c", "d"] {
        assert!(!breaker.refused(Errand::Refresh, &company(name), true, at(0)));
    }
    // Nor do refusals dated by a clock that ran ahead.
    let mut breaker = proven();
    play(&mut breaker, &[("a", 86_400, Refused, false), ("b", 86_400, Refused, false), ("c", 0, Refused, false)]);
}

#[test]
fn an_exchange_asks_it_and_counts_and_is_not_held_up_by_refused_refresh_tokens() {
    let exchange = |breaker: &mut Breaker, second| breaker.permit(Errand::Exchange, &company("x"), true, at(second));
    for fault in [ClientFault::Misconfigured, ClientFault::Blocked] {
        let mut breaker = Breaker::new(PAUSE);
        breaker.failed(&company("a"), fault, at(0));
        assert_eq!(exchange(&mut breaker, 1), Permit::Refused { until: at(30) });
        assert_eq!(exchange(&mut breaker, 30), Permit::Trial);
        breaker.succeeded(Errand::Exchange, at(31));
        assert_eq!(breaker.fault(), None, "a pair shows that UPS accepts the client");
    }
    let mut breaker = proven();
    for name in ["a", "b", "c"] {
        breaker.refused(Errand::Refresh, &company(name), false, at(0));
    }
    assert_eq!(exchange(&mut breaker, 1), Permit::Granted);
    breaker.succeeded(Errand::Exchange, at(1));
    assert_eq!(breaker.fault(), Some(&ClientFault::Wave), "a new opt-in says nothing about refresh tokens");
    assert!(!breaker.failed(&company("x"), ClientFault::Misconfigured, at(2)));
    assert!(
        breaker.failed(&company("y"), ClientFault::Misconfigured, at(2)),
        "but a client that is refused stops the exchanges, too"
    );
    assert_eq!(exchange(&mut breaker, 3), Permit::Refused { until: at(32) });
}

#[test]
fn a_pause_that_was_set_by_a_wrong_clock_ends_with_it() {
    let mut breaker = Breaker::new(PAUSE);
    let year = 365 * 86_400;
    breaker.failed(&company("a"), ClientFault::Misconfigured, at(year));
    breaker.rate_limited(Duration::from_secs(60), at(year));

    assert_eq!(breaker.permit(Errand::Refresh, &company("a"), true, at(0)), Permit::Trial);
}

#[test]
fn a_rate_limit_is_obeyed_for_an_hour_at_most() {
    let mut breaker = Breaker::new(PAUSE);
    breaker.rate_limited(Duration::MAX, at(0));

    play(&mut breaker, &[("a", 3599, Held, false), ("a", 3600, Pair, false)]);
}

#[test]
fn a_rate_limit_pauses_the_whole_client_and_the_longer_pause_wins() {
    let mut breaker = Breaker::new(PAUSE);
    breaker.rate_limited(Duration::from_secs(60), at(0));
    breaker.rate_limited(Duration::from_secs(5), at(1));

    assert_eq!(breaker.permit(Errand::Exchange, &company("a"), true, at(59)), Permit::Refused { until: at(60) });
    play(&mut breaker, &[("a", 59, Held, false), ("a", 60, Pair, false)]);
}

#[test]
fn whoever_opened_it_beside_another_has_the_next_trial_and_after_two_trials_of_its_own_lets_others_go_first() {
    let mut breaker = proven();
    // Two companies had failed, so neither is the odd one: the next trial is open to both, although a third has asked.
    play(
        &mut breaker,
        &[
            ("a", 0, MISCONFIGURED, false),
            ("b", 0, MISCONFIGURED, true),
            ("c", 1, Held, false),
            ("b", 31, MISCONFIGURED, false),
            // One of its own trials failed.
            ("c", 40, Held, false),
            ("b", 92, MISCONFIGURED, false),
            // Two of its trials failed: for a while another company goes first.
            ("c", 100, Held, false),
            ("b", 213, Held, false),
            ("c", 213, Pair, false),
        ],
    );
}

#[test]
fn a_client_error_of_one_company_is_no_failure_of_its_own_when_something_else_opens_it() {
    let mut breaker = proven();
    // "a" got the client's error alone. "b", whose silence opened it, stays the only one that failed.
    play(&mut breaker, &[("a", 1, MISCONFIGURED, false), ("b", 2, Silence, false), ("b", 3, Silence, false)]);
    play(&mut breaker, &[("b", 4, Silence, true), ("c", 5, Held, false)]);
    let until = breaker.open_until().unwrap();
    assert!(matches!(breaker.permit(Errand::Refresh, &company("b"), true, until), Permit::Refused { .. }));
    assert_eq!(breaker.permit(Errand::Refresh, &company("c"), true, until), Permit::Trial);
}

#[test]
fn the_one_company_whose_answer_opened_it_lets_another_go_first() {
    let turns =
        |text: &str| [("a", 0, unknown(text), false), ("b", 0, unknown(text), false), ("c", 0, unknown(text), true)];
    let mut breaker = proven();
    play(&mut breaker, &turns("400"));
    play(&mut breaker, &[("d", 1, Held, false), ("c", 31, Held, false), ("d", 31, Pair, false)]);
}

#[test]
fn each_trouble_is_told_with_its_beginning_and_the_next_try() {
    let told = |breaker: &Breaker, now| {
        let troubles = breaker.troubles(at(now)).into_iter();
        troubles.map(|trouble| (trouble.kind, trouble.since, trouble.until)).collect::<Vec<_>>()
    };
    let mut breaker = proven();
    assert_eq!(told(&breaker, 0), []);

    play(&mut breaker, &[("a", 1, BLOCKED, false), ("b", 2, BLOCKED, true)]);
    let blocked = UpsTroubleKind::ClientBlocked;
    assert_eq!(told(&breaker, 3), [(blocked, Some(at(2)), Some(at(32)))]);
    play(&mut breaker, &[("c", 32, BLOCKED, false)]);
    assert_eq!(told(&breaker, 33), [(blocked, Some(at(2)), Some(at(92)))], "a failed trial is no new beginning");
    play(&mut breaker, &[("d", 92, MISCONFIGURED, false)]);
    assert_eq!(told(&breaker, 93)[0].1, Some(at(92)), "another trouble is");

    let mut breaker = proven();
    breaker.rate_limited(Duration::from_secs(60), at(5));
    let limited = UpsTroubleKind::RateLimited;
    assert_eq!(told(&breaker, 64), [(limited, Some(at(5)), Some(at(65)))]);
    breaker.rate_limited(Duration::from_secs(4), at(64));
    assert_eq!(told(&breaker, 65), [(limited, Some(at(5)), Some(at(68)))], "the same pause goes on");
    assert_eq!(told(&breaker, 68), []);
    for second in 70..73 {
        breaker.unreached(&company("a"), at(second));
    }
    assert_eq!(told(&breaker, 73), [(UpsTroubleKind::OutOfReach, Some(at(70)), Some(at(74)))]);
}
