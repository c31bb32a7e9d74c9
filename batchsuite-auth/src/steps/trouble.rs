//! Trouble with the store, in every loop that goes on in spite of it: pauses that grow, one line in the log when it begins
//! and one when it is over.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    error::{Responsible, chain},
    store::{StoreError, StoreErrorKind},
};

/// The longest pause before the next try of what fails until an operator has looked.
const SLOWEST: Duration = Duration::from_secs(30);

/// How long to pause between the tries of one loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// After the first failure; doubled with each further one.
    pub(crate) first: Duration,
    /// The longest pause while the store is merely away. (For anything else it is [`SLOWEST`].)
    pub(crate) most: Duration,
}

impl Pace {
    /// The pace of a reader of the log, which reads every `interval` when all is well.
    pub(crate) fn of_reader(interval: Duration) -> Self {
        const FIRST: Duration = Duration::from_secs(1);
        Self { first: FIRST, most: interval.max(FIRST) }
    }

    fn after(self, failures: u32, kind: StoreErrorKind) -> Duration {
        let most = if kind == StoreErrorKind::Unavailable { self.most } else { self.most.max(SLOWEST) };
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(doubled).min(most.max(self.first))
    }
}

/// How one loop fares with the store.
#[derive(Debug)]
pub(crate) struct Trouble {
    what: &'static str,
    since: Option<Instant>,
    failures: u32,
    /// The kinds of error that the log has been told of since it began.
    told: Vec<StoreErrorKind>,
}

impl Trouble {
    /// None yet, with `what`.
    pub(crate) fn with(what: &'static str) -> Self {
        Self { what, since: None, failures: 0, told: Vec::new() }
    }

    /// A try failed. Returns the pause before the next one.
    pub(crate) fn failed(&mut self, error: &StoreError, pace: Pace) -> Duration {
        self.since.get_or_insert_with(Instant::now);
        self.failures = self.failures.saturating_add(1);
        let (what, kind, responsible) = (self.what, error.kind(), error.responsible());
        // An outage that turns out to be a missing right is worth another line, the hundredth failure is not.
        if !self.told.contains(&kind) {
            self.told.push(kind);
            let error = chain(error);
            match responsible {
                Responsible::Nobody => {
                    tracing::warn!(what, %error, "the store fails; it is tried again until it works, which is then logged");
                }
                Responsible::Operator => {
                    tracing::error!(what, %error, "the store fails, and an operator must look; it is tried again more and more slowly");
                }
                _ => tracing::warn!(what, %error, "the store refuses this"),
            }
        }
        pace.after(self.failures, kind)
    }

    /// A try succeeded.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since {
            let (what, failures, seconds) = (self.what, self.failures, since.elapsed().as_secs());
            tracing::info!(what, failures, seconds, "the store works again");
            *self = Self::with(what);
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
        let write = Pace { first: seconds(1), most: seconds(1) };
        for (pace, kind, pauses) in [
            // A holder of a pair keeps to the interval that others leave it after an outage.
            (write, Unavailable, [1, 1, 1, 1, 1, 1, 1]),
            (write, Misconfigured, [1, 2, 4, 8, 16, 30, 30]),
            (write, Corrupt, [1, 2, 4, 8, 16, 30, 30]),
            (write, Rejected, [1, 2, 4, 8, 16, 30, 30]),
            (Pace::of_reader(seconds(5)), Unavailable, [1, 2, 4, 5, 5, 5, 5]),
            (Pace::of_reader(Duration::ZERO), Unavailable, [1, 1, 1, 1, 1, 1, 1]),
            (Pace::of_reader(seconds(5)), Misconfigured, [1, 2, 4, 8, 16, 30, 30]),
        ] {
            let mut trouble = Trouble::with("a test");
            let error = StoreError::new(kind);
            assert_eq!(pauses.map(|_| trouble.failed(&error, pace).as_secs()), pauses, "{kind:?}");
            trouble.over();
            assert_eq!(trouble.failed(&error, pace).as_secs(), 1, "it begins anew");
        }
        let mut long = Trouble::with("a test");
        for _ in 0..100 {
            long.failed(&StoreError::new(Misconfigured), write);
        }
        assert_eq!(long.failed(&StoreError::new(Misconfigured), write), SLOWEST, "no overflow");
    }
}
