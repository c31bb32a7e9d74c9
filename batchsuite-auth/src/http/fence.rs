//! Deadlines that yield to an answer that has already arrived.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

/// How long the runtime gets to read after a deadline. When a stopped process resumes (SIGSTOP, a paused virtual
/// machine), the deadline may have passed while the answer is still in the socket, and other tasks must first read it
/// and pass it on.
#[cfg(feature = "reqwest")]
pub(crate) const TIME_TO_READ: Duration = Duration::from_millis(500);

/// The same for a fence around an HTTP client. It is longer, so that the client's own fence, which knows more, decides
/// first.
pub(crate) const TIME_TO_READ_OUTSIDE: Duration = Duration::from_millis(1000);

/// The outcome of `exchange`, or `None` after `deadline`. An answer that has arrived beats the deadline: the runtime
/// gets `time_to_read` before the fence decides, and again if the process was stopped meanwhile.
pub(crate) async fn within<F: Future>(deadline: Duration, time_to_read: Duration, exchange: F) -> Option<F::Output> {
    let mut exchange = pin!(exchange);
    if let Ok(outcome) = timeout(deadline, exchange.as_mut()).await {
        return Some(outcome);
    }
    loop {
        let begun = Instant::now();
        if let Ok(outcome) = timeout(time_to_read, exchange.as_mut()).await {
            return Some(outcome);
        }
        let was_stopped = begun.elapsed() >= time_to_read * 2;
        if !was_stopped {
            return None;
        }
    }
}

/// If a wait ends this late after its deadline, the process was stopped.
const NOTICEABLE: Duration = Duration::from_millis(100);

/// The outcome of `wait`, or `None` after `deadline`. For waits that lose nothing when they end: extra time is given
/// only if the process was stopped across the deadline.
pub(crate) async fn until<F: Future>(deadline: Instant, wait: F) -> Option<F::Output> {
    let mut wait = pin!(wait);
    if let Ok(outcome) = timeout_at(deadline, wait.as_mut()).await {
        return Some(outcome);
    }
    if deadline.elapsed() < NOTICEABLE {
        return None;
    }
    timeout(TIME_TO_READ_OUTSIDE, wait).await.ok()
}

#[cfg(test)]
mod tests {
    use tokio::{
        sync::oneshot,
        time::{advance, sleep},
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);
    const TIME: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_deadline_and_the_time_to_read() {
        let begun = Instant::now();

        assert_eq!(within(DEADLINE, TIME, std::future::pending::<()>()).await, None);

        assert_eq!(begun.elapsed(), DEADLINE + TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn what_arrived_during_a_stop_beats_the_deadline() {
        // One stop across the deadline; then two, the second within the time to read.
        for stops in [&[31][..], &[21, 40], &[21, 40, 40]] {
            let (answer, arrives) = oneshot::channel();
            let fenced = tokio::spawn(within(DEADLINE, TIME, arrives));
            sleep(Duration::from_millis(1)).await;
            for seconds in stops {
                advance(Duration::from_secs(*seconds)).await;
            }

            // The runtime takes several turns until it has read the answer from the socket.
            sleep(TIME * 9 / 10).await;
            answer.send("a pair").unwrap();

            assert_eq!(fenced.await.unwrap(), Some(Ok("a pair")), "{stops:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_of_any_length_is_one() {
        for deadline in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(within(deadline, TIME, async { 7 }).await, Some(7));
        }
        assert_eq!(within(Duration::ZERO, TIME, std::future::pending::<()>()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_gets_more_time_only_if_the_process_was_stopped_across_its_deadline() {
        let begun = Instant::now();
        assert_eq!(until(begun + DEADLINE, std::future::pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), DEADLINE);

        for (late, expected) in [(99, None), (101, Some(Ok("a row")))] {
            let (answer, arrives) = oneshot::channel();
            let waiting = tokio::spawn(until(Instant::now() + DEADLINE, arrives));
            sleep(Duration::from_millis(1)).await;
            advance(DEADLINE + Duration::from_millis(late - 1)).await;
            sleep(Duration::from_millis(1)).await;
            _ = answer.send("a row");

            assert_eq!(waiting.await.unwrap(), expected, "{late} ms after the deadline");
        }
    }
}
