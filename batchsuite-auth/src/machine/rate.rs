//! How many refreshes a process sends each second, for callers and keeper together.
//!
//! | UPS | the rate |
//! |---|---|
//! | answers within two seconds while requests wait for their turn | grows by about a tenth each second, up to the operator's maximum |
//! | asks for a pause (429), or gives no answer and was in reach | is halved, once a second at the most, down to one a second |
//!
//! A tenth of the rate may be sent at once. In no second are more requests sent than the rate.

use std::time::Duration;

use super::limits::{FAST_ANSWER, LOWEST_RATE};

/// The part of the rate that may be sent at once; also its growth each second.
const TENTH: f64 = 0.1;
/// A process begins with this part of its maximum, or with [`FIRST_RATE`] if that is more.
const FIRST_PART: f64 = 0.25;
const FIRST_RATE: f64 = 20.0;

/// What sums of fractions may lack.
const ROUNDING: f64 = 1e-6;
/// A timer cannot wait for less.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The rate of one process. Times are those of a monotonic clock.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    most: f64,
    per_second: f64,
    /// How many requests may be sent at once, as of `at`.
    allowance: f64,
    at: Duration,
    /// Whether a request has had to wait for its turn since the last answer.
    is_short: bool,
    halved_at: Option<Duration>,
    under_way: usize,
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Now. The caller must report its end with [`Rate::ended`].
    Now,
    /// After this time, or later.
    In(Duration),
    /// When another one has ended.
    WhenOneEnds,
}

impl Rate {
    /// A rate of `most` a second at the most.
    pub(crate) fn new(most: u32) -> Self {
        let most = f64::from(most).max(LOWEST_RATE);
        let per_second = (most * FIRST_PART).max(FIRST_RATE).min(most);
        let mut rate = Self {
            most,
            per_second,
            allowance: 0.0,
            at: Duration::ZERO,
            is_short: false,
            halved_at: None,
            under_way: 0,
        };
        rate.allowance = rate.at_once();
        rate
    }

    /// How many requests may be sent each second at present.
    pub(crate) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Takes the turn of one request, if it has come.
    pub(crate) fn take(&mut self, now: Duration) -> Turn {
        if self.under_way >= self.most_under_way() {
            self.is_short = true;
            return Turn::WhenOneEnds;
        }
        self.refill(now);
        if self.allowance < 1.0 - ROUNDING {
            self.is_short = true;
            let wait = Duration::from_secs_f64((1.0 - self.allowance) / self.steady());
            return Turn::In(wait.max(SHORTEST_WAIT));
        }
        self.allowance = (self.allowance - 1.0).max(0.0);
        self.under_way += 1;
        Turn::Now
    }

    /// A request has ended. `is_unused`: it was not sent after all.
    pub(crate) fn ended(&mut self, is_unused: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if is_unused {
            self.allowance = (self.allowance + 1.0).min(self.at_once());
        }
    }

    /// UPS answered a request that took so long.
    pub(crate) fn answered(&mut self, took: Duration) {
        if std::mem::take(&mut self.is_short) && took < FAST_ANSWER {
            // As many answers come each second, so this grows by about a tenth of the rate.
            self.per_second = (self.per_second + TENTH).min(self.most);
        }
    }

    /// UPS asked for a pause, or gave no answer.
    pub(crate) fn pushed_back(&mut self, now: Duration) {
        if self.halved_at.is_none_or(|at| now >= at + Duration::from_secs(1)) {
            self.refill(now);
            self.halved_at = Some(now);
            self.per_second = (self.per_second / 2.0).max(LOWEST_RATE);
            self.allowance = self.allowance.min(self.at_once());
        }
    }

    /// A silent UPS takes no more connections than this.
    fn most_under_way(&self) -> usize {
        self.most as usize
    }

    /// How many may be sent at once.
    fn at_once(&self) -> f64 {
        (self.per_second * TENTH).max(1.0)
    }

    /// How many follow each second, so that a second with those sent at once stays below the rate.
    pub(crate) fn steady(&self) -> f64 {
        (self.per_second - self.at_once()).max(self.per_second / 2.0)
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.allowance = (self.allowance + passed * self.steady()).min(self.at_once());
    }
}
