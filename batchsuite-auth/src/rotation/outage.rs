//! An outage of the store, as seen by a loop that repeats a call: growing pauses, one log line when the outage begins
//! and one when it ends.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    error::{Responsible, chain},
    machine::Backoff,
    store::{StoreError, StoreErrorKind},
};

/// The longest pause while an error needs an operator.
const SLOWEST: Duration = Duration::from_secs(30);

/// The pauses of a log reader that normally reads every `interval`.
pub(crate) fn backoff_of_reader(interval: Duration) -> Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    Backoff { first: FIRST, most: interval.max(FIRST) }
}

/// One loop's view of an outage of the store, if there is one.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    since: Option<Instant>,
    failures: u32,
    /// The kinds of error logged since the outage began.
    logged: Vec<StoreErrorKind>,
}

impl Outage {
    /// No outage yet; `what` names the loop's work in the log.
    pub(crate) fn during(what: &'static str) -> Self {
        Self { what, since: None, failures: 0, logged: Vec::new() }
    }

    /// A call failed. Returns the pause before the next try: `backoff` while the store is only unavailable, otherwise
    /// up to [`SLOWEST`].
    pub(crate) fn failed(&mut self, error: &StoreError, backoff: Backoff) -> Duration {
        self.since.get_or_insert_with(Instant::now);
        self.failures = self.failures.saturating_add(1);
        let (what, kind, responsible) = (self.what, error.kind(), error.responsible());
        // A new kind of error (a missing right, for instance) deserves another log line; the hundredth repetition does
        // not.
        if !self.logged.contains(&kind) {
            self.logged.push(kind);
            let error = chain(error);
            match responsible {
                Responsible::Nobody => {
                    tracing::warn!(what, %error, "the store fails; retrying until it works, which is logged");
                }
                Responsible::Operator => {
                    tracing::error!(what, %error, "the store fails, and an operator must look; retrying with growing pauses");
                }
                _ => tracing::warn!(what, %error, "the store refuses this"),
            }
        }
        let most = if kind == StoreErrorKind::Unavailable { backoff.most } else { backoff.most.max(SLOWEST) };
        Backoff { most: most.max(backoff.first), ..backoff }.after(self.failures, 1.0)
    }

    /// A call succeeded.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since {
            let (what, failures, seconds) = (self.what, self.failures, since.elapsed().as_secs());
            tracing::info!(what, failures, seconds, "the store works again");
            *self = Self::during(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_loops_own_pace_and_further_where_an_operator_must_look() {
        use StoreErrorKind::{Corrupt, Misconfigured, Rejected, Unavailable};
        let seconds = Duration::from_secs;
        let write = Backoff::constant(seconds(1));
        for (backoff, kind, pauses) in [
            // The holder of a pair keeps the interval that other processes allow it after an outage.
            (write, Unavailable, [1, 1, 1, 1, 1, 1, 1]),
            (write, Misconfigured, [1, 2, 4, 8, 16, 30, 30]),
            (write, Corrupt, [1, 2, 4, 8, 16, 30, 30]),
            (write, Rejected, [1, 2, 4, 8, 16, 30, 30]),
            (backoff_of_reader(seconds(5)), Unavailable, [1, 2, 4, 5, 5, 5, 5]),
            (backoff_of_reader(Duration::ZERO), Unavailable, [1, 1, 1, 1, 1, 1, 1]),
            (backoff_of_reader(seconds(5)), Misconfigured, [1, 2, 4, 8, 16, 30, 30]),
        ] {
            let mut outage = Outage::during("a test");
            let error = StoreError::new(kind);
            assert_eq!(pauses.map(|_| outage.failed(&error, backoff).as_secs()), pauses, "{kind:?}");
            outage.over();
            assert_eq!(outage.failed(&error, backoff).as_secs(), 1, "it starts over");
        }
        let mut long = Outage::during("a test");
        for _ in 0..100 {
            long.failed(&StoreError::new(Misconfigured), write);
        }
        assert_eq!(long.failed(&StoreError::new(Misconfigured), write), SLOWEST, "no overflow");
    }
}
