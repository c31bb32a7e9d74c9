//! Repeated callbacks in this process: a repetition joins the callback in progress, or learns that it failed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    consent::OptedIn,
    error::CallbackError,
    ids::{ActorId, CompanyId},
    secret::SecretHash,
};

/// The outcome of a callback.
pub(super) type Completed = Result<OptedIn, CallbackError>;

/// A person's return from UPS.com. Equal visits are repetitions by the same person in the same browser.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Visit {
    pub(super) state: SecretHash,
    /// The hash of the whole query.
    pub(super) query: SecretHash,
    pub(super) actor: ActorId,
    pub(super) browsers: Vec<SecretHash>,
    /// The only company that the visit may authenticate; `None`: the consent's company.
    pub(super) company: Option<CompanyId>,
}

/// Maximum number of remembered failed states. A repetition of a forgotten one is sent to the company's page.
const MOST_FAILED: usize = 1_000;

/// The callbacks in progress, and the failed states.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    under_way: HashMap<Visit, watch::Receiver<Option<Completed>>>,
    failed: VecDeque<SecretHash>,
}

/// Whether a callback is the first with its visit.
pub(super) enum Entered {
    First(First),
    Again(Again),
}

/// A callback that repetitions can join until it is dropped.
pub(super) struct First {
    visit: Visit,
    told: watch::Sender<Option<Completed>>,
    repeats: Repeats,
}

/// A repetition that joined the first callback.
pub(super) struct Again(watch::Receiver<Option<Completed>>);

impl Repeats {
    pub(super) fn enter(&self, visit: &Visit) -> Entered {
        let mut inner = self.inner();
        if let Some(first) = inner.under_way.get(visit) {
            return Entered::Again(Again(first.clone()));
        }
        let (told, first) = watch::channel(None);
        inner.under_way.insert(visit.clone(), first);
        Entered::First(First { visit: visit.clone(), told, repeats: self.clone() })
    }

    /// Remembers that this state leads to no opt-in.
    pub(super) fn failed(&self, state: SecretHash) {
        let mut inner = self.inner();
        if inner.failed.len() == MOST_FAILED {
            inner.failed.pop_front();
        }
        inner.failed.push_back(state);
    }

    pub(super) fn has_failed(&self, state: SecretHash) -> bool {
        self.inner().failed.contains(&state)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl First {
    /// Passes the outcome to the repetitions.
    pub(super) fn ends(self, completed: &Completed) {
        self.told.send_replace(Some(completed.clone()));
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.repeats.inner().under_way.remove(&self.visit);
    }
}

impl Again {
    /// The outcome of the first callback; `None`: it was cancelled.
    pub(super) async fn of_the_first(mut self) -> Option<Completed> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|completed| completed.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_failed_states_are_remembered() {
        let repeats = Repeats::default();
        let states: Vec<_> = (0..MOST_FAILED + 2).map(|number| SecretHash::of(&number.to_string())).collect();
        for state in &states {
            assert!(!repeats.has_failed(*state));
            repeats.failed(*state);
        }

        let remembered: Vec<_> = states.iter().map(|state| repeats.has_failed(*state)).collect();
        assert_eq!(remembered, [&[false; 2][..], &[true; MOST_FAILED][..]].concat(), "the oldest two are forgotten");
    }
}
