//! The rate of refreshes.

use super::super::rate::{Rate, Turn};
use std::time::Duration;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Sends as much as it may for `length` from `from` on, each request answered at once; the times of the requests.
fn send(rate: &mut Rate, from: f64, length: f64, answer: impl Fn(&mut Rate)) -> Vec<f64> {
    let (mut now, end, mut sent) = (seconds(from), seconds(from + length), Vec::new());
    while now < end {
        match rate.take(now) {
            Turn::Now => {
                sent.push(now.as_secs_f64());
                answer(rate);
                rate.ended(false);
            }
            Turn::In(wait) => now += wait.max(Duration::from_micros(1)),
            Turn::WhenOneEnds => panic!("each has ended"),
        }
    }
    sent
}

fn in_the_fullest_second(sent: &[f64]) -> usize {
    let until = |from: f64| sent.partition_point(|at| *at < from + 1.0);
    sent.iter().enumerate().map(|(index, from)| until(*from) - index).max().unwrap_or(0)
}

#[test]
fn in_no_second_are_more_requests_sent_than_the_rate() {
    for most in [1, 2, 5, 20, 77, 400] {
        let mut rate = Rate::new(most);

        let sent = send(&mut rate, 0.0, 120.0, |rate| rate.answered(Duration::ZERO));

        assert!(in_the_fullest_second(&sent) <= most as usize, "{most}: {}", in_the_fullest_second(&sent));
        let in_the_last_minute = sent.iter().filter(|at| **at >= 60.0).count();
        assert!(in_the_last_minute as f64 >= 60.0 * f64::from(most) * 0.49, "{most}: {in_the_last_minute}");
        if most >= 20 {
            assert!(in_the_last_minute as f64 >= 60.0 * f64::from(most) * 0.88, "{most}: {in_the_last_minute}");
        }
    }
}

#[test]
fn it_begins_with_a_part_of_the_most_and_grows_only_while_requests_wait_and_ups_answers_fast() {
    assert_eq!(
        [1, 10, 20, 60, 100, 400].map(|most| Rate::new(most).per_second()),
        [1.0, 10.0, 20.0, 20.0, 25.0, 100.0]
    );

    let mut fast = Rate::new(100);
    send(&mut fast, 0.0, 30.0, |rate| rate.answered(Duration::from_millis(1999)));
    assert_eq!(fast.per_second(), 100.0);

    let mut slow = Rate::new(100);
    send(&mut slow, 0.0, 30.0, |rate| rate.answered(Duration::from_secs(2)));
    assert_eq!(slow.per_second(), 25.0);

    let mut idle = Rate::new(100);
    for second in 0..300 {
        assert_eq!(idle.take(seconds(f64::from(second))), Turn::Now);
        idle.answered(Duration::ZERO);
        idle.ended(false);
    }
    assert_eq!(idle.per_second(), 25.0, "nobody waited");
}

#[test]
fn a_429_or_a_silence_halves_it_once_a_second_down_to_one() {
    let mut rate = Rate::new(100);
    for (at, expected) in
        [(1.0, 12.5), (1.5, 12.5), (1.99, 12.5), (2.0, 6.25), (3.0, 3.125), (4.0, 1.5625), (5.0, 1.0), (6.0, 1.0)]
    {
        rate.pushed_back(seconds(at));
        assert_eq!(rate.per_second(), expected, "{at}");
    }
    let sent = send(&mut rate, 6.0, 60.0, |rate| rate.answered(Duration::ZERO));
    assert!(in_the_fullest_second(&sent[..3]) == 1 && rate.per_second() > 20.0, "it recovers: {}", rate.per_second());
}

#[test]
fn no_more_than_the_most_are_under_way_and_one_that_was_not_sent_gives_its_turn_back() {
    let mut rate = Rate::new(5);
    for number in 0..5 {
        assert_eq!(rate.take(seconds(f64::from(number))), Turn::Now);
    }
    assert_eq!(rate.take(seconds(9.0)), Turn::WhenOneEnds);
    rate.ended(false);
    assert_eq!(rate.take(seconds(9.0)), Turn::Now);

    let mut rate = Rate::new(5);
    assert_eq!(rate.take(seconds(0.0)), Turn::Now);
    assert_eq!(rate.take(seconds(0.0)), Turn::In(Duration::from_millis(250)));
    rate.ended(true);
    assert_eq!(rate.take(seconds(0.0)), Turn::Now);
    assert_eq!(rate.take(seconds(0.1)), Turn::In(Duration::from_millis(150)));
}

#[test]
fn after_a_quiet_time_a_tenth_of_the_rate_goes_at_once() {
    for (most, rate, at_once) in [(400, 100.0, 10), (1000, 250.0, 25), (5, 5.0, 1)] {
        let mut quiet = Rate::new(most);
        assert_eq!(quiet.per_second(), rate);
        for _ in 0..at_once {
            assert_eq!(quiet.take(seconds(60.0)), Turn::Now, "{most}");
        }
        assert!(matches!(quiet.take(seconds(60.0)), Turn::In(_)), "{most}");
    }
}
