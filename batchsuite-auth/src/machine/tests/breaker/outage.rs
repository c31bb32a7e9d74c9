//! UPS is out of reach.

use super::*;

/// UPS is out of reach since second 1, and the first trial may begin at second 5.
fn out_of_reach() -> Breaker {
    let mut breaker = proven();
    play(&mut breaker, &[("a", 1, Silence, false), ("a", 2, Silence, false), ("b", 3, Silence, true)]);
    breaker
}

#[test]
fn three_requests_in_a_row_that_got_no_answer_stop_all_refreshes_and_no_exchange() {
    let mut breaker = out_of_reach();
    assert_eq!(breaker.out_of_reach_since(), Some(at(1)), "since the first of them");
    assert_eq!(breaker.permit(Errand::Exchange, &company("c"), true, at(4)), Permit::Granted, "a code does not wait");
    assert_eq!(breaker.permit(Errand::Refresh, &company("c"), true, at(4)), Permit::Refused { until: at(5) });
    assert_eq!(breaker.blocked_until(at(4)), Some(at(5)));
    assert_eq!(breaker.blocked_until(at(5)), None);
}

#[test]
fn while_ups_is_out_of_reach_one_trial_follows_the_other_every_few_seconds() {
    let mut breaker = out_of_reach();
    let turns = [("c", 5, Silence, false), ("d", 8, Held, false), ("d", 9, Silence, false), ("e", 16, Held, false)];
    play(&mut breaker, &turns);
    // 2, 4, 8, 10, 10 … seconds.
    let turns = [("e", 17, Silence, false), ("f", 26, Held, false), ("f", 27, Silence, false), ("g", 36, Held, false)];
    play(&mut breaker, &turns);
    play(&mut breaker, &[("g", 37, Pair, false), ("h", 37, Pair, false)]);
    assert_eq!(breaker.out_of_reach_since(), None);
}

#[test]
fn a_silent_trial_holds_the_others_until_it_ends_and_one_that_was_not_sent_makes_room_at_once() {
    let mut breaker = out_of_reach();
    assert_eq!(breaker.permit(Errand::Refresh, &company("c"), true, at(5)), Permit::Trial);
    assert_eq!(breaker.permit(Errand::Refresh, &company("d"), true, at(35)), Permit::Refused { until: at(65) });
    assert!(!breaker.unreached(&company("c"), at(35)));
    breaker.ended(&company("c"), at(35));
    play(&mut breaker, &[("d", 38, Held, false), ("d", 39, Late, false), ("e", 39, Silence, false)]);

    assert_eq!(breaker.permit(Errand::Refresh, &company("f"), true, at(47)), Permit::Trial);
    play(&mut breaker, &[("g", 106, Held, false), ("g", 107, Pair, false)]);
}

#[test]
fn a_request_that_was_under_way_when_ups_went_out_of_reach_is_no_further_failure() {
    let mut breaker = out_of_reach();
    for second in 3..5 {
        assert!(!breaker.unreached(&company("z"), at(second)), "told once");
    }
    play(&mut breaker, &[("c", 5, Silence, false), ("d", 8, Held, false), ("d", 9, Pair, false)]);
}

#[test]
fn a_breaker_that_is_open_for_another_reason_stays_open_for_it() {
    let mut breaker = proven();
    play(&mut breaker, &[("a", 1, BLOCKED, false), ("b", 2, BLOCKED, true)]);
    for second in 3..9 {
        assert!(!breaker.unreached(&company("c"), at(second)));
    }
    assert_eq!(breaker.fault(), Some(&ClientFault::Blocked));
}

#[test]
fn any_answer_shows_that_ups_is_in_reach() {
    let answers: [fn(&mut Breaker) -> bool; 6] = [
        |breaker| {
            breaker.succeeded(Errand::Refresh, at(9));
            false
        },
        |breaker| {
            breaker.succeeded(Errand::Exchange, at(9));
            false
        },
        |breaker| breaker.refused(Errand::Refresh, &company("a"), true, at(9)),
        |breaker| breaker.refused(Errand::Exchange, &company("a"), false, at(9)),
        |breaker| breaker.failed(&company("a"), ClientFault::Unknown("400".into()), at(9)),
        |breaker| {
            breaker.rate_limited(Duration::from_secs(1), at(9));
            false
        },
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let mut breaker = out_of_reach();

        let opens = answer(&mut breaker);

        assert!(!opens, "answer {index}");
        assert_eq!(breaker.out_of_reach_since(), None, "answer {index}");
        let turns = [("a", 10, Silence, false), ("a", 11, Silence, false), ("a", 12, Silence, true)];
        play(&mut breaker, &turns);
        assert_eq!(breaker.out_of_reach_since(), Some(at(10)), "answer {index}: a new row begins");
    }
}

#[test]
fn an_outage_that_another_process_recorded_begins_with_a_trial_here() {
    let mut breaker = Breaker::new(PAUSE);
    assert!(!breaker.hears_of_outage(at(-100), at(0)));
    assert_eq!(breaker.out_of_reach_since(), Some(at(-100)));
    assert_eq!(breaker.permit(Errand::Refresh, &company("a"), true, at(0)), Permit::Trial);
    let held = breaker.permit(Errand::Refresh, &company("b"), true, at(0));
    assert!(matches!(held, Permit::Refused { .. }), "{held:?}");
    assert!(!breaker.unreached(&company("a"), at(1)), "told already");
    breaker.ended(&company("a"), at(1));
    let held = breaker.permit(Errand::Refresh, &company("b"), true, at(2));
    assert!(matches!(held, Permit::Refused { .. }), "one failed trial is enough: {held:?}");
    breaker.succeeded(Errand::Refresh, at(5));
    assert_eq!(breaker.fault(), None);
    assert!(breaker.hears_of_outage(at(-100), at(2)), "UPS has answered");
    assert_eq!(breaker.fault(), None);

    // A time that is over is not told.
    let mut waiting = Breaker::new(PAUSE);
    waiting.failed(&company("a"), ClientFault::Blocked, at(0));
    assert_eq!(waiting.troubles(at(29))[0].until, Some(at(30)));
    assert_eq!(waiting.troubles(at(30))[0].until, None);

    // Another fault that this process knows stays.
    let mut blocked = Breaker::new(PAUSE);
    blocked.failed(&company("a"), ClientFault::Blocked, at(0));
    assert!(blocked.hears_of_outage(at(-100), at(1)), "UPS has answered");
    assert_eq!(blocked.fault(), Some(&ClientFault::Blocked));
}
