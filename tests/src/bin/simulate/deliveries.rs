//! A consumer of the events, in each process.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    BatchSuiteAuth, Environment, Event,
    deliveries::{EventHandler, Gap, HandlerError},
    events::EventId,
    store::{EventOrder, EventQuery, Store as _},
};

use crate::{faults::Fault, ledger::Incarnation, process::Name, world::World};

/// The consumer's name; each process begins it.
const CONSUMER: &str = "the ledger";

struct Consumer {
    world: Arc<World>,
    name: Name,
}

#[async_trait]
impl EventHandler for Consumer {
    async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
        let (takes, fails) = {
            let is_calm = self.world.weather().is_calm;
            let mut dice = self.world.dice();
            let takes = if !is_calm && dice.chance(0.01) { dice.seconds(1..90) } else { dice.milliseconds(0..50) };
            (takes, !is_calm && dice.chance(self.world.plan.http))
        };
        self.world.pause(takes).await;
        if fails {
            self.world.suffers(Fault::HandlerFails, self.name);
            return Err(HandlerError::new("the mail server is away"));
        }
        self.world.note(self.name, format_args!("is told of event {} {}", event.id.number(), event.kind));
        self.world.ledger(|ledger| ledger.delivered(&event.stable_id()));
        Ok(())
    }

    async fn missed(&self, gap: Gap) -> Result<(), HandlerError> {
        self.world.ledger(|ledger| ledger.note_violation(format!("nothing was pruned, but {gap}")));
        Ok(())
    }
}

impl World {
    /// Begins the delivery in a process.
    pub(crate) fn deliver(self: &Arc<Self>, auth: &BatchSuiteAuth, slot: usize, number: Incarnation) {
        let consumer = Consumer { world: Arc::clone(self), name: Name(slot, number) };
        let begun = auth.deliver(CONSUMER, consumer);
        begun.map(drop).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Every event of the log, oldest first.
    pub(crate) async fn all_events(&self) -> Vec<Event> {
        let query = EventQuery {
            environment: Environment::Cie,
            company: None,
            order: EventOrder::OldestFirst,
            after: Some(EventId::START),
            limit: usize::MAX,
        };
        match self.store().events(query).await {
            Ok(page) => page.items,
            Err(error) => {
                self.ledger(|ledger| ledger.note_violation(format!("the log at the end: {error}")));
                Vec::new()
            }
        }
    }

    /// How long after the last fault every event has been delivered: the longest lease and the longest pause of a
    /// failing handler.
    pub(crate) const DELIVERED_WITHIN: Duration = Duration::from_secs(1800);
}
