//! A consumer's cursor in the store, and this process's lease on it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::{
    clock::Stopwatch,
    config::{Environment, Policy},
    events::EventId,
    random::random,
    rotation::{Outage, backoff_of_reader, within},
    store::{Delivery, DeliveryEnd, EventOrder, EventPage, EventQuery, Store, StoreError},
};

/// The lease on a consumer's cursor, as this process knows it.
#[derive(Debug)]
pub(super) struct Lease {
    store: Arc<dyn Store>,
    environment: Environment,
    claim: Delivery,
    length: Duration,
    /// The limit of one store call, and of the last one.
    limits: (Duration, Duration),
    interval: Duration,
    /// Of the reads and of the other calls: one may fail while the other works.
    outages: (Outage, Outage),
    /// Started before the call that renewed the lease.
    renewed: Stopwatch,
    renew_at: Instant,
}

/// Another process has the delivery.
#[derive(Debug)]
pub(super) struct Lost;

/// The most events that are read at once.
const PAGE: usize = 100;

impl Lease {
    pub(super) fn new(store: Arc<dyn Store>, environment: Environment, consumer: &str, policy: &Policy) -> Self {
        Self {
            store,
            environment,
            claim: Delivery { consumer: consumer.to_owned(), holder: Uuid::from_u128(random()) },
            length: policy.lease,
            limits: (policy.store_deadline, policy.store_deadline.min(policy.max_wait)),
            interval: policy.feed_interval,
            outages: (Outage::during("reading events to deliver"), Outage::during("keeping a delivery")),
            renewed: Stopwatch::start(),
            renew_at: Instant::now(),
        }
    }

    pub(super) fn environment(&self) -> Environment {
        self.environment
    }

    /// Takes the delivery: the stored cursor, or `None` if another process has it. An error is the pause before the next
    /// try.
    pub(super) async fn take(&mut self) -> Result<Option<EventId>, Duration> {
        let asked = Stopwatch::start();
        let take = self.store.take_delivery(self.environment, &self.claim, self.length);
        let taken = within(self.limits.0, take).await;
        self.renewed_if(matches!(taken, Ok(Some(_))), asked);
        seen(&mut self.outages.1, self.interval, taken)
    }

    /// Stores the cursor and renews the lease. `false`: the store is away, and the next try is [due](Self::due) later.
    pub(super) async fn store(&mut self, cursor: EventId) -> Result<bool, Lost> {
        for _ in 0..2 {
            let pause = match self.advance(cursor).await {
                Ok(true) => return Ok(true),
                // The lease has ended, and nobody need have taken it.
                Ok(false) => match self.take().await {
                    Ok(None) => return Err(Lost),
                    // Another process had it meanwhile, and has given it back.
                    Ok(Some(stored)) if stored > cursor => return Err(Lost),
                    Ok(Some(_)) => continue,
                    Err(pause) => pause,
                },
                Err(pause) => pause,
            };
            self.renew_at = Instant::now() + pause;
            break;
        }
        Ok(false)
    }

    /// Moves the cursor and renews the lease; `false`: the lease has ended.
    async fn advance(&mut self, cursor: EventId) -> Result<bool, Duration> {
        let asked = Stopwatch::start();
        let then = DeliveryEnd::Renew(self.length);
        let advance = self.store.advance_delivery(self.environment, &self.claim, cursor, then);
        let advanced = within(self.limits.0, advance).await;
        self.renewed_if(matches!(advanced, Ok(true)), asked);
        seen(&mut self.outages.1, self.interval, advanced)
    }

    /// Moves the cursor and gives the lease back.
    pub(super) async fn end(&self, cursor: EventId) {
        let end = self.store.advance_delivery(self.environment, &self.claim, cursor, DeliveryEnd::End);
        if let Err(error) = within(self.limits.1, end).await {
            let (consumer, error) = (&self.claim.consumer, crate::error::chain(&error));
            tracing::warn!(consumer, %error, "a delivery could not be given back; its lease ends by itself");
        }
    }

    /// The events after `cursor`.
    pub(super) async fn events(&mut self, cursor: EventId) -> Result<EventPage, StoreError> {
        let query = EventQuery {
            environment: self.environment,
            company: None,
            order: EventOrder::OldestFirst,
            after: Some(cursor),
            limit: PAGE,
        };
        within(self.limits.0, self.store.events(query)).await
    }

    /// The events of a read, or the pause before the next one.
    pub(super) fn seen(&mut self, read: Result<EventPage, StoreError>) -> Result<EventPage, Duration> {
        seen(&mut self.outages.0, self.interval, read)
    }

    /// Whether the lease has certainly not ended, with time to spare for the next renewal.
    pub(super) fn is_held(&self) -> bool {
        self.renewed.elapsed() < self.length / 3 * 2
    }

    pub(super) fn is_due(&self) -> bool {
        self.renew_at <= Instant::now()
    }

    /// Completes when the lease should be renewed, or the store be tried again.
    pub(super) async fn due(&self) {
        sleep_until(self.renew_at).await;
    }

    fn renewed_if(&mut self, renewed: bool, asked: Stopwatch) {
        if renewed {
            self.renewed = asked;
            self.renew_at = Instant::now() + self.length / 3;
        }
    }
}

/// A call's answer, or the pause before the next one.
fn seen<T>(outage: &mut Outage, interval: Duration, answer: Result<T, StoreError>) -> Result<T, Duration> {
    match answer {
        Ok(answer) => {
            outage.over();
            Ok(answer)
        }
        Err(error) => Err(outage.failed(&error, backoff_of_reader(interval))),
    }
}
