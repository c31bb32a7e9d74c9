//! Flights: of all the callers in a process that need a company's token, one task reads and refreshes for all.
//!
//! Callers wait on a shared receiver; dropping one changes nothing.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::watch, time::Instant};
use tracing::Instrument;

use super::{Engine, ReadRow};
use crate::{
    error::{TokenError, Unavailable, chain},
    http::fence,
    ids::{CompanyId, Revision},
    machine::{Demand, Mode},
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

/// A row as it was when the keeper took it: its flight begins with it, and so costs two round trips, claim and commit.
#[derive(Debug)]
pub(super) struct Reserved(ReadRow);

/// What was reserved longer ago than this is read again: a claim that is older than five seconds would be lost.
const RESERVED_FOR: Duration = Duration::from_secs(2);

impl Reserved {
    pub(super) fn new(row: ReadRow) -> Self {
        Self(row)
    }

    pub(super) fn company(&self) -> &CompanyId {
        &self.0.snapshot.company
    }

    /// The row, if it was reserved just now. Never after a `lease`: an attempt that began meanwhile and never said how it ended would be
    /// taken over without the time that its holder gets to store a pair.
    pub(super) fn recent(self, lease: Duration) -> Option<ReadRow> {
        (self.0.asked().elapsed() < RESERVED_FOR.min(lease)).then_some(self.0)
    }
}

/// What a caller is told who would have to wait too long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// A company's token that is not cached. Boxed and out of the way, so that the code of a hit is small enough to become
    /// part of its caller's.
    #[cold]
    pub(crate) fn fetched<'a>(
        self: &'a Arc<Self>,
        company: &'a CompanyId,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(self.token(company))
    }

    /// A company's token, from the store or from UPS.
    #[tracing::instrument(name = "access_token", skip_all, fields(%company))]
    async fn token(self: &Arc<Self>, company: &CompanyId) -> Outcome {
        self.join_flight(company, Demand::Token, Instant::now() + self.rotation.policy.max_wait).await
    }

    /// Begins a refresh that nobody waits for.
    pub(crate) fn refresh_in_background(self: &Arc<Self>, company: &CompanyId, demand: Demand) {
        let _ = self.board(company, demand, Mode::Background, None);
    }

    /// Begins the refresh of what the keeper reserved.
    pub(super) fn refresh_reserved(self: &Arc<Self>, reserved: Reserved) {
        let company = reserved.company().clone();
        let demand = Demand::Renew(reserved.0.snapshot.revision());
        let _ = self.board(&company, demand, Mode::Background, Some(reserved));
    }

    /// Waits for the company's flight until `deadline`, beginning one if there is none.
    pub(crate) async fn join_flight(
        self: &Arc<Self>,
        company: &CompanyId,
        demand: Demand,
        deadline: Instant,
    ) -> Outcome {
        let mut landing = self.board(company, demand, Mode::Foreground, None)?;
        let landed = fence::until(deadline, landing.wait_for(Option::is_some)).await;
        match landed {
            Some(Ok(outcome)) => {
                if let Some(outcome) = outcome.as_ref() {
                    if outcome.is_ok() {
                        self.tokens.cache.mark_used(company);
                    }
                    return outcome.clone();
                }
            }
            // It panicked, or its runtime is gone, and it left the list. Another one may do no better, so the caller decides.
            Some(Err(_)) => tracing::error!(%company, "a flight ended without an outcome"),
            None => {}
        }
        Err(TokenError::Unavailable { reason: Unavailable::UnderWay, retry_after: ASK_AGAIN })
    }

    fn board(
        self: &Arc<Self>,
        company: &CompanyId,
        demand: Demand,
        mode: Mode,
        reserved: Option<Reserved>,
    ) -> Result<Landing, TokenError> {
        let number = (company.clone(), Purpose::of(demand, mode));
        let (outcome, landing, admitted);
        {
            let mut flights = self.tokens.flights.list();
            if let Some(landing) = flights.get(&number) {
                return Ok(landing.clone());
            }
            if mode == Mode::Background && self.tasks.is_quiet() {
                return Err(TokenError::ShutDown);
            }
            admitted = self.tasks.admit().ok_or(TokenError::ShutDown)?;
            (outcome, landing) = watch::channel(None);
            flights.insert(number.clone(), landing.clone());
        }
        // Spawned without the lock: a runtime that is gone drops the flight at once, and a dropped flight takes the lock.
        let flight = Boarded { engine: Arc::clone(self), number, outcome, has_left: false };
        let span = tracing::info_span!("flight", %company, attempt = tracing::field::Empty);
        drop(self.tasks.spawn(async move { flight.run(demand, mode, reserved).await }.instrument(span)));
        drop(admitted);
        Ok(landing)
    }
}

/// One flight. It leaves the list when it ends, however it ends.
struct Boarded {
    engine: Arc<Engine>,
    number: (CompanyId, Purpose),
    outcome: watch::Sender<Option<Outcome>>,
    has_left: bool,
}

impl Boarded {
    async fn run(mut self, demand: Demand, mode: Mode, reserved: Option<Reserved>) {
        let (outcome, refresh_next) = self.engine.fetch(&self.number.0, demand, mode, reserved).await;
        if let Err(error) = &outcome {
            tracing::debug!(error = %chain(error), "no token");
        }
        let (engine, company) = (Arc::clone(&self.engine), self.number.0.clone());
        // First off the list: whoever comes from now on, e.g. after a removal, must not get what was read before.
        self.leave();
        self.outcome.send_replace(Some(outcome));
        if self.number.1 == Purpose::Renewal {
            // Callers who could not do with the stored token wait for it, too.
            engine.tokens.cache.wake(&company);
        }
        drop(self);
        if refresh_next {
            engine.refresh_in_background(&company, Demand::Token);
        }
    }

    fn leave(&mut self) {
        // Once: the next one on the list is another flight.
        if !std::mem::replace(&mut self.has_left, true) {
            self.engine.tokens.flights.list().remove(&self.number);
        }
    }
}

impl Drop for Boarded {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Flights {
    /// Does something at a moment when no flight is being begun.
    pub(super) fn between_two(&self, something: impl FnOnce()) {
        let _flights = self.list();
        something();
    }

    fn list(&self) -> MutexGuard<'_, HashMap<(CompanyId, Purpose), Landing, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which tokens were fetched because an API rejected the one before.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<HashMap<CompanyId, (Revision, Instant)>>);

/// Beyond this many, those that no longer matter are dropped.
const REMEMBERED: usize = 1024;

impl Rejections {
    /// How long `revision` must not be replaced because of a rejection.
    pub(crate) fn pause(&self, company: &CompanyId, revision: Revision, pause: Duration) -> Option<Duration> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (fetched, at) = remembered.get(company)?;
        let rest = pause.saturating_sub(at.elapsed());
        (*fetched == revision && !rest.is_zero()).then_some(rest)
    }

    pub(crate) fn remember(&self, company: &CompanyId, revision: Revision, pause: Duration) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (_, at)| at.elapsed() < pause);
        }
        remembered.insert(company.clone(), (revision, Instant::now()));
    }
}
