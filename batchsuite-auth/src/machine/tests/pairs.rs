//! The times of a pair, and pairs that lack a token.

use super::{super::*, steps::*, *};

#[test]
fn an_import_is_dated_up_to_five_minutes_ahead_and_ends_later_than_now() {
    let of = |issued_at, refresh| {
        let pair = PairTimes { refresh, ..pair(minute(50)) };
        let import = Import { pair, ..import(&Grant::default(), Some(issued_at)) };
        refusal(&Grant::default(), &GrantEvent::Import(Box::new(import)), minute(50))
    };
    let (moment, unknown) = (Duration::from_micros(1), PairRefresh::New(None));

    assert_eq!(of(minute(55), unknown), None);
    assert_eq!(of(later(minute(55), moment), unknown), Some(StepRefusal::IssuedAhead));
    assert_eq!(of(minute(9), PairRefresh::New(Some(moment))), None);
    assert_eq!(of(minute(9), PairRefresh::New(Some(Duration::ZERO))), Some(StepRefusal::Ended));
}

#[test]
fn a_pair_s_early_window_is_a_quarter_of_its_life_and_its_refresh_is_due_in_the_first_half() {
    let facts = |access_lifetime| PairFacts {
        issued_at: None,
        access_lifetime,
        has_access_token: true,
        refresh: PairRefresh::New(Some(DAY)),
    };
    for (lifetime, jitter, refresh_after) in [
        (HOUR, 0.0, 45 * MINUTE),
        (HOUR, 1.0, 45 * MINUTE + 450 * Duration::from_secs(1)),
        (4 * HOUR, 0.0, 4 * HOUR - 30 * MINUTE),
        (4 * HOUR, 1.0, 4 * HOUR - 15 * MINUTE),
        (Duration::ZERO, 1.0, Duration::ZERO),
    ] {
        let times = PairTimes::of(&facts(lifetime), minute(0), None, 30 * MINUTE, jitter, minute(0));
        assert_eq!(
            (times.access_lifetime, times.refresh_after),
            (Some(lifetime), refresh_after),
            "{lifetime:?} {jitter}"
        );
    }
    let unusable = PairFacts { has_access_token: false, ..facts(HOUR) };
    assert_eq!(PairTimes::of(&unusable, minute(0), None, HOUR, 0.0, minute(0)).access_lifetime, None);
}

#[test]
fn an_end_that_is_dated_by_a_clock_that_went_back_is_unknown() {
    let (ahead, now) = (Some(later(minute(0), 25 * HOUR)), Some(minute(0)));
    for (issued_at, latest, lifetime) in [
        (ahead, ahead, None),
        (ahead, now, Some(DAY)),
        (ahead, None, Some(DAY)),
        (now, ahead, Some(DAY)),
        (None, ahead, Some(DAY)),
    ] {
        let refresh = PairRefresh::New(Some(DAY));
        let pair = PairFacts { issued_at, access_lifetime: HOUR, has_access_token: true, refresh };
        let times = PairTimes::of(&pair, minute(0), latest, HOUR, 0.0, minute(0));
        assert_eq!(times.refresh, PairRefresh::New(lifetime), "{issued_at:?} {latest:?}");
    }
}

#[test]
fn ups_s_time_of_issue_counts_if_it_lies_between_send_and_arrival_give_or_take_five_minutes() {
    let (sent, arrived) = (minute(10), minute(11));
    for (issued_at, counts) in [(4, false), (5, true), (10, true), (16, true), (17, false)] {
        let expected = if counts { minute(issued_at) } else { arrived };
        assert_eq!(Connect::issue_time(Some(minute(issued_at)), sent, arrived), expected, "{issued_at}");
    }
    assert_eq!(Connect::issue_time(None, sent, arrived), arrived);
}

#[test]
fn a_pair_brings_its_times_counted_from_its_send() {
    let before = opted_in(minute(0));
    let end = before.tokens.unwrap().refresh_token_end;
    let (sent, lifetime) = (minute(50), Duration::from_secs(90));
    let of = |refresh, access_lifetime| PairTimes { sent_at: sent, access_lifetime, refresh_after: MINUTE, refresh };
    for (pair, access_token_end, refresh_token_end) in [
        (
            of(PairRefresh::New(Some(DAY)), Some(lifetime)),
            Some(later(sent, lifetime)),
            RefreshTokenEnd::At(later(sent, DAY)),
        ),
        (of(PairRefresh::New(None), Some(lifetime)), Some(later(sent, lifetime)), RefreshTokenEnd::Unknown),
        (of(PairRefresh::Kept, Some(lifetime)), Some(later(sent, lifetime)), end),
        (of(PairRefresh::Lost, Some(lifetime)), Some(later(sent, lifetime)), RefreshTokenEnd::Absent),
        (of(PairRefresh::New(Some(DAY)), None), None, RefreshTokenEnd::At(later(sent, DAY))),
        (of(PairRefresh::New(Some(Duration::MAX)), None), None, RefreshTokenEnd::At(later(minute(0), Duration::MAX))),
    ] {
        let stored = after(&before, &commit(before.claim_of(attempt(1)), pair), minute(55)).tokens.unwrap();

        let times =
            TokenTimes { obtained_at: sent, refresh_at: later(sent, MINUTE), access_token_end, refresh_token_end };
        assert_eq!(stored, times, "{pair:?}");
    }
}

#[test]
fn a_first_pair_without_a_refresh_token_has_none() {
    let none = Grant::default();
    for refresh in [PairRefresh::Kept, PairRefresh::Lost] {
        let first = connect(&none, minute(1), minute(2));
        let first = Connect { pair: PairTimes { refresh, ..first.pair }, ..first };

        let grant = after(&none, &GrantEvent::Connect(Box::new(first)), minute(3));

        assert_eq!(grant.tokens.unwrap().refresh_token_end, RefreshTokenEnd::Absent, "{refresh:?}");
    }
}

#[test]
fn the_first_unusable_pair_is_refreshed_at_once_and_the_next_ones_after_a_pause() {
    let unusable = PairTimes { access_lifetime: None, ..pair(minute(50)) };
    let none = Grant::default();
    let first = Connect { pair: unusable, ..connect(&none, minute(1), minute(2)) };
    let mut grant = after(&none, &GrantEvent::Connect(Box::new(first)), minute(50));
    assert_eq!((grant.failures, grant.retry_at), (1, None));

    for (round, pause) in [(2, Some(MINUTE)), (3, Some(2 * MINUTE)), (4, Some(4 * MINUTE))] {
        grant = after(&grant, &commit(grant.claim_of(attempt(round)), unusable), minute(50));
        let until = pause.map(|pause| later(minute(50), pause));
        assert_eq!((u128::from(grant.failures), grant.retry_at), (round, until));
    }
    grant = after(&grant, &commit(grant.claim_of(attempt(5)), pair(minute(50))), minute(50));
    assert_eq!((grant.failures, grant.retry_at), (0, None), "a usable pair ends the pause");

    let once = after(&opted_in(minute(0)), &commit(opted_in(minute(0)).claim_of(attempt(1)), unusable), minute(50));
    assert_eq!((once.failures, once.retry_at), (1, None), "the first one of a refresh");
}
