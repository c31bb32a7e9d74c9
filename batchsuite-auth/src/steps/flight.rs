//! Flights: of all the callers in a process that need a company's token, one task reads and refreshes for all.
//!
//! Callers wait on a shared receiver; dropping one changes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::watch, time::Instant};
use tracing::Instrument;

use super::Core;
use crate::{
    error::{TokenError, Unavailable},
    ids::CompanyId,
    machine::Demand,
    secret::AccessToken,
};

type Outcome = Result<AccessToken, TokenError>;
type Landing = watch::Receiver<Option<Outcome>>;

/// The flights of a process, by company and purpose.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<(CompanyId, Purpose), Landing, RandomState>>);

/// What a flight brings. Whoever can do with the stored token must not wait for a refresh that is for its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    /// A token that works.
    Token,
    /// The next one.
    Renewal,
}

impl Purpose {
    fn of(demand: Demand, mode: Mode) -> Self {
        match (demand, mode) {
            (Demand::Token, Mode::Foreground) => Self::Token,
            (Demand::Rejected(_) | Demand::Renew(_), _) | (_, Mode::Background) => Self::Renewal,
        }
    }
}

/// What a caller is told who would have to wait too long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Core {
    /// A company's token, from the store or from UPS.
    #[tracing::instrument(name = "access_token", skip_all, fields(%company))]
    pub(crate) async fn token(self: &Arc<Self>, company: &CompanyId) -> Outcome {
        self.join_flight(company, Demand::Token, Instant::now() + self.policy.max_wait).await
    }

    /// Begins a refresh that nobody waits for.
    pub(super) fn refresh_in_background(self: &Arc<Self>, company: &CompanyId, demand: Demand) {
        let _ = self.board(company, demand, Mode::Background);
    }

    /// Waits for the company's flight until `deadline`, beginning one if there is none.
    pub(super) async fn join_flight(
        self: &Arc<Self>,
        company: &CompanyId,
        demand: Demand,
        deadline: Instant,
    ) -> Outcome {
        let mut landing = self.board(company, demand, Mode::Foreground)?;
        let landed = tokio::time::timeout_at(deadline, landing.wait_for(Option::is_some)).await;
        match landed {
            Ok(Ok(outcome)) => {
                if let Some(outcome) = outcome.as_ref() {
                    if outcome.is_ok() {
                        self.cache.mark_used(company);
                    }
                    return outcome.clone();
                }
            }
            // It panicked, or its runtime is gone, and it left the list. Another one may do no better, so the caller decides.
            Ok(Err(_)) => tracing::error!(%company, "a flight ended without an outcome"),
            Err(_) => {}
        }
        Err(TokenError::Unavailable { reason: Unavailable::UnderWay, retry_after: ASK_AGAIN })
    }

    fn board(self: &Arc<Self>, company: &CompanyId, demand: Demand, mode: Mode) -> Result<Landing, TokenError> {
        let number = (company.clone(), Purpose::of(demand, mode));
        let (outcome, landing, admitted);
        {
            let mut flights = self.flights.list();
            if let Some(landing) = flights.get(&number) {
                return Ok(landing.clone());
            }
            admitted = self.admit().ok_or(TokenError::ShutDown)?;
            (outcome, landing) = watch::channel(None);
            flights.insert(number.clone(), landing.clone());
        }
        // Spawned without the lock: a runtime that is gone drops the flight at once, and a dropped flight takes the lock.
        let flight = Flight { core: Arc::clone(self), number, outcome, has_left: false };
        let span = tracing::info_span!("flight", %company, attempt = tracing::field::Empty);
        drop(self.spawn(async move { flight.run(demand, mode).await }.instrument(span)));
        drop(admitted);
        Ok(landing)
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Callers need a token: what is good is handed out before a refresh.
    Foreground,
    /// Nobody waits: the refresh is what it is for.
    Background,
}

/// One flight. It leaves the list when it ends, however it ends.
struct Flight {
    core: Arc<Core>,
    number: (CompanyId, Purpose),
    outcome: watch::Sender<Option<Outcome>>,
    has_left: bool,
}

impl Flight {
    async fn run(mut self, demand: Demand, mode: Mode) {
        let (outcome, refresh_next) = self.core.fetch(&self.number.0, demand, mode).await;
        if let Err(error) = &outcome {
            tracing::debug!(%error, "no token");
        }
        let (core, company) = (Arc::clone(&self.core), self.number.0.clone());
        // First off the list: whoever comes from now on, e.g. after a removal, must not get what was read before.
        self.leave();
        self.outcome.send_replace(Some(outcome));
        if self.number.1 == Purpose::Renewal {
            // Callers who could not do with the stored token wait for it, too.
            core.cache.wake(&company);
        }
        drop(self);
        if refresh_next {
            core.refresh_in_background(&company, Demand::Token);
        }
    }

    fn leave(&mut self) {
        // Once: the next one on the list is another flight.
        if !std::mem::replace(&mut self.has_left, true) {
            self.core.flights.list().remove(&self.number);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Flights {
    fn list(&self) -> MutexGuard<'_, HashMap<(CompanyId, Purpose), Landing, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
