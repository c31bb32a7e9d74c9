//! Repeated callbacks in this process: a repetition joins the callback under way, and learns of one that failed.

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

/// A person's return from UPS.com. Two that are equal are repetitions: of the same person, in the same browser.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Visit {
    pub(super) state: SecretHash,
    /// Of the whole query.
    pub(super) query: SecretHash,
    pub(super) actor: ActorId,
    pub(super) browsers: Vec<SecretHash>,
    /// The one company that it may authenticate; `None`: whichever the consent is of.
    pub(super) company: Option<CompanyId>,
}

/// How many failed states are remembered. A repetition of a forgotten one is led to the company's page.
const MOST_FAILED: usize = 1_000;

/// The callbacks under way, and the states that failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeats(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    under_way: HashMap<Visit, watch::Receiver<Option<Completed>>>,
    failed: VecDeque<SecretHash>,
}

/// Whether a callback is the first of its kind.
pub(super) enum Entered {
    First(First),
    Again(Again),
}

/// A callback that others may join, until it is dropped.
pub(super) struct First {
    visit: Visit,
    told: watch::Sender<Option<Completed>>,
    repeats: Repeats,
}

/// One that joins another.
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

    /// Remembers that nothing comes of this state.
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
    /// Tells those that joined.
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
    /// The outcome of the first; `None`: it was cut off.
    pub(super) async fn of_the_first(mut self) -> Option<Completed> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|completed| completed.clone())
    }
}
