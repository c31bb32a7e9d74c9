//! The points at which a process can be stopped, and the time from UPS's answer to its commit.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_tests::{FlakyStore, Gate, Hold, Moment, Verb, gaps};
use serde_json::json;

/// The points that a refresh or the keeper passes on its way to the store and to UPS.
pub(crate) struct Points {
    store: Arc<FlakyStore>,
    http: Arc<Gate>,
    /// The call that is stopped.
    stopped: Arc<Mutex<Option<Hold>>>,
}

impl Points {
    pub(crate) fn on(store: &Arc<FlakyStore>, http: &Arc<Gate>) -> Self {
        Self { store: Arc::clone(store), http: Arc::clone(http), stopped: Arc::default() }
    }

    /// Stops the next call that reaches the point of this name, and reports it; returns whether the point exists.
    pub(crate) fn stop_at(&self, point: &str) -> bool {
        let hold = match point {
            "after_load" => self.store.hold(Verb::Load, Moment::After),
            "before_claim" => self.store.hold(Verb::Claim, Moment::Before),
            "after_claim" => self.store.hold(Verb::Claim, Moment::After),
            "before_send" => self.http.hold_request(),
            "before_commit" => self.store.hold(Verb::Commit, Moment::Before),
            "after_commit" => self.store.hold(Verb::Commit, Moment::After),
            "before_settle" => self.store.hold(Verb::Verdict, Moment::Before),
            "after_settle" => self.store.hold(Verb::Verdict, Moment::After),
            "before_delivered" => self.store.hold(Verb::AdvanceDelivery, Moment::Before),
            "after_delivered" => self.store.hold(Verb::AdvanceDelivery, Moment::After),
            "after_due" => self.store.hold(Verb::Wake, Moment::After),
            _ => return false,
        };
        let (place, stopped) = (json!({"at": point}), Arc::clone(&self.stopped));
        tokio::spawn(async move {
            hold.reached().await;
            *lock(&stopped) = Some(hold);
            println!("{place}");
        });
        true
    }

    /// Lets the stopped call continue.
    pub(crate) fn go(&self) {
        if let Some(hold) = lock(&self.stopped).take() {
            hold.release();
        }
    }

    /// The time between each answer and its commit.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        gaps(&self.http.answers(), &self.store.successes(Verb::Commit))
    }
}

fn lock(stopped: &Mutex<Option<Hold>>) -> MutexGuard<'_, Option<Hold>> {
    stopped.lock().unwrap_or_else(PoisonError::into_inner)
}
