//! How far behind a keeper is, and when it will have caught up.

use std::time::Duration;

/// The gain is measured over one to two of these.
const SPAN: Duration = Duration::from_secs(60);
/// A gain over less than this says nothing.
const SHORTEST_SPAN: Duration = Duration::from_secs(10);

/// How overdue the rows are that a keeper takes. Times are those of a monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lag {
    last: Reading,
    /// Two earlier readings, at least [`SPAN`] apart, since the keeper last had nothing to do.
    earlier: Option<(Reading, Reading)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    at: Duration,
    lag: Duration,
}

impl Lag {
    /// At `at` the keeper took a row that was this overdue; zero: none was waiting.
    pub(crate) fn read(&mut self, at: Duration, lag: Duration) {
        self.last = Reading { at, lag };
        self.earlier = match self.earlier {
            _ if lag.is_zero() => None,
            None => Some((self.last, self.last)),
            Some((_, later)) if at.saturating_sub(later.at) >= SPAN => Some((later, self.last)),
            same => same,
        };
    }

    /// How overdue the row was that the keeper took last; zero: none was waiting.
    pub(crate) fn lag(&self) -> Duration {
        self.last.lag
    }

    /// When no row will be overdue any more, counted from the last reading, if the lag shrinks as it did in the last one
    /// or two minutes; `None`: it does not shrink, or there is none.
    pub(crate) fn caught_up_in(&self) -> Option<Duration> {
        let (first, _) = self.earlier?;
        let over = self.last.at.saturating_sub(first.at);
        let gained = first.lag.checked_sub(self.last.lag)?;
        if over < SHORTEST_SPAN || gained.is_zero() {
            return None;
        }
        let seconds = self.last.lag.as_secs_f64() * over.as_secs_f64() / gained.as_secs_f64();
        Duration::try_from_secs_f64(seconds).ok()
    }
}
