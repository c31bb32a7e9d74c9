//! The state of a process, by owner.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    flights::{Flights, Rejections},
    limiter::Limiter,
    silenced::Silenced,
    tasks::{Shutdown, Tasks},
    vitals::Vitals,
};
use crate::{
    cache::Cache,
    clock::Clock,
    config::{Environment, Policy},
    machine::{Breaker, Settings},
    store::Store,
    ups::Ups,
};

/// Everything that a process runs: three owners, each with its own fields.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) rotation: Rotation,
    pub(crate) tokens: ReadyTokens,
    pub(crate) tasks: Tasks,
}

/// Reads, sends and saves.
#[derive(Debug)]
pub(crate) struct Rotation {
    pub(crate) environment: Environment,
    pub(crate) policy: Policy,
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ups: Ups,
    pub(crate) clock: Arc<dyn Clock>,
    pub(super) breaker: Mutex<Breaker>,
    pub(super) vitals: Vitals,
    pub(super) silenced: Silenced,
    pub(super) limiter: Limiter,
    /// Wakes requests that the breaker makes wait for others.
    pub(super) request_ended: Notify,
}

/// Serves tokens.
#[derive(Debug)]
pub(crate) struct ReadyTokens {
    pub(crate) cache: Cache,
    pub(super) flights: Flights,
    pub(crate) rejections: Rejections,
}

impl Engine {
    /// Stops background work; callers are served as before.
    pub(crate) fn quiesce(&self) {
        // A flight that is being started at this moment has started when this returns, or does not start.
        self.tokens.flights.between_two(|| self.tasks.quiesce());
    }

    /// Stops all new work, and waits at most `limit` for the work that must not be lost.
    pub(crate) async fn shutdown(&self, limit: Duration) -> Shutdown {
        self.quiesce();
        self.tasks.shutdown(limit).await
    }
}

impl Drop for Engine {
    /// The last handle is gone: the background loops end at once and release the store.
    fn drop(&mut self) {
        self.tasks.end();
    }
}
