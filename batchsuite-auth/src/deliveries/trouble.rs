//! A handler that fails: growing pauses, one log line when it begins to fail and one when it works again.

use std::time::Duration;

use tokio::time::Instant;

use super::handler::{HandlerError, Then};
use crate::{machine::Backoff, random::random};

const PAUSE: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(300) };

/// The longest pause that a handler can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct Trouble {
    consumer: std::sync::Arc<str>,
    since: Option<Instant>,
    failures: u32,
}

impl Trouble {
    pub(super) fn of(consumer: std::sync::Arc<str>) -> Self {
        Self { consumer, since: None, failures: 0 }
    }

    /// The handler failed with `work`. Returns the pause before the next try; `None`: there is none.
    pub(super) fn failed(&mut self, work: &impl std::fmt::Display, error: &HandlerError) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let (consumer, begins) = (&*self.consumer, self.since.is_none());
        self.since.get_or_insert_with(Instant::now);
        let pause = PAUSE.after(self.failures, random());
        let pause = match error.then() {
            Then::BackOff => pause,
            Then::RetryAfter(least) => pause.max(least.min(LONGEST_PAUSE)),
            Then::Stop => {
                tracing::error!(consumer, %work, %error, "a handler ends its delivery in this process");
                return None;
            }
        };
        if begins {
            tracing::warn!(
                consumer, %work, %error,
                "a handler fails; its delivery waits for it and retries until it works, which is logged"
            );
        }
        Some(pause)
    }

    /// The handler succeeded.
    pub(super) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            let (consumer, failures, seconds) = (&*self.consumer, self.failures, since.elapsed().as_secs());
            tracing::info!(consumer, failures, seconds, "the handler works again");
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn pause_that_follows(asked: Duration) -> Option<Duration> {
        Trouble::of("mails".into()).failed(&"an event", &HandlerError::new("busy").with_retry_after(asked))
    }

    #[test]
    fn a_handler_gets_the_pause_that_it_asks_for_up_to_a_day() {
        for hours in [1, 12, 24] {
            assert_eq!(pause_that_follows(hours * HOUR), Some(hours * HOUR));
        }
        assert_eq!(pause_that_follows(25 * HOUR), Some(24 * HOUR));
    }
}
