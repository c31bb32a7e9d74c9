//! One queue for the refreshes of a process: callers first, then companies in use, then idle ones.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    error::{TokenError, Unavailable},
    machine::{Rate, Turn},
    ups::Judgement,
};

/// The most callers that wait for their turn.
const MOST_CALLERS: usize = 10_000;

/// Whose turn comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// A caller waits.
    Caller,
    /// The company is in use.
    InUse,
    /// Nobody uses the company.
    Idle,
}

#[derive(Debug)]
pub(crate) struct Limiter {
    began: Instant,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    rate: Rate,
    waiting: BTreeMap<(Priority, u64), Arc<Notify>>,
    next: u64,
}

impl Limiter {
    pub(super) fn new(most: u32) -> Self {
        let queue = Queue { rate: Rate::new(most), waiting: BTreeMap::new(), next: 0 };
        Self { began: Instant::now(), queue: Mutex::new(queue) }
    }

    /// How many refreshes may begin each second at present.
    pub(super) fn per_second(&self) -> f64 {
        self.queue().rate.per_second()
    }

    /// The time from one refresh to the next, if many wait.
    pub(super) fn pace(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.queue().rate.steady())
    }

    /// How many refreshes wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    /// Whether refreshes that nobody waits for are already waiting for their turn.
    pub(super) fn has_background(&self) -> bool {
        self.queue().waiting.keys().any(|(priority, _)| *priority > Priority::Caller)
    }

    /// Lets UPS's answer change the rate.
    pub(super) fn judged(&self, judgement: &Judgement, took: Duration) {
        let mut queue = self.queue();
        match judgement {
            Judgement::RateLimited(..) | Judgement::Unanswered(_) => queue.rate.pushed_back(self.began.elapsed()),
            Judgement::NotSent(_) | Judgement::Late => {}
            _ => queue.rate.answered(took),
        }
    }

    /// A refresh has ended. `is_unused`: nothing was sent.
    pub(super) fn ended(&self, is_unused: bool) {
        let mut queue = self.queue();
        queue.rate.ended(is_unused);
        queue.call_first();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of this ticket, if it is the first.
    pub(super) fn take(&self, ticket: (Priority, u64)) -> Option<Turn> {
        let mut queue = self.queue();
        let is_first = queue.waiting.first_key_value().is_some_and(|(first, _)| *first == ticket);
        is_first.then(|| queue.rate.take(self.began.elapsed()))
    }
}

impl Queue {
    fn call_first(&self) {
        if let Some((_, first)) = self.waiting.first_key_value() {
            first.notify_one();
        }
    }
}

/// A place in the queue.
pub(super) struct Ticket<'a> {
    limiter: &'a Limiter,
    pub(super) number: (Priority, u64),
    /// Notified when this ticket is the first.
    pub(super) called: Arc<Notify>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut queue = self.limiter.queue();
        queue.waiting.remove(&self.number);
        queue.call_first();
    }
}

impl Limiter {
    pub(super) fn ticket(&self, priority: Priority) -> Result<Ticket<'_>, TokenError> {
        let mut queue = self.queue();
        if priority == Priority::Caller && queue.waiting.len() >= MOST_CALLERS {
            let retry_after = Duration::from_secs_f64(MOST_CALLERS as f64 / queue.rate.per_second());
            return Err(TokenError::Unavailable { reason: Unavailable::Busy, retry_after });
        }
        let (number, called) = ((priority, queue.next), Arc::new(Notify::new()));
        queue.next += 1;
        queue.waiting.insert(number, Arc::clone(&called));
        Ok(Ticket { limiter: self, number, called })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Evidence;

    fn first(limiter: &Limiter) -> Option<(Priority, u64)> {
        limiter.queue().waiting.first_key_value().map(|(first, _)| *first)
    }

    #[test]
    fn callers_come_first_then_companies_in_use_each_in_their_order() {
        use Priority::{Caller, Idle, InUse};
        let limiter = Limiter::new(1);
        let tickets = [Idle, InUse, Caller, Idle, Caller, InUse].map(|priority| limiter.ticket(priority).unwrap());
        assert_eq!(limiter.take(tickets[0].number), None, "it is not the first");
        assert_eq!(limiter.take(tickets[2].number), Some(Turn::Now));

        let mut left: Vec<_> = tickets.into_iter().collect();
        let mut order = Vec::new();
        while let Some((priority, number)) = first(&limiter) {
            order.push((priority, number));
            left.retain(|ticket| ticket.number != (priority, number));
        }

        assert_eq!(order, [(Caller, 2), (Caller, 4), (InUse, 1), (InUse, 5), (Idle, 0), (Idle, 3)]);
    }

    #[test]
    fn callers_alone_are_no_background() {
        let limiter = Limiter::new(1);
        let caller = limiter.ticket(Priority::Caller).unwrap();
        assert!(!limiter.has_background());
        drop(caller);

        for priority in [Priority::InUse, Priority::Idle] {
            let ticket = limiter.ticket(priority).unwrap();
            assert!(limiter.has_background(), "{priority:?}");
            drop(ticket);
        }
        assert!(!limiter.has_background());
    }

    #[test]
    fn the_pace_is_that_of_refreshes_that_wait() {
        // 20 a second, of which two may be sent at once.
        assert_eq!(Limiter::new(20).pace(), Duration::from_secs_f64(1.0 / 18.0));
    }

    #[test]
    fn only_an_answer_raises_the_rate_and_only_a_429_or_a_silence_lowers_it() {
        let words = || Evidence::message("a test");
        for (judgement, per_second) in [
            (Judgement::Refused(words()), 25.1),
            (Judgement::Unknown(words()), 25.1),
            (Judgement::NotSent(words()), 25.0),
            (Judgement::Late, 25.0),
            (Judgement::Unanswered(words()), 12.5),
            (Judgement::RateLimited(None, words()), 12.5),
        ] {
            let limiter = Limiter::new(100);
            let ticket = limiter.ticket(Priority::Caller).unwrap();
            while limiter.take(ticket.number) == Some(Turn::Now) {}

            limiter.judged(&judgement, Duration::ZERO);

            assert_eq!(limiter.per_second(), per_second, "{judgement:?}");
        }
    }

    #[test]
    fn beyond_ten_thousand_callers_the_next_is_told_to_come_later() {
        let limiter = Limiter::new(100);
        let tickets: Vec<_> = (0..MOST_CALLERS).map(|_| limiter.ticket(Priority::Caller).unwrap()).collect();

        let refused = limiter.ticket(Priority::Caller).err();

        let Some(TokenError::Unavailable { reason: Unavailable::Busy, retry_after }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(retry_after, Duration::from_secs(400), "25 a second");
        assert!(limiter.ticket(Priority::InUse).is_ok(), "a keeper's rows are few");
        drop(tickets);
        assert!(limiter.ticket(Priority::Caller).is_ok());
    }
}
