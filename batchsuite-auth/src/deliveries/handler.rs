//! The host's side of a delivery: what is done with an event.

use std::{error::Error, fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    config::Environment,
    error::chain,
    events::{Event, EventId},
};

/// Handles the events of a delivery.
///
/// A closure from an [`Event`] to a future is a handler, too. It is given every event. After a gap it goes on with the
/// next event; the log has an error line with the gap.
///
/// ```
/// # use batchsuite_auth::{Event, async_trait};
/// # use batchsuite_auth::deliveries::{EventHandler, Gap, HandlerError};
/// struct Mails;
///
/// #[async_trait]
/// impl EventHandler for Mails {
///     fn wants(&self, event: &Event) -> bool {
///         event.kind.needs_reauthorization()
///     }
///
///     async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
///         println!("{} must authenticate again", event.company.as_ref().expect("these events have a company"));
///         Ok(())
///     }
///
///     async fn missed(&self, gap: Gap) -> Result<(), HandlerError> {
///         println!("{gap}: look at the list of companies");
///         Ok(())
///     }
/// }
/// ```
///
/// # Cancellation
/// A handler's future runs in its own task. It is dropped only if another process has taken over the delivery, or if
/// the runtime ends.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Whether the event is to be handled. Events that are not wanted cost no write to the store. Default: all.
    fn wants(&self, event: &Event) -> bool {
        let _ = event;
        true
    }

    /// Handles an event. It may be given again: see [`deliveries`](crate::deliveries).
    ///
    /// # Errors
    /// [`HandlerError`]: the event is given again after a pause, unless the error [stops](HandlerError::stop) the
    /// delivery. A panic counts as an error.
    async fn handle(&self, event: &Event) -> Result<(), HandlerError>;

    /// Is told that this consumer does not see some events. Either they were pruned, or this release cannot read them:
    /// they are damaged, or of a kind that a later release has added. The log has an error line with the same numbers.
    ///
    /// The library prunes no event that a delivery has not passed yet; an operator can. A consumer that keeps a state of
    /// its own makes up for the missed events, e.g. with [`companies`](crate::BatchSuiteAuth::companies).
    ///
    /// # Errors
    /// As of [`handle`](Self::handle): nothing after the gap is delivered before this succeeds.
    async fn missed(&self, gap: Gap) -> Result<(), HandlerError>;
}

#[async_trait]
impl<F, O> EventHandler for F
where
    F: Fn(Event) -> O + Send + Sync + 'static,
    O: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
        self(event.clone()).await
    }

    async fn missed(&self, _: Gap) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// Events that a consumer does not see: they were pruned, or this release cannot read them. `Display` says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The UPS environment.
    pub environment: Environment,
    /// The last event before the gap. The consumer has seen it, or began after it.
    pub after: EventId,
    /// The last event in the gap. The delivery continues after it.
    pub up_to: EventId,
    reason: Reason,
}

/// Why a consumer does not see some events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Pruned,
    Unreadable,
}

impl Gap {
    pub(crate) fn new(environment: Environment, after: EventId, up_to: EventId, reason: Reason) -> Self {
        Self { environment, after, up_to, reason }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.reason {
            Reason::Pruned => "were pruned",
            Reason::Unreadable => "cannot be read by this release",
        };
        write!(f, "events after number {} up to {} {why}", self.after.number(), self.up_to.number())
    }
}

/// Why a handler has not handled an event. Any error converts into one with `?`.
///
/// The error is logged with its causes when a handler begins to fail, so it must not show a secret.
///
/// ```
/// use std::time::Duration;
/// use batchsuite_auth::deliveries::HandlerError;
///
/// let busy = HandlerError::new("the mail server is busy").with_retry_after(Duration::from_secs(60));
/// assert_eq!(busy.to_string(), "the mail server is busy");
/// ```
pub struct HandlerError {
    source: Box<dyn Error + Send + Sync>,
    then: Then,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another try, after a pause that grows with each failure.
    BackOff,
    /// Another try after this pause, or after the growing one if that is longer.
    RetryAfter(Duration),
    /// No other try in this process.
    Stop,
}

impl HandlerError {
    /// The event is given again after a pause of 1 s that doubles with each failure, up to 5 minutes.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into(), then: Then::BackOff }
    }

    /// Ends the delivery in this process: the event is not given again, the cursor stays before it, and the log has an
    /// error line. The delivery goes on with this event when it is begun again, in another process or after a restart.
    pub fn stop(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into(), then: Then::Stop }
    }

    /// Sets the least pause before the event is given again, at most a day.
    #[must_use]
    pub fn with_retry_after(self, pause: Duration) -> Self {
        Self { then: Then::RetryAfter(pause), ..self }
    }

    pub(crate) fn then(&self) -> Then {
        self.then
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for HandlerError {
    /// The error with its causes, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        chain(&*self.source).fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
