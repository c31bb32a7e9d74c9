//! The rotation: one token at a time, refreshed in such a way that no opt-in is lost.
//!
//! [`machine`](crate::machine) decides; this room reads, sends, saves and waits as it is told.
//!
//! # The protocol
//! Every write is one compare-and-swap: read the row, let the machine compute the step, save it if the row is still the one that was
//! read and, where the step depends on the time, if the decision is younger than five seconds ([`Rotation::take`]). On a conflict the row
//! is read again and the machine asked again. So no store contains a rule.
//!
//! | clause | where | proved by |
//! |---|---|---|
//! | 1. The request is built before the claim, so that nothing can fail between claim and send. | `Engine::attempt` | `rotation::claim::the_claim_is_stored_before_ups_sees_the_request` |
//! | 2. The claim is saved before the send. A claim whose save may or may not have happened sends nothing and is released. | `Engine::claim`, `Engine::fence` | `rotation::claim::a_claim_that_fails_sends_nothing` |
//! | 3. Too much time since the row was read: the claim is released, and nothing is sent. | `Engine::attempt` | `rotation::claim::a_claim_that_is_too_old_is_given_back_and_not_sent` |
//! | 4. A pair is saved over whatever the row says of the attempt, if the opt-in is still the same and no later pair is there. | `Grant::commit`, `Engine::commit` | `rotation::commit::a_commit_wins_though_its_lease_is_over_and_another_process_claimed` |
//! | 5. A pair is published after it is saved, and kept until it is. | `Engine::persist` | `rotation::commit::a_pair_is_published_only_after_its_commit` |
//! | 6. Save first, judge after: an odd answer with a refresh token is a pair. | `Engine::commit` | `rotation::commit::save_first_judge_after_a_pair_whose_access_token_is_unusable_is_stored_and_refreshed_once_more` |
//! | 7. Any other outcome ends its own attempt alone; whoever lost the row writes nothing. | `Engine::act_on` | `rotation::verdict` |
//! | 8. A token that works is served while its successor is fetched. | `machine::Grant::access` | `rotation::serving` |
//! | 9. After a restored backup every older refresh token may be spent. | `Engine::after_restore` | `rotation::restore` |

mod attempt;
mod feed;
mod fetch;
mod flights;
mod keeper;
mod outage;
mod permit;
mod persist;
mod rows;
mod tasks;
mod upkeep;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify};

use self::flights::{Flights, Rejections};
pub(crate) use self::{
    outage::{Outage, backoff_of_reader},
    persist::no_answer,
    rows::{ReadRow, Taken, sent_at},
    tasks::Tasks,
};
pub use self::{tasks::Shutdown, upkeep::Reencrypted};
use crate::{
    cache::Cache,
    clock::Clock,
    config::{Environment, Policy},
    machine::{Breaker, Pauses, Settings},
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
    breaker: Mutex<Breaker>,
    /// Wakes the requests that the breaker lets wait for others.
    request_ended: Notify,
}

/// Hands out tokens.
#[derive(Debug)]
pub(crate) struct ReadyTokens {
    pub(crate) cache: Cache,
    flights: Flights,
    pub(crate) rejections: Rejections,
}

/// The parts of an [`Engine`] that a host decides on.
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
    /// Begins, with its background loops, on `runtime`.
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
            },
        };
        let breaker = Mutex::new(Breaker::new(policy.breaker_pause));
        let request_ended = Notify::new();
        let engine = Arc::new(Self {
            rotation: Rotation { environment, policy, settings, store, ups, clock, breaker, request_ended },
            tokens: ReadyTokens { cache, flights: Flights::default(), rejections: Rejections::default() },
            tasks: Tasks::on(runtime),
        });
        engine.tasks.runtime().spawn(feed::feed(Arc::downgrade(&engine)));
        if keeper {
            engine.tasks.runtime().spawn(keeper::keeper(Arc::downgrade(&engine)));
        }
        engine
    }

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
