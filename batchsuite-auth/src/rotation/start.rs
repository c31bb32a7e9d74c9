//! The start of an engine from the host's configuration.

use std::sync::{Arc, Mutex};

use tokio::{runtime::Handle, sync::Notify};

use super::{
    engine::{Engine, ReadyTokens, Rotation},
    feed,
    flights::{Flights, Rejections},
    keeper,
    limiter::Limiter,
    silenced::Silenced,
    tasks::Tasks,
    vitals::Vitals,
};
use crate::{
    cache::Cache,
    clock::Clock,
    config::{Environment, Policy},
    machine::{Breaker, Pauses, Settings},
    store::Store,
    ups::Ups,
};

/// The parts of an [`Engine`] that the host chooses.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) environment: Environment,
    pub(crate) client_id: String,
    pub(crate) policy: Policy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ups: Ups,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Cache,
    pub(crate) keeper: bool,
}

impl Engine {
    /// Starts the engine and its background loops on `runtime`.
    pub(crate) fn start(parts: Parts, runtime: Handle) -> Arc<Self> {
        let Parts { environment, client_id, policy, store, ups, clock, cache, keeper } = parts;
        let settings = Settings {
            client_id,
            fresh_if_used_within: policy.fresh_if_used_within,
            keep_alive_before_end: policy.keep_alive_before_end,
            warnings: policy.expiry_warnings.clone(),
            pauses: Pauses {
                refresh: policy.refresh_pause,
                probe: policy.probe_pause,
                unusable: policy.unusable_pause,
                second_opinions: policy.second_opinions.clone(),
            },
        };
        let limiter = Limiter::new(policy.refresh_rate);
        let breaker = Mutex::new(Breaker::new(policy.breaker_pause));
        let (vitals, silenced, request_ended) = (Vitals::default(), Silenced::default(), Notify::new());
        if keeper {
            vitals.keeper_lives();
        }
        let engine = Arc::new(Self {
            rotation: Rotation {
                environment,
                policy,
                settings,
                store,
                ups,
                clock,
                breaker,
                vitals,
                silenced,
                limiter,
                request_ended,
            },
            tokens: ReadyTokens { cache, flights: Flights::default(), rejections: Rejections::default() },
            tasks: Tasks::on(runtime),
        });
        engine.tasks.spawn_loop(feed::feed(Arc::downgrade(&engine)));
        if keeper {
            engine.tasks.spawn_loop(keeper::keeper(Arc::downgrade(&engine)));
        }
        engine
    }
}
