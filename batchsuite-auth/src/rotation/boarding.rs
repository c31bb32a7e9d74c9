//! Boarding: one task reads and refreshes for all callers in this process that need a company's token.
//!
//! Callers wait on a shared receiver; a dropped caller changes nothing.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tracing::Instrument;

use super::{
    engine::Engine,
    flights::{Entry, Landing, Purpose, TokenResult},
    rows::Reserved,
    turn::Slot,
};
use crate::{
    error::{TokenError, Unavailable, chain},
    http::fence,
    ids::CompanyId,
    machine::{Demand, Mode},
};

/// The `retry_after` of a caller whose wait has ended without an outcome.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// A token that is not cached. Boxed and out of line, to keep the code of a cache hit small enough to be inlined.
    #[cold]
    pub(crate) fn fetched<'a>(
        self: &'a Arc<Self>,
        company: &'a CompanyId,
    ) -> Pin<Box<dyn Future<Output = TokenResult> + Send + 'a>> {
        Box::pin(self.token(company))
    }

    /// A company's token from the store or from UPS.
    #[tracing::instrument(name = "access_token", skip_all, fields(%company))]
    async fn token(self: &Arc<Self>, company: &CompanyId) -> TokenResult {
        self.join_flight(company, Demand::Token, Instant::now() + self.rotation.policy.max_wait).await
    }

    /// Starts a refresh that nobody waits for.
    pub(crate) fn refresh_in_background(self: &Arc<Self>, company: &CompanyId, demand: Demand) {
        let _ = self.board(company, demand, Mode::Background, None);
    }

    /// Starts the refresh of a row that the keeper reserved and whose turn has come.
    pub(super) fn refresh_reserved(self: &Arc<Self>, reserved: Reserved, slot: Slot) {
        let company = reserved.company().clone();
        let demand = Demand::Renew(reserved.revision());
        let _ = self.board(&company, demand, Mode::Background, Some((reserved, slot)));
    }

    /// Waits for the company's flight until `deadline`; starts one if there is none.
    pub(crate) async fn join_flight(
        self: &Arc<Self>,
        company: &CompanyId,
        demand: Demand,
        deadline: Instant,
    ) -> TokenResult {
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
            // The flight panicked or its runtime is gone, and it has left the list. The caller decides whether to try
            // again.
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
        reserved: Option<(Reserved, Slot)>,
    ) -> Result<Landing, TokenError> {
        let number = (company.clone(), Purpose::of(demand, mode));
        let (outcome, landing, admitted, span);
        {
            let mut flights = self.tokens.flights.list();
            if let Some(flight) = flights.get(&number) {
                // A link from this caller's trace to the flight, which is in another caller's.
                tracing::Span::current().follows_from(&flight.span);
                return Ok(flight.landing.clone());
            }
            if mode == Mode::Background && self.tasks.is_quiet() {
                return Err(TokenError::ShutDown);
            }
            admitted = self.tasks.admit().ok_or(TokenError::ShutDown)?;
            (outcome, landing) = watch::channel(None);
            span = tracing::info_span!("flight", %company, attempt = tracing::field::Empty);
            flights.insert(number.clone(), Entry { landing: landing.clone(), span: span.clone() });
        }
        // Spawned without the lock: if the runtime is gone, it drops the flight at once, and dropping takes the lock.
        let flight = Boarded { engine: Arc::clone(self), number, outcome, has_left: false };
        // Boxed, because the runtime moves a task when it starts and when it ends.
        drop(self.tasks.spawn(Box::pin(flight.run(demand, mode, reserved)).instrument(span)));
        drop(admitted);
        Ok(landing)
    }
}

/// One flight. It leaves the list however it ends.
struct Boarded {
    engine: Arc<Engine>,
    number: (CompanyId, Purpose),
    outcome: watch::Sender<Option<TokenResult>>,
    has_left: bool,
}

impl Boarded {
    async fn run(mut self, demand: Demand, mode: Mode, reserved: Option<(Reserved, Slot)>) {
        let (outcome, refresh_next) = self.engine.fetch(&self.number.0, demand, mode, reserved).await;
        if let Err(error) = &outcome {
            tracing::debug!(error = %chain(error), "no token");
        }
        let (engine, company) = (Arc::clone(&self.engine), self.number.0.clone());
        // It leaves the list first: a caller that comes from now on, for example after a removal, must not get a result
        // that was read before.
        self.leave();
        self.outcome.send_replace(Some(outcome));
        if self.number.1 == Purpose::Renewal {
            // Callers that could not use the stored token wait for this renewal as well.
            engine.tokens.cache.wake(&company);
        }
        drop(self);
        if refresh_next {
            engine.refresh_in_background(&company, Demand::Token);
        }
    }

    fn leave(&mut self) {
        // Only once: afterwards the list may hold another flight.
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
