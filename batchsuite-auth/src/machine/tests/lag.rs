//! When a keeper will have caught up.

use super::super::lag::Lag;
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The state after these readings: (when, lag).
fn after(readings: &[(u64, u64)]) -> Lag {
    let mut lag = Lag::default();
    for (at, behind) in readings {
        lag.read(seconds(*at), seconds(*behind));
    }
    lag
}

#[test]
fn a_lag_that_shrinks_tells_when_it_will_be_gone() {
    for (readings, caught_up_in) in [
        (&[][..], None),
        (&[(0, 100)], None),
        // Too short, then long enough.
        (&[(0, 100), (9, 91)], None),
        (&[(0, 100), (10, 90)], Some(90)),
        (&[(0, 100), (10, 80)], Some(40)),
        // It does not shrink.
        (&[(0, 100), (30, 100)], None),
        (&[(0, 100), (30, 120)], None),
        // Nothing was waiting in between, or is now.
        (&[(0, 100), (30, 50), (40, 0)], None),
        (&[(0, 1000), (30, 0), (40, 60), (60, 40)], Some(40)),
    ] {
        assert_eq!(after(readings).caught_up_in(), caught_up_in.map(seconds), "{readings:?}");
    }
}

#[test]
fn a_gain_of_long_ago_does_not_count() {
    // It grew for a minute, then shrank by a second each second.
    let mut readings = vec![(0, 100), (60, 1200)];
    readings.extend((1..=130).map(|second| (60 + second, 1200 - second)));

    assert_eq!(after(&readings).caught_up_in(), Some(seconds(1070)));
    assert_eq!(after(&readings).lag(), seconds(1070));
}

#[test]
fn no_lag_overflows() {
    let mut lag = Lag::default();
    lag.read(Duration::ZERO, Duration::MAX);
    lag.read(Duration::from_secs(u64::MAX / 2), Duration::MAX - Duration::from_nanos(1));

    assert_eq!(lag.caught_up_in(), None);
}
