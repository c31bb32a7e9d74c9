//! One flight: reads, attempts and waits as [`machine::rotation`](crate::machine) says.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{Engine, ReadRow, attempt::Attempt, limiter::Priority, rows::Reserved, turn::Slot};
use crate::{
    cache::ReadGuard,
    clock::Stopwatch,
    error::TokenError,
    ids::{CompanyId, Revision},
    machine::{Demand, Failure, Flight, FlightEvent, Mode, Next, Patience, Pause, Read, Wait},
    secret::AccessToken,
    store::{RowNumber, StoreError},
};

/// After a longer wait for its turn, a flight reads the row again.
const PROMPT: Duration = Duration::from_secs(1);

/// A flight's outcome, and whether a background refresh should follow.
pub(super) type Fetched = (Result<AccessToken, TokenError>, bool);

/// The state of a flight.
struct Fetch<'a> {
    engine: &'a Arc<Engine>,
    company: &'a CompanyId,
    mode: Mode,
    flight: Flight,
    began: Instant,
    /// The store's last error.
    store_error: Option<StoreError>,
    /// Its turn to send a refresh, once it has come.
    slot: Option<Slot>,
    /// The number of the row for which a claim was lost.
    lost_over: Option<RowNumber>,
}

impl Engine {
    /// Gets a company's token. A `reserved` row is not read again, and its turn to be refreshed has come.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        company: &CompanyId,
        demand: Demand,
        mode: Mode,
        reserved: Option<(Reserved, Slot)>,
    ) -> Fetched {
        let policy = &self.rotation.policy;
        let patience = Patience {
            lease: policy.lease,
            max_wait: policy.max_wait,
            commit_retry: policy.commit_retry,
            refresh_pause: policy.refresh_pause,
        };
        let flight = Flight::new(demand, mode, patience);
        let began = Instant::now();
        let (reserved, slot) = reserved.unzip();
        let fetch = Fetch { engine: self, company, mode, flight, began, slot, store_error: None, lost_over: None };
        let reserved = reserved.and_then(|reserved| reserved.recent(policy.lease));
        fetch.run(reserved).await.unwrap_or_else(|error| (Err(error.into()), false))
    }

    /// Evicts a cached token that is older than the row: here at once, in other processes through the feed.
    fn drop_cached(&self, read: &ReadRow) {
        self.tokens.cache.changed(&[(read.snapshot.company.clone(), read.snapshot.change)]);
    }
}

