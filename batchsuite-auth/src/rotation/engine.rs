//! What a process runs, and who owns what of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    flights::{Flights, Rejections},
    tasks::{Shutdown, Tasks},
};
use crate::{
    cache::Cache,
    clock::Clock,
    config::{Environment, Policy},
    machine::{Breaker, Settings},
    store::Store,
    ups::Ups,
};

/// What a service's process runs: three owners, each with its own fields.
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
    /// Wakes the requests that the breaker lets wait for others.
    pub(super) request_ended: Notify,
}

/// Hands out tokens.
#[derive(Debug)]
pub(crate) struct ReadyTokens {
    pub(crate) cache: Cache,
    pub(super) flights: Flights,
    pub(crate) rejections: Rejections,
}

impl Engine {
    /// Lets nothing begin by itself any more. Callers are served as before.
    pub(crate) fn quiesce(&self) {
        // One that is being begun at this moment has begun when this returns, or does not begin.
        self.tokens.flights.between_two(|| self.tasks.quiesce());
    }

    /// Lets nothing new begin, and waits at most `limit` for what must not be lost.
    pub(crate) async fn shutdown(&self, limit: Duration) -> Shutdown {
        self.quiesce();
        self.tasks.shutdown(limit).await
    }
}

impl Drop for Engine {
    /// The last handle is gone: whatever runs beside the callers ends at once, and lets go of the store.
    fn drop(&mut self) {
        self.tasks.end();
    }
}