impl Fetch<'_> {
    async fn run(mut self, mut reserved: Option<ReadRow>) -> Result<Fetched, StoreError> {
        loop {
            // Registered before the read, so that no later change is missed.
            let guard = self.engine.tokens.cache.begin_read(self.company);
            let is_reserved = reserved.is_some();
            let row = match reserved.take() {
                Some(row) => row,
                None => self.engine.rotation.read(self.company).await?,
            };
            self.report_if_too_old(&row);
            let next = self.after_reading(&row, is_reserved, guard.cached());
            if !matches!(next, Next::Refresh { .. }) {
                // Its turn came, but meanwhile the row has changed: another refresh may take the turn.
                self.slot = None;
            }
            match next {
                Next::Serve { refresh_next } => {
                    if let Some(token) = served(&row, &guard) {
                        return Ok((Ok(token), refresh_next));
                    }
                }
                Next::Refresh { over, pause_if_late } => {
                    if let Some(over) = over {
                        tracing::info!(%over, "an attempt has no recorded outcome; it is taken over");
                    }
                    let slot = match self.slot.take() {
                        Some(slot) => slot,
                        None => {
                            let (asked, priority) = (Stopwatch::start(), self.priority(&row, is_reserved));
                            let slot = match Box::pin(self.engine.wait_for_turn(priority, self.mode)).await {
                                Ok(slot) => slot,
                                Err(error) => return Ok((Err(error), false)),
                            };
                            if asked.elapsed() > PROMPT {
                                self.slot = Some(slot);
                                continue;
                            }
                            slot
                        }
                    };
                    // Boxed on its own, so that a flight that only reads stays small: the runtime moves it when it
                    // starts.
                    match Box::pin(self.engine.attempt(self.mode, &row, pause_if_late, slot)).await {
                        Attempt::Stored(stored) => {
                            if let Some(token) = served(&stored, &guard) {
                                return Ok((Ok(token), false));
                            }
                        }
                        ended => self.after_attempt(ended, &row, &guard).await,
                    }
                }
                Next::Mark => Box::pin(self.engine.rotation.mark_set_back(&row)).await?,
                Next::Wait(wait) => self.wait(wait, &guard).await,
                Next::Pause(pause) => return Ok((Err(self.paused(pause)), false)),
                Next::Fail(failure) => return Ok((Err(self.failed(failure, &row)), false)),
            }
        }
    }

    fn priority(&self, row: &ReadRow, is_reserved: bool) -> Priority {
        if self.mode == Mode::Foreground {
            return Priority::Caller;
        }
        if is_reserved { self.engine.background_priority(row) } else { Priority::InUse }
    }

    fn after_reading(&mut self, row: &ReadRow, is_reserved: bool, seen: Revision) -> Next {
        let rotation = &self.engine.rotation;
        if row.snapshot.damage.is_some() {
            return Next::Fail(Failure::Unreadable);
        }
        let client_fault = self.engine.client_fault(Duration::ZERO).map(pause_of);
        let read = Read {
            grant: &row.snapshot.grant,
            client_id: &rotation.settings.client_id,
            seen,
            is_readable: row.snapshot.unreadable().is_none(),
            is_reserved,
            flown: self.began.elapsed(),
            stopping: self.engine.tasks.stopping(),
            client_fault: client_fault.as_ref(),
        };
        self.flight.next(FlightEvent::Read(read), row.now())
    }

    async fn after_attempt(&mut self, ended: Attempt, row: &ReadRow, guard: &ReadGuard<'_>) {
        let event = match ended {
            Attempt::Stored(_) | Attempt::Settled => FlightEvent::Settled,
            Attempt::Lost => {
                self.lost_over = Some(row.snapshot.number);
                FlightEvent::Lost
            }
            Attempt::Late => FlightEvent::Late,
            Attempt::Failed(TokenError::Store(error)) => {
                self.store_error = Some(error);
                FlightEvent::Failed(Pause::Store)
            }
            Attempt::Failed(error) => FlightEvent::Failed(pause_of(error)),
        };
        if let Next::Wait(wait) = self.flight.next(event, row.now()) {
            self.wait(wait, guard).await;
        }
    }

    /// Logs a lost claim if nobody has saved the row since: then the decision was too old.
    fn report_if_too_old(&mut self, row: &ReadRow) {
        if self.lost_over.take() == Some(row.snapshot.number) {
            tracing::warn!("a claim came to the store too late to be saved; the row is read again");
        }
    }

    async fn wait(&self, wait: Wait, guard: &ReadGuard<'_>) {
        match wait {
            Wait::No => {}
            Wait::Whole(duration) => self.engine.rest(duration).await,
            Wait::OrChange(duration) => {
                tokio::select! {
                    biased;
                    _ = timeout(duration, guard.changed()) => {}
                    () = self.engine.tasks.ending() => {}
                }
            }
        }
    }

    fn paused(&mut self, pause: Pause) -> TokenError {
        match pause {
            Pause::Unavailable { reason, retry_after } => TokenError::Unavailable { reason, retry_after },
            Pause::Misconfigured { evidence, retry_after } => TokenError::Misconfigured { evidence, retry_after },
            Pause::Store => self.store_error.take().unwrap_or_else(super::no_answer).into(),
            Pause::ShutDown => TokenError::ShutDown,
        }
    }

    fn failed(&self, failure: Failure, row: &ReadRow) -> TokenError {
        match failure {
            Failure::NotAuthenticated => {
                self.engine.drop_cached(row);
                TokenError::NotAuthenticated
            }
            Failure::Reauthenticate(cause) => {
                self.engine.drop_cached(row);
                TokenError::ReauthRequired(row.snapshot.cause_of(cause, &self.engine.rotation.settings.pauses).into())
            }
            Failure::Unreadable => row.snapshot.unreadable().cloned().unwrap_or_else(super::no_answer).into(),
        }
    }
}

/// The row's token, once it is cached. `None`: the row must be read again.
fn served(row: &ReadRow, guard: &ReadGuard<'_>) -> Option<AccessToken> {
    let token = row.snapshot.access_token()?;
    let refresh_at = row.snapshot.grant.tokens?.refresh_at;
    guard.insert(&token, row.snapshot.change, refresh_at, row.snapshot.as_of).then_some(token)
}

/// The pause that an attempt's error stands for.
fn pause_of(error: TokenError) -> Pause {
    match error {
        TokenError::Unavailable { reason, retry_after } => Pause::Unavailable { reason, retry_after },
        TokenError::Misconfigured { evidence, retry_after } => Pause::Misconfigured { evidence, retry_after },
        TokenError::ShutDown => Pause::ShutDown,
        TokenError::Store(_) | TokenError::NotAuthenticated | TokenError::ReauthRequired(_) => Pause::Store,
    }
}
